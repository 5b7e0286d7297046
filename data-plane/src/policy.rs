//! What may be done: the policy of every tenant, held in memory and swapped as a whole.
//!
//! Invariant: a call loads the snapshot once and uses that one to its end; a tenant's policy is replaced whole or
//! not at all.

mod convert;
pub mod disk;
pub mod snapshot;
pub mod stream;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tollgate_proto::{TenantId, policy::v1::TenantPolicy};

pub use convert::SnapshotError;
pub use disk::Shelf;
pub use snapshot::{Agent, Instance, Limit, Permission, Server, Snapshot, Tenant};
pub use tollgate_proto::Egress;

/// The snapshot in force, and whether there has been one.
#[derive(Debug)]
pub struct Policies {
    current: ArcSwap<Snapshot>,
    synced: watch::Sender<bool>,
    shelf: Shelf,
    heard_at: Mutex<Instant>,
}

impl Policies {
    /// What was last in force, as the shelf has it. Where it has nothing, nothing is allowed and the data plane is not
    /// ready.
    #[must_use]
    pub fn open(shelf: Shelf) -> Self {
        let policies = Self {
            current: ArcSwap::from_pointee(Snapshot::default()),
            synced: watch::Sender::new(false),
            heard_at: Mutex::new(Instant::now()),
            shelf,
        };
        for kept in policies.shelf.load() {
            match Tenant::try_from(kept) {
                Ok(tenant) => {
                    tracing::info!(tenant = %tenant.name, revision = tenant.revision, "serving the policy kept on disk");
                    policies.swap_in(tenant);
                    policies.mark_synced();
                }
                Err(error) => tracing::error!(%error, "a policy kept on disk cannot be served"),
            }
        }
        policies
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

    /// Puts a tenant's policy in force and on disk.
    fn put(&self, sent: &TenantPolicy) -> Result<(), SnapshotError> {
        let tenant = Tenant::try_from(sent.clone())?;
        tracing::debug!(tenant = %tenant.name, revision = tenant.revision, "policy in force");
        self.swap_in(tenant);
        if let Err(error) = self.shelf.put(sent) {
            tracing::error!(%error, "the policy is in force but could not be kept on disk");
        }
        Ok(())
    }

    fn remove(&self, tenant: TenantId) {
        self.current.rcu(|snapshot| snapshot.without(tenant));
        if let Err(error) = self.shelf.remove(tenant) {
            tracing::error!(%error, "a removed tenant's policy is still on disk");
        }
    }

    fn swap_in(&self, tenant: Tenant) {
        let tenant = Arc::new(tenant);
        self.current.rcu(|snapshot| snapshot.with(Arc::clone(&tenant)));
    }

    fn mark_synced(&self) {
        self.synced.send_replace(true);
    }
}
