//! What may be done: the policy of every tenant, held in memory and swapped as a whole.
//!
//! Invariant: a call loads the snapshot once and uses that one to its end; a tenant's policy is replaced whole or
//! not at all.

mod convert;
pub mod egress;
pub mod snapshot;
pub mod stream;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use tokio::sync::watch;

pub use convert::SnapshotError;
pub use egress::Egress;
pub use snapshot::{Agent, Instance, Limit, Permission, Server, Snapshot, Tenant};

/// The snapshot in force, and whether there has been one.
#[derive(Debug)]
pub struct Policies {
    current: ArcSwap<Snapshot>,
    synced: watch::Sender<bool>,
    heard_at: Mutex<Instant>,
}

impl Policies {
    /// Nothing is known, so nothing is allowed and the data plane is not ready.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "made once, by name")]
    pub fn new() -> Self {
        Self {
            current: ArcSwap::from_pointee(Snapshot::default()),
            synced: watch::Sender::new(false),
            heard_at: Mutex::new(Instant::now()),
        }
    }

    /// The snapshot in force.
    #[must_use]
    pub fn load(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Whether every tenant's policy has arrived once.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        *self.synced.borrow()
    }

    /// Waits until every tenant's policy has arrived once.
    pub async fn synced(&self) {
        let mut synced = self.synced.subscribe();
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = synced.wait_for(|synced| *synced).await;
    }

    /// How long ago the control plane was last heard.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.heard_at.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    fn heard(&self) {
        *self.heard_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn put(&self, tenant: Tenant) {
        let tenant = Arc::new(tenant);
        self.current.rcu(|snapshot| snapshot.with(Arc::clone(&tenant)));
    }

    fn remove(&self, tenant: tollgate_proto::TenantId) {
        self.current.rcu(|snapshot| snapshot.without(tenant));
    }

    fn mark_synced(&self) {
        self.synced.send_replace(true);
    }
}
