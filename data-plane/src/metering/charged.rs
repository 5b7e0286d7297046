//! What limits and budgets were charged for a call.
//!
//! Invariant: it is used up by being settled or given back, so that neither happens twice.

use std::sync::Arc;

use tollgate_proto::{
    TenantId,
    rating::{self, Books},
    usage::v1::UsageRecord,
};

use crate::{
    counters::Taken,
    gateway::Gateway,
    policy::Budget,
    store::{Charge, Meter, Place, Spend, Spent},
};

/// What limits and budgets were charged for a call.
#[derive(Debug)]
pub struct Charged {
    taken: Taken,
    /// By what budgets are settled: those in force when the call arrived.
    money: Option<Money>,
}

#[derive(Debug)]
struct Money {
    budgets: Vec<Arc<Budget>>,
    prices: Arc<Books>,
}

impl Charged {
    /// What an admission charged, of these budgets and at these prices.
    #[must_use]
    pub fn new(taken: Taken, budgets: &[Arc<Budget>], prices: &Arc<Books>) -> Self {
        let money = (!budgets.is_empty()).then(|| Money { budgets: budgets.to_vec(), prices: Arc::clone(prices) });
        Self { taken, money }
    }

    /// Among whose running calls it is.
    pub(super) const fn held(&self) -> (TenantId, &Vec<Place>) {
        (self.taken.tenant, &self.taken.places)
    }

    /// Gives everything back: a call that no server has seen is charged nowhere.
    pub fn refund(self, gateway: &Arc<Gateway>) {
        self.ended(gateway);
        let spent = self.taken.spends.iter().map(|spend| spend.came_to(0)).collect();
        gateway.counters.settle(gateway, self.taken, |_| Some(0), spent);
    }

    /// Leaves the places among the calls that run to others: it runs no more, though its tokens are not known yet.
    pub fn leave(&mut self, gateway: &Arc<Gateway>) {
        self.ended(gateway);
        let left = self.taken.take_places();
        gateway.counters.settle(gateway, left, |_| None, Vec::new());
    }

    /// Charges what the call came to in the place of what was expected: limits these tokens, budgets what the record costs.
    pub fn settle(self, gateway: &Arc<Gateway>, tokens: u64, record: &UsageRecord) {
        self.ended(gateway);
        let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
        let spent = self.money.as_ref().map(|money| money.spent(&self.taken.spends, record)).unwrap_or_default();
        let of_tokens = |charge: &Charge| (charge.key.meter == Meter::Tokens).then_some(tokens);
        gateway.counters.settle(gateway, self.taken, of_tokens, spent);
    }

    fn ended(&self, gateway: &Gateway) {
        if let Some(place) = self.taken.places.first() {
            gateway.meter.running.ended(place.call);
        }
    }
}

impl Money {
    /// What the call came to for each budget.
    fn spent(&self, spends: &[Spend], record: &UsageRecord) -> Vec<Spent> {
        let rating = rating::Call::of(record).map(|call| self.prices.rate(&call)).unwrap_or_default();
        let came_to = |spend: &Spend| {
            let budget = self.budgets.iter().find(|budget| budget.id == spend.key.budget)?;
            let is_counted = rating.currency == Some(budget.currency);
            Some(spend.came_to(if is_counted { budget.units_nearest(rating.cost) } else { 0 }))
        };
        spends.iter().filter_map(came_to).collect()
    }
}
