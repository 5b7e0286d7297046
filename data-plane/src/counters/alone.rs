//! Limits while the store cannot be reached.
//!
//! A limit that is kept locally is kept by each data plane to its share: nine tenths of the limit, divided by their number.
//! What was let through meanwhile is charged to the store when it is back.
//!
//! A budget is not shared out: each data plane counts what it spends itself, on top of what the ledger has.
//!
//! Invariant: all data planes together, each alone, let no more through in any window than the limit.

use tollgate_proto::TenantId;

use super::{Judged, Request};
use crate::{
    policy::OnStoreOutage,
    store::{Charge, Demand, Place, Settled, Settlement, Spend, Store, StoreError, memory},
    telemetry::metrics::CountedAt,
};

/// Of the limit, what is shared out: tenths.
const SHARED_TENTHS: u64 = 9;

/// Counters of this data plane alone.
#[derive(Debug, Default)]
pub(super) struct Alone {
    counters: memory::Store,
}

impl Alone {
    /// Judges by this data plane's share of every limit; none when that is not for it to decide: a limit denies while
    /// counters are away or is too small to be shared, or the message belongs to a session, which nobody else knows.
    pub(super) fn admit(&self, request: Request<'_>, demand: &Demand) -> Option<Judged> {
        let of_limits = request.limits.iter().map(|limit| limit.on_store_outage);
        let on_outage = of_limits.chain(request.budgets.iter().map(|budget| budget.on_store_outage));
        if request.session.is_some() || on_outage.max() == Some(OnStoreOutage::Deny) {
            return None;
        }
        let is_local = |limit| {
            let of = request.limits.iter().find(|it| it.id == limit);
            of.is_some_and(|limit| limit.on_store_outage == OnStoreOutage::Local)
        };
        let demand = Demand {
            charges: demand.charges.iter().filter(|charge| is_local(charge.key.limit)).copied().collect(),
            places: demand.places.iter().filter(|place| is_local(place.limit)).copied().collect(),
            spends: local_spends(request, demand),
        };
        let charges = demand.charges.iter().map(|charge| share_of(charge, request.data_planes));
        let places = demand.places.iter().map(|place| {
            let places = share(place.places, request.data_planes)?;
            Some(Place { places, ..*place })
        });
        let (charges, places) = (charges.collect::<Option<_>>()?, places.collect::<Option<_>>()?);
        let demand = Demand { charges, places, ..demand };
        let counted = if demand.is_empty() { CountedAt::Nowhere } else { CountedAt::Here };
        let admission = self.counters.admit(request.owner, None, &demand).ok()?;
        Some(Judged { demand, admission, counted })
    }

    pub(super) fn settle(&self, tenant: TenantId, settled: Settled<'_>) {
        self.counters.settle(tenant, settled);
    }

    /// Whether something was let through that the store does not know.
    pub(super) fn has_something_to_tell(&self) -> bool {
        self.counters.has_rings()
    }

    /// Charges the store with what was let through.
    ///
    /// # Errors
    /// When it cannot be told; what it was not told is kept.
    pub(super) async fn tell(&self, store: &Store) -> Result<(), StoreError> {
        let mut told = Ok(());
        for (tenant, charges) in self.counters.take_rings() {
            let used = charges.into_iter().map(|charge| Settlement { charge, slot: 0, actual: charge.cost });
            let used: Vec<_> = used.collect();
            if let Err(error) = store.settle(tenant, Settled::of(&used)).await {
                self.counters.settle(tenant, Settled::of(&used));
                told = Err(error);
            }
        }
        told
    }
}

/// What is spent is counted here on top of what the ledger was known to have. What it has not heard of by the time the
/// store is back it will hear of: nothing has to be told.
fn local_spends(request: Request<'_>, demand: &Demand) -> Vec<Spend> {
    let is_local = |spend: &&Spend| {
        let of = request.budgets.iter().find(|budget| budget.id == spend.key.budget);
        of.is_some_and(|budget| budget.on_store_outage == OnStoreOutage::Local)
    };
    demand.spends.iter().filter(is_local).copied().collect()
}

fn share_of(charge: &Charge, data_planes: u32) -> Option<Charge> {
    let limit = share(charge.limit, data_planes)?;
    Some(Charge { limit, cost: charge.cost.min(limit), ..*charge })
}

fn share(limit: u32, data_planes: u32) -> Option<u32> {
    let shared = u64::from(limit) * SHARED_TENTHS / 10 / u64::from(data_planes.max(1));
    // No more than the limit.
    (shared > 0).then_some(shared as u32)
}
