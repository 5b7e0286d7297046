//! What a call is expected to take of budgets.
//!
//! Invariant: what costs nothing takes nothing of any budget, and what may cost something is never expected to be free.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use tollgate_proto::{
    BudgetId,
    rating::{self, Ending},
    usage::v1::UsageRecord,
};

use crate::{
    metering::Usage,
    policy::{Budget, OnStoreOutage, Party, Policies, Tenant},
    store::{BudgetKey, Spend},
};

/// A budget is asked for so long after its period: a call may end then.
const GRACE_S: i64 = 86_400;
/// And this long where nobody knows when the period ends.
const ENDLESS_S: i64 = 400 * 86_400;

/// The budgets that a call has to pass, with what it is expected to take of each.
#[derive(Debug, Default)]
pub struct Spending {
    /// When it arrived.
    at: DateTime<Utc>,
    /// In the order of the spends.
    pub budgets: Vec<Arc<Budget>>,
    /// What it takes of them.
    pub spends: Vec<Spend>,
    /// What that is in money.
    cost: Decimal,
}

impl Spending {
    /// Of a call that has been read. `expected`: its tokens.
    pub fn of(policies: &Policies, tenant: &Tenant, party: &Party<'_>, record: &UsageRecord, expected: Usage) -> Self {
        let mut on = tenant.budgets.on(party).peekable();
        let Some((first, call)) = on.peek().copied().zip(rating::Call::of(record)) else { return Self::default() };
        let at = call.at;
        // What only the call itself tells is expected to be as little as it can be.
        let least = Decimal::new(1, 10);
        let rating = tenant.budgets.prices().rate(&rating::Call {
            forwarded: true,
            ending: Ending::Ok,
            quantities: rating::Quantities {
                input_tokens: expected.input.try_into().unwrap_or(i64::MAX),
                output_tokens: expected.output.try_into().unwrap_or(i64::MAX),
                upstream_us: 1,
                bytes: call.quantities.bytes.max(1),
            },
            reported: Some((least, first.currency)),
            ..call
        });
        if rating.cost.is_zero() {
            return Self::default();
        }
        let budgets: Vec<_> = on.filter(|budget| rating.currency == Some(budget.currency)).cloned().collect();
        let spends = budgets.iter().map(|budget| spend(policies, tenant, budget, at, rating.cost)).collect();
        Self { at, budgets, spends, cost: rating.cost }
    }

    /// What of a budget a refusal is about: the budget, what is spent of it, and what the call would have cost.
    pub fn about(&self, id: BudgetId) -> Option<(&Arc<Budget>, usize, Decimal)> {
        let index = self.budgets.iter().position(|budget| budget.id == id)?;
        Some((&self.budgets[index], index, self.cost))
    }

    /// When it arrived.
    pub const fn at(&self) -> DateTime<Utc> {
        self.at
    }
}

fn spend(policies: &Policies, tenant: &Tenant, budget: &Budget, at: DateTime<Utc>, cost: Decimal) -> Spend {
    let period = budget.period(at);
    let known = policies.ledger().spent(tenant.id, budget.id, period);
    // A control plane that is there tells of the ledger right behind the policy. Without one, what was spent before this
    // data plane started may be anything.
    let is_assumed = policies.was_heard() || budget.on_store_outage != OnStoreOutage::Deny;
    let known = known.or_else(|| is_assumed.then_some(Decimal::ZERO));
    let ends = period.end.map_or(ENDLESS_S, |end| end - at.timestamp() + GRACE_S);
    Spend {
        key: BudgetKey { budget: budget.id, period_start: period.start, decimals: budget.decimals },
        amount: budget.units_nearest(budget.amount),
        known: known.map(|known| budget.units_nearest(known)),
        cost: budget.units_at_least(cost),
        lasts_s: ends.max(GRACE_S).cast_unsigned(),
    }
}
