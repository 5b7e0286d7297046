//! How a budget stands in a period: what was spent of it, what is left, and what it comes to if that goes on.
//!
//! Invariant: amounts are exact; only the share and the forecast are rounded, and neither decides anything.

use std::collections::BTreeMap;

use chrono::{DateTime, Days, Utc};
use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tollgate_proto::{BudgetId, Currency};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    BudgetSpec, BudgetStatus, Period, Span, Target,
    spending::{self, Spent},
    sql,
    terms::{self, Terms},
};
use crate::{calendar::TimeZone, db::TenantTx, error::Faults, resource::Row};

/// There is no forecast before so much of a period is over: one call more would turn it upside down.
const FORECAST_AFTER: i64 = 50;
const SHARE_DECIMALS: u32 = 4;

/// How a budget stands in a period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Standing {
    /// The period's first moment.
    pub start: DateTime<Utc>,
    /// The first moment that is no longer in it.
    pub end: DateTime<Utc>,
    /// What calls of the period cost, not rounded.
    #[schema(example = "123.4567")]
    pub spent: String,
    /// The same as a share of the amount.
    #[schema(example = "0.2469")]
    pub share: String,
    /// What is left of the amount; never below zero.
    #[schema(example = "376.5433")]
    pub remaining: String,
    /// What it comes to at the end of the period if that goes on; absent in the first fiftieth of a period, and when it
    /// is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "489.12")]
    pub forecast: Option<String>,
    /// How far it has come.
    pub state: State,
    /// What cannot be counted.
    pub not_counted: NotCounted,
}

/// How far a budget has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Below every share that it warns at.
    Within,
    /// At one of them or beyond.
    Warned,
    /// All of it is spent.
    Exhausted,
}

impl State {
    /// `within`, `warned` or `exhausted`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Within => "within",
            Self::Warned => "warned",
            Self::Exhausted => "exhausted",
        }
    }
}

/// What was used in a period and does not count towards a budget.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NotCounted {
    /// Costs in other currencies, by currency.
    pub costs: BTreeMap<String, String>,
    /// Calls that would be charged and have no price.
    pub unpriced_calls: i64,
}

/// A budget as it is stored.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) target: Target,
    pub(super) period: Period,
    pub(super) currency: String,
    pub(super) terms: Terms,
}

/// A budget, and how it stands.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) plan: Plan,
    pub(super) cost: Decimal,
    pub(super) forecast: Option<Decimal>,
    pub(super) standing: Standing,
}

#[derive(Deserialize)]
struct Facts {
    agent_id: Option<Uuid>,
    team_id: Option<Uuid>,
    currency: String,
}

impl Plan {
    pub(super) fn of(row: &Row) -> Result<Self, sqlx::Error> {
        let damaged = |why: String| sqlx::Error::Decode(format!("{}: {why}", BudgetId::from(row.id)).into());
        let spec = BudgetSpec::deserialize(&row.spec).map_err(|error| damaged(error.to_string()))?;
        let facts = Facts::deserialize(&row.facts).map_err(|error| damaged(error.to_string()))?;
        let mut faults = Faults::default();
        let terms = terms::read(&spec, &mut faults).ok_or_else(|| damaged(faults.to_string()))?;
        let target = Target::of(facts.agent_id, facts.team_id);
        Ok(Self { target, period: spec.period, currency: facts.currency, terms })
    }

    fn measure(self, span: Span, zone: TimeZone, now: DateTime<Utc>, spent: &Spent) -> Measured {
        let amount = self.terms.amount;
        let (start, end, cost) = (span.start(zone), span.end(zone), spent.cost(&self.currency));
        let state = match self.terms.soft.first() {
            _ if cost >= amount => State::Exhausted,
            Some(first) if cost >= first * amount => State::Warned,
            _ => State::Within,
        };
        let minor_units = self.currency.parse().map_or(2, Currency::minor_units);
        let forecast = forecast(cost, start, end, now).map(|forecast| rounded(forecast, minor_units));
        let others = spent.costs.iter().filter(|(currency, _)| **currency != self.currency);
        let standing = Standing {
            start,
            end,
            spent: text(cost),
            share: text(share(cost, amount)),
            remaining: text((amount - cost).max(Decimal::ZERO)),
            forecast: forecast.map(text),
            state,
            not_counted: NotCounted {
                costs: others.map(|(currency, cost)| (currency.clone(), text(*cost))).collect(),
                unpriced_calls: spent.unpriced_calls,
            },
        };
        Measured { plan: self, cost, forecast, standing }
    }
}

