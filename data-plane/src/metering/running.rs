//! The calls that run here and hold a place among those that may run at once.
//!
//! Invariant: as long as a call runs here, its places are said to be held more often than they lapse.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio_util::sync::CancellationToken;
use tollgate_proto::{CallId, TenantId};

use crate::{
    gateway::Gateway,
    metering::Charged,
    store::{PLACE_S, Place},
};

/// How often places are said to be held.
const KEPT_EVERY: Duration = Duration::from_secs(PLACE_S / 4);

/// The calls that run here and hold places.
#[derive(Debug, Default)]
pub(super) struct Running(Mutex<HashMap<CallId, (TenantId, Vec<Place>)>>);

impl Running {
    pub(super) fn began(&self, charged: &Charged) {
        let (tenant, places) = charged.held();
        if let Some(first) = places.first() {
            self.calls().insert(first.call, (tenant, places.clone()));
        }
    }

    pub(super) fn ended(&self, call: CallId) {
        self.calls().remove(&call);
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<CallId, (TenantId, Vec<Place>)>> {
        // Every change is one insertion or removal: whole after a panic elsewhere.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl super::Meter {
    /// The call runs and holds what it was charged.
    pub fn began(&self, charged: &Charged) {
        self.running.began(charged);
    }
}

/// Says of every call that runs here that it goes on, until `stopped`.
pub async fn keep_places(gateway: Arc<Gateway>, stopped: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(KEPT_EVERY) => {}
            () = stopped.cancelled() => return,
        }
        let running: Vec<_> = gateway.meter.running.calls().values().cloned().collect();
        for (tenant, places) in running {
            if let Err(error) = gateway.store.keep_places(tenant, &places).await {
                tracing::warn!(%error, "the place of a call that runs may be given to another one");
                break;
            }
        }
    }
}
