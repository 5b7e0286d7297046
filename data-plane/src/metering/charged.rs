//! What limits were charged for a call.
//!
//! Invariant: it is used up by being settled or given back, so that neither happens twice.

use std::sync::Arc;

use tollgate_proto::TenantId;

use crate::{
    counters::Taken,
    gateway::Gateway,
    store::{Meter, Place},
};

/// What limits were charged for a call.
#[derive(Debug)]
pub struct Charged(Taken);

impl Charged {
    /// What an admission charged.
    #[must_use]
    pub const fn new(taken: Taken) -> Self {
        Self(taken)
    }

    /// Among whose running calls it is.
    pub(super) const fn held(&self) -> (TenantId, &Vec<Place>) {
        (self.0.tenant, &self.0.places)
    }

    /// Gives everything back: a call that no server has seen is charged nowhere.
    pub fn refund(self, gateway: &Arc<Gateway>) {
        self.ended(gateway);
        gateway.counters.settle(gateway, self.0, |_| Some(0));
    }

    /// Leaves the places among the calls that run to others: it runs no more, though its tokens are not known yet.
    pub fn leave(&mut self, gateway: &Arc<Gateway>) {
        self.ended(gateway);
        let left = self.0.take_places();
        gateway.counters.settle(gateway, left, |_| None);
    }

    /// Charges the tokens that the call came to in the place of those that were expected.
    pub fn settle(self, gateway: &Arc<Gateway>, tokens: u64) {
        self.ended(gateway);
        let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
        gateway.counters.settle(gateway, self.0, |charge| (charge.key.meter == Meter::Tokens).then_some(tokens));
    }

    fn ended(&self, gateway: &Gateway) {
        if let Some(place) = self.0.places.first() {
            gateway.meter.running.ended(place.call);
        }
    }
}