/// Puts into the facts of budgets how they stand now.
pub(super) async fn of_now(tx: &mut TenantTx, mut rows: Vec<Row>) -> Result<Vec<Row>, sqlx::Error> {
    if rows.is_empty() {
        return Ok(rows);
    }
    let (zone, now) = clock(tx).await?;
    let measured = measure(tx, &rows, zone, now).await?;
    for (row, measured) in rows.iter_mut().zip(measured) {
        row.facts = json!(BudgetStatus { currency: measured.plan.currency, now: measured.standing });
    }
    Ok(rows)
}

/// How budgets stand at a moment, in their order.
pub(super) async fn measure(
    tx: &mut TenantTx,
    rows: &[Row],
    zone: TimeZone,
    now: DateTime<Utc>,
) -> Result<Vec<Measured>, sqlx::Error> {
    let today = zone.day_at(now).date;
    let plans: Vec<Plan> = rows.iter().map(Plan::of).collect::<Result<_, _>>()?;
    let mut periods: Vec<Period> = plans.iter().map(|plan| plan.period).collect();
    periods.sort_unstable();
    periods.dedup();
    let spans: Vec<Span> = periods.iter().map(|period| period.around(today)).collect();
    let tenant = tx.tenant();
    let sums = spending::sums(tx, tenant, &spans).await?;
    let measured = plans.into_iter().map(|plan| {
        let place = periods.binary_search(&plan.period).expect("every plan's period is among them");
        let spent = sums.of(place, plan.target);
        plan.measure(spans[place], zone, now, &spent)
    });
    Ok(measured.collect())
}

/// How a budget stood in its last periods, the one now first.
pub(super) async fn of_periods(tx: &mut TenantTx, plan: &Plan, count: usize) -> Result<Vec<Standing>, sqlx::Error> {
    let (zone, now) = clock(tx).await?;
    let newest = plan.period.around(zone.day_at(now).date);
    let before = |span: &Span| Some(plan.period.around(span.from - Days::new(1)));
    let spans: Vec<Span> = std::iter::successors(Some(newest), before).take(count).collect();
    let tenant = tx.tenant();
    let sums = spending::sums(tx, tenant, &spans).await?;
    let measured = spans.iter().enumerate().map(|(place, span)| {
        let spent = sums.of(place, plan.target);
        plan.clone().measure(*span, zone, now, &spent).standing
    });
    Ok(measured.collect())
}

/// The tenant's time zone, and the moment by Postgres' clock.
async fn clock(tx: &mut TenantTx) -> Result<(TimeZone, DateTime<Utc>), sqlx::Error> {
    let (zone, now) = sql::clock(tx).await?;
    Ok((sql::zone(&zone)?, now))
}

/// What is spent of an amount, to four decimals: never as much as all of it before all of it is spent.
pub(super) fn share(spent: Decimal, amount: Decimal) -> Decimal {
    (spent / amount).round_dp_with_strategy(SHARE_DECIMALS, RoundingStrategy::ToZero)
}

/// In a straight line to the end of the period.
pub(super) fn forecast(
    spent: Decimal,
    start: DateTime<Utc>,
    end: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Option<Decimal> {
    let (whole, over) = ((end - start).num_seconds(), (now - start).num_seconds());
    let is_told = now < end && over > 0 && over >= whole / FORECAST_AFTER;
    is_told.then(|| spent * Decimal::from(whole) / Decimal::from(over))
}

fn rounded(amount: Decimal, decimals: u32) -> Decimal {
    amount.round_dp_with_strategy(decimals, RoundingStrategy::MidpointNearestEven)
}

fn text(amount: Decimal) -> String {
    amount.normalize().to_string()
}
