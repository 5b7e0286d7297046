//! What limits were charged for a call.
//!
//! Invariant: it is used up by being settled or given back, so that neither happens twice.

use std::sync::Arc;

use tollgate_proto::TenantId;

use crate::{
    gateway::Gateway,
    store::{Charge, ChargedAt, Demand, Meter, Place, Settlement},
};

/// What limits were charged for a call.
#[derive(Debug)]
pub struct Charged {
    tenant: TenantId,
    taken: Vec<(Charge, u64)>,
    places: Vec<Place>,
}

impl Charged {
    /// What an admission charged.
    #[must_use]
    pub fn new(tenant: TenantId, demand: Demand, charged_at: &ChargedAt) -> Self {
        let Demand { charges, places } = demand;
        Self { tenant, taken: charges.into_iter().zip(charged_at.slots()).collect(), places }
    }

    /// Among whose running calls it is.
    pub(super) const fn held(&self) -> (TenantId, &Vec<Place>) {
        (self.tenant, &self.places)
    }

    /// Gives everything back: a call that no server has seen is charged nowhere.
    pub fn refund(self, gateway: &Arc<Gateway>) {
        let settlements = self.taken.iter().map(|(charge, slot)| charge.refund(*slot)).collect();
        self.send(gateway, settlements);
    }

    /// Charges the tokens that the call came to in the place of those that were expected.
    pub fn settle(self, gateway: &Arc<Gateway>, tokens: u64) {
        let actual = u32::try_from(tokens).unwrap_or(u32::MAX);
        let tokens = self.taken.iter().filter(|(charge, _)| charge.key.meter == Meter::Tokens);
        let settlements = tokens.map(|(charge, slot)| Settlement { charge: *charge, slot: *slot, actual }).collect();
        self.send(gateway, settlements);
    }

    /// Off the caller's clock. What is lost leaves the reservation until it slides out of its window.
    fn send(self, gateway: &Arc<Gateway>, settlements: Vec<Settlement>) {
        if let Some(place) = self.places.first() {
            gateway.meter.running.ended(place.call);
        }
        if settlements.is_empty() && self.places.is_empty() {
            return;
        }
        let held = Arc::clone(gateway);
        gateway.calls.spawn(async move {
            if let Err(error) = held.store.settle(self.tenant, &settlements, &self.places).await {
                tracing::warn!(%error, "what a call was charged stays as it was expected");
            }
        });
    }
}
