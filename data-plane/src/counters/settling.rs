//! What goes back to the store of limits that are leased: what calls came to, and what was taken in advance and not used.
//!
//! Settlements wait for a moment, so that those of many calls go together and those of one ring and slot as one: a leased
//! limit is there to spare the store.
//!
//! Invariant: each settlement is sent once at most: a second one would give back twice. What is lost leaves the reservation
//! until it slides out of its window.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::sleep};
use tokio_util::sync::CancellationToken;
use tollgate_proto::TenantId;

use super::refusals::Refusals;
use crate::store::{Charge, RingKey, Settled, Settlement, Store};

const TOGETHER_FOR: Duration = Duration::from_millis(10);
/// How many go to the store in one function: it does nothing else meanwhile.
const AT_ONCE_MAX: usize = 64;

type Waiting = HashMap<(TenantId, RingKey, u64), Settlement>;

/// Settlements that the store has not been told.
#[derive(Debug, Default)]
pub(super) struct Settling {
    waiting: Mutex<Waiting>,
    added: Notify,
}

impl Settling {
    pub(super) fn add(&self, tenant: TenantId, settlements: Vec<Settlement>) {
        if settlements.is_empty() {
            return;
        }
        // Every change is complete before anything could panic.
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for settlement in settlements {
            match waiting.entry((tenant, settlement.charge.key, settlement.slot)) {
                Entry::Occupied(mut with) => with.get_mut().add(&settlement),
                Entry::Vacant(place) => drop(place.insert(settlement)),
            }
        }
        drop(waiting);
        self.added.notify_one();
    }

    /// Tells the store what is added, until `stopped`.
    pub(super) async fn follow(&self, store: &Store, refusals: &Refusals, stopped: &CancellationToken) {
        while stopped.run_until_cancelled(self.added.notified()).await.is_some() {
            sleep(TOGETHER_FOR).await;
            self.tell(store, refusals).await;
        }
    }

    /// Tells the store everything that waits.
    pub(super) async fn tell(&self, store: &Store, refusals: &Refusals) {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        let mut tenants: HashMap<TenantId, Vec<Settlement>> = HashMap::new();
        for ((tenant, ..), settlement) in waiting {
            tenants.entry(tenant).or_default().push(settlement);
        }
        for (tenant, settlements) in tenants {
            for together in settlements.chunks(AT_ONCE_MAX) {
                let settled = Settled::of(together);
                if let Err(error) = store.settle(tenant, settled).await {
                    tracing::warn!(%error, %tenant, "what calls were charged stays as it was expected");
                    break;
                }
                refusals.forget_what_is_settled(tenant, settled);
            }
        }
    }
}

impl Settlement {
    /// Takes another one in, of the same ring and slot.
    fn add(&mut self, other: &Self) {
        let cost = self.charge.cost.saturating_add(other.charge.cost);
        // Of a limit that changed in between, the newer one.
        self.charge = Charge { cost, ..other.charge };
        self.actual = self.actual.saturating_add(other.actual);
    }
}
