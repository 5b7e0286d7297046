//! A budget that is used up.
//!
//! Invariant: what it says is enough to find the budget and to see why this call did not fit into it.

use chrono::{DateTime, SecondsFormat};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tollgate_proto::Currency;

use crate::policy::Subject;

/// A budget that is used up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "budget `{budget}` on the {} is used up for agent `{agent}`: of {amount} {currency} {spent} are spent, and this call may cost {expected_cost}{}: an administrator can raise it",
    on.as_str(), self.begins_anew()
)]
pub struct Overspent {
    /// The budget's name.
    pub budget: String,
    /// What it is on.
    pub on: Subject,
    /// Who asked.
    pub agent: String,
    /// Of all amounts.
    pub currency: Currency,
    /// What may be spent.
    pub amount: Decimal,
    /// What is, with what the calls that run now are expected to cost.
    pub spent: Decimal,
    /// What this one would be expected to cost.
    pub expected_cost: Decimal,
    /// When the next period begins, in Unix seconds.
    pub reset_at: Option<i64>,
}

impl Overspent {
    /// What the error's `data` holds of it.
    #[must_use]
    pub fn data(&self) -> Value {
        json!({
            "scope": self.on.as_str(),
            "budget": self.budget,
            "currency": self.currency.code(),
            "amount": self.amount.to_string(),
            "spent": self.spent.to_string(),
            "expected_cost": self.expected_cost.to_string(),
            "retryable": false,
            "reset_at": self.reset_at(),
        })
    }

    fn reset_at(&self) -> Option<String> {
        let moment = DateTime::from_timestamp(self.reset_at?, 0)?;
        Some(moment.to_rfc3339_opts(SecondsFormat::Secs, true))
    }

    fn begins_anew(&self) -> String {
        self.reset_at().map(|moment| format!(". It begins anew at {moment}")).unwrap_or_default()
    }
}
