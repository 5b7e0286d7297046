//! What a price book says: its currency, its prices and its factors, read strictly.
//!
//! Invariant: what was read once is read again as the same, so that a version means for ever what it meant when it was
//! published.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use tollgate_proto::rating::{Ending, FACTOR, Factors, MARKUP, PRICE, Prices, Range, Rates, Selector, Terms};

use super::{Price, PriceBookSpec};
use crate::{amount::Amount, error::Faults};

const PRICES_MAX: usize = 1_000;
const TEAMS_MAX: usize = 200;

/// What the spec says; `None` when `faults` has got a fault.
pub(super) fn read(spec: &PriceBookSpec, faults: &mut Faults) -> Option<Terms> {
    let mut found = Faults::default();
    let currency =
        spec.currency.parse().map_err(|error| found.add("/spec/currency", "currency", format!("{error}"))).ok();
    check_teams(spec, &mut found);
    let prices = prices(&spec.prices, &mut found);
    let factors = factors(spec.outcome_factors.as_ref(), &mut found);
    let sound = found.is_empty();
    faults.extend(found);
    let teams = spec.teams.as_ref().map(|teams| teams.iter().map(ToString::to_string).collect());
    currency.filter(|_| sound).map(|currency| Terms { currency, teams, factors, prices: Prices::new(prices) })
}

fn check_teams(spec: &PriceBookSpec, faults: &mut Faults) {
    let Some(teams) = &spec.teams else { return };
    if teams.is_empty() {
        faults.add("/spec/teams", "required", "name at least one team, or leave `teams` out: then it is for everyone");
    }
    if teams.len() > TEAMS_MAX {
        faults.add("/spec/teams", "too_many", format!("at most {TEAMS_MAX} teams"));
    }
    for (index, team) in teams.iter().enumerate() {
        if teams[..index].contains(team) {
            faults.add(format!("/spec/teams/{index}"), "duplicate", format!("team `{team}` is there twice"));
        }
    }
}

fn prices(prices: &[Price], faults: &mut Faults) -> Vec<(Selector, Rates)> {
    if prices.len() > PRICES_MAX {
        faults.add("/spec/prices", "too_many", format!("at most {PRICES_MAX} prices"));
        return Vec::new();
    }
    let mut first_at = BTreeMap::new();
    let mut read = Vec::new();
    for (index, price) in prices.iter().enumerate() {
        let pointer = format!("/spec/prices/{index}");
        let rates = rates(price, &pointer, faults);
        match price.r#match.parse::<Selector>() {
            Ok(selector) => {
                if let Some(first) = first_at.insert(selector.clone(), index) {
                    let detail = format!("prices {first} and {index} are for the same, `{selector}`");
                    faults.add(format!("{pointer}/match"), "duplicate", detail);
                }
                read.push((selector, rates));
            }
            Err(error) => faults.add(format!("{pointer}/match"), "match", error.to_string()),
        }
    }
    read
}

fn rates(price: &Price, pointer: &str, faults: &mut Faults) -> Rates {
    let mut amount = |field: &str, amount: &Option<Amount>, range| {
        amount.as_ref().map(|amount| read_amount(&format!("{pointer}/{field}"), amount, range, faults))
    };
    let rates = Rates {
        per_call: amount("per_call", &price.per_call, PRICE),
        per_1k_input_tokens: amount("per_1k_input_tokens", &price.per_1k_input_tokens, PRICE),
        per_1k_output_tokens: amount("per_1k_output_tokens", &price.per_1k_output_tokens, PRICE),
        per_second: amount("per_second", &price.per_second, PRICE),
        per_mib: amount("per_mib", &price.per_mib, PRICE),
        server_reported: amount("server_reported", &price.server_reported, MARKUP),
    };
    if rates == Rates::default() {
        let detail = format!("say what `{}` costs: at least one amount, \"0\" where it is free", price.r#match);
        faults.add(pointer, "required", detail);
    }
    rates
}

fn factors(given: Option<&BTreeMap<String, Amount>>, faults: &mut Faults) -> Factors {
    let mut factors = BTreeMap::new();
    for (outcome, factor) in given.into_iter().flatten() {
        let pointer = format!("/spec/outcome_factors/{outcome}");
        match Ending::chargeable(outcome) {
            Some(ending) => {
                factors.insert(ending, read_amount(&pointer, factor, FACTOR, faults));
            }
            None if outcome == "refused" => {
                faults.add(pointer, "outcome", "a call that was turned away is charged to nobody");
            }
            None => {
                let known: Vec<String> = Ending::CHARGEABLE.iter().map(|(name, _)| format!("`{name}`")).collect();
                faults.add(pointer, "outcome", format!("no call ends so: use {}", known.join(", ")));
            }
        }
    }
    Factors::new(factors)
}

/// What the amount means; zero, and a fault, when it is none that is wanted.
fn read_amount(pointer: &str, amount: &Amount, range: Range, faults: &mut Faults) -> Decimal {
    amount.read(range).unwrap_or_else(|error| {
        faults.add(pointer, "amount", error.to_string());
        Decimal::ZERO
    })
}
