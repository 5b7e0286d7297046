//! What a budget says, beside what it is on: how much, from which shares on it warns, and what it does in the end.
//!
//! Invariant: what was read once is read again as the same.

use rust_decimal::Decimal;
use tollgate_proto::rating::Range;

use super::{BudgetSpec, OnStoreOutage};
use crate::error::Faults;

/// Below a million million, as fine as anybody accounts.
const AMOUNT: Range = Range { digits: 12, decimals: 6 };
const SHARE: Range = Range { digits: 2, decimals: 4 };
const SHARE_MAX: Decimal = Decimal::TEN;
const SHARES_MAX: usize = 10;

/// What a budget says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) amount: Decimal,
    /// Shares of the amount, ascending.
    pub(super) soft: Vec<Decimal>,
    pub(super) hard: bool,
    pub(super) on_store_outage: OnStoreOutage,
}

/// What the spec says; `None` when `faults` has got a fault.
pub(super) fn read(spec: &BudgetSpec, faults: &mut Faults) -> Option<Terms> {
    let mut found = Faults::default();
    let amount = amount(spec, &mut found);
    let soft = soft(spec, &mut found);
    if spec.on_store_outage.is_some() && spec.hard.is_none() {
        let detail = "a budget that turns nothing away needs none: leave it out, or say `hard: deny`";
        found.add("/spec/on_store_outage", "without_hard", detail);
    }
    let sound = found.is_empty();
    faults.extend(found);
    let on_store_outage = spec.on_store_outage.unwrap_or(OnStoreOutage::Deny);
    let terms = amount.map(|amount| Terms { amount, soft, hard: spec.hard.is_some(), on_store_outage });
    terms.filter(|_| sound)
}

fn amount(spec: &BudgetSpec, faults: &mut Faults) -> Option<Decimal> {
    match spec.amount.read(AMOUNT) {
        Ok(amount) if amount.is_zero() => {
            faults.add("/spec/amount", "out_of_range", "a budget is above zero");
            None
        }
        Ok(amount) => Some(amount.normalize()),
        Err(error) => {
            faults.add("/spec/amount", "amount", error.to_string());
            None
        }
    }
}

fn soft(spec: &BudgetSpec, faults: &mut Faults) -> Vec<Decimal> {
    let given = spec.soft.as_deref().unwrap_or_default();
    if given.len() > SHARES_MAX {
        faults.add("/spec/soft", "too_many", format!("at most {SHARES_MAX} shares"));
        return Vec::new();
    }
    let mut shares: Vec<Decimal> = Vec::with_capacity(given.len());
    for (index, share) in given.iter().enumerate() {
        let pointer = format!("/spec/soft/{index}");
        match share.read(SHARE) {
            Ok(share) if share.is_zero() || share > SHARE_MAX => {
                let detail = "write a share of the amount above 0 and up to 10: \"0.8\" for four fifths of it";
                faults.add(pointer, "out_of_range", detail);
            }
            Ok(share) if shares.last().is_some_and(|last| *last >= share) => {
                faults.add(pointer, "not_ascending", "write shares in ascending order, each once");
            }
            Ok(share) => shares.push(share.normalize()),
            Err(error) => faults.add(pointer, "amount", error.to_string()),
        }
    }
    shares
}
