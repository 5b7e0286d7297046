//! What may be done: the policy of every tenant, held in memory and swapped as a whole; and what was revoked.
//!
//! Invariant: a call loads the snapshot once and uses that one to its end; a tenant's policy is replaced whole or
//! not at all. Revocations are no part of a policy: a call asks for those in force at the moment it is identified, and
//! no policy that arrives or is refused takes one away.

pub mod access;
pub mod budgets;
mod convert;
pub mod disk;
pub mod freshness;
pub mod limits;
mod line;
pub mod revocations;
pub mod snapshot;
pub mod stream;
pub mod toolset;
pub mod via;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use tokio::{sync::watch, time::timeout_at};
use tollgate_proto::{
    TenantId,
    policy::v1::{self as wire, TenantPolicy},
};

pub use access::{Access, AccessError, Credential, Identity, OauthClient, Proof};
pub use budgets::{Budget, BudgetError, Budgets, Ledger, Period};
pub use convert::SnapshotError;
pub use disk::Shelf;
pub use freshness::{Currency, Freshness, Stale, Staleness};
pub use limits::{Limit, LimitError, Limits, OnStoreOutage, Party, Rate, Subject};
pub use revocations::{RevocationError, Revocations, TokenFacts};
pub use snapshot::{Agent, Instance, Server, Snapshot, Team, Tenant, Transport, UsageReports, User};
pub use tollgate_proto::Egress;
pub use toolset::{Toolset, Toolsets};
pub use via::Via;

use freshness::Lease;

/// How often it is written down that the control plane was heard.
const NOTE_HEARD_EVERY_S: u64 = 10;

/// How often what speaks of nothing any more is forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(60);

type Revoked = HashMap<TenantId, Arc<Revocations>>;

/// The snapshot and the revocations in force, and whether there has been a policy.
#[derive(Debug)]
pub struct Policies {
    current: ArcSwap<Snapshot>,
    revoked: ArcSwap<Revoked>,
    /// Told after every swap of either.
    changed: watch::Sender<()>,
    synced: watch::Sender<bool>,
    shelf: Shelf,
    lease: watch::Sender<Lease>,
    data_planes: AtomicU32,
    ledger: Ledger,
    /// What the shelf knows of the last heartbeat, in unix seconds.
    heard_noted_at: AtomicI64,
    forgot_at: Mutex<Instant>,
    /// Held while policies change, in memory and on disk; whether this data plane was revoked.
    withdrawn: Mutex<bool>,
}

impl Policies {
    /// What was last in force, as the shelf has it. Where it has nothing, nothing is allowed and the data plane is not
    /// ready. `now` in unix seconds.
    #[must_use]
    pub fn open(shelf: Shelf, now: i64) -> Self {
        let policies = Self {
            current: ArcSwap::from_pointee(Snapshot::default()),
            revoked: ArcSwap::from_pointee(Revoked::new()),
            changed: watch::Sender::new(()),
            synced: watch::Sender::new(false),
            lease: watch::Sender::new(Lease::none(age(shelf.heard_at(), now), Instant::now())),
            data_planes: AtomicU32::new(1),
            ledger: Ledger::default(),
            heard_noted_at: AtomicI64::new(i64::MIN),
            forgot_at: Mutex::new(Instant::now()),
            withdrawn: Mutex::new(false),
            shelf,
        };
        let damaged = policies.restore_revocations(now);
        for kept in policies.shelf.load() {
            match Tenant::read(&kept, None) {
                Ok(tenant) if damaged.contains(&tenant.id) => {
                    tracing::error!(tenant = %tenant.name, "what it has revoked is not known: its policy waits for the control plane");
                }
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

    /// Whether a token of the tenant is revoked, as far as this data plane knows now.
    #[must_use]
    pub fn is_revoked(&self, tenant: TenantId, token: &TokenFacts<'_>) -> bool {
        self.revoked.load().get(&tenant).is_some_and(|revocations| revocations.hit(token))
    }

    /// What each tenant has revoked, in no order.
    #[must_use]
    pub fn revocations(&self) -> Vec<(TenantId, Arc<Revocations>)> {
        self.revoked.load().iter().map(|(tenant, held)| (*tenant, Arc::clone(held))).collect()
    }

    /// Tells of every change of policies and revocations from now on; the first look counts as one.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        let mut changes = self.changed.subscribe();
        changes.mark_changed();
        changes
    }

    /// Whether every tenant's policy has arrived once.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        *self.synced.borrow()
    }

    /// Whether calls should be sent here: as [`Self::ready`].
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.is_synced() && self.lease.borrow().heard_until().is_none_or(|until| until <= Instant::now())
    }

    /// Waits until every tenant's policy has arrived once, and the control plane was heard or does not answer.
    pub async fn ready(&self) {
        let (mut synced, mut lease) = (self.synced.subscribe(), self.lease.subscribe());
        // The senders live as long as `self`, so waiting cannot fail.
        let _ = synced.wait_for(|synced| *synced).await;
        let until = lease.borrow().heard_until();
        if let Some(until) = until {
            let _ = timeout_at(until.into(), lease.wait_for(|lease| lease.heard_until().is_none())).await;
        }
    }

    /// How many data planes there are, as far as this one was told; itself at least.
    #[must_use]
    pub fn data_planes(&self) -> u32 {
        self.data_planes.load(Ordering::Relaxed).max(1)
    }

    /// What the ledger has of budgets.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Whether a control plane was heard since this data plane started.
    #[must_use]
    pub fn was_heard(&self) -> bool {
        self.lease.borrow().heard_until().is_none()
    }

    fn set_data_planes(&self, data_planes: u32) {
        self.data_planes.store(data_planes, Ordering::Relaxed);
    }

    /// How current all of it is.
    #[must_use]
    pub fn freshness(&self) -> Freshness {
        self.lease.borrow().at(Instant::now())
    }

    /// Each lease from now on.
    fn leases(&self) -> watch::Receiver<Lease> {
        self.lease.subscribe()
    }

    /// A heartbeat came just now, with a lease of this length.
    fn hear(&self, lease: Duration) {
        let now = chrono::Utc::now().timestamp();
        self.renew(lease, now);
        self.forget_expired(now);
    }

    /// A heartbeat came: everything is current for so long. `now` in unix seconds.
    fn renew(&self, length: Duration, now: i64) {
        self.lease.send_replace(Lease::given(length, Instant::now()));
        // Where the clock was set back since, what is noted would be of no use.
        if now.abs_diff(self.heard_noted_at.load(Ordering::Relaxed)) < NOTE_HEARD_EVERY_S {
            return;
        }
        self.heard_noted_at.store(now, Ordering::Relaxed);
        if let Err(error) = self.shelf.set_heard_at(now) {
            tracing::error!(%error, "it could not be written down that the control plane was heard");
        }
    }

    /// Has everybody look at what holds now, though nothing came.
    fn tell(&self) {
        self.changed.send_replace(());
    }

    /// Puts a tenant's policy in force and on disk, unless it cannot be served or a newer one is in force: control planes
    /// see the database one after the other. Takes long where the policy is large.
    pub(crate) fn put(&self, sent: &TenantPolicy) -> Result<(), SnapshotError> {
        let held = self.load();
        let before = held.tenants().find(|held| held.id.to_string() == sent.tenant_id);
        let tenant = Tenant::read(sent, before.map(|before| &**before))?;
        let withdrawn = self.withdrawn();
        if *withdrawn {
            return Err(SnapshotError::Withdrawn);
        }
        self.require_not_older(&tenant)?;
        tracing::debug!(tenant = %tenant.name, revision = tenant.revision, "policy in force");
        self.swap_in(tenant);
        if let Err(error) = self.shelf.put(sent) {
            tracing::error!(%error, "the policy is in force but could not be kept on disk");
        }
        Ok(())
    }

    fn require_not_older(&self, next: &Tenant) -> Result<(), SnapshotError> {
        let snapshot = self.load();
        let newer =
            |held: &&Arc<Tenant>| held.id == next.id && held.epoch == next.epoch && held.revision > next.revision;
        match snapshot.tenants().find(newer) {
            Some(held) => Err(SnapshotError::Older { revision: next.revision, in_force: held.revision }),
            None => Ok(()),
        }
    }

    /// Puts in force, and on disk, what a tenant revokes. An error says that not all of it could be read; what could
    /// is in force.
    pub(crate) fn revoke(&self, sent: &wire::Revocations) -> Result<(), RevocationError> {
        let tenant: TenantId = sent.tenant_id.parse()?;
        let held = self.revoked.load().get(&tenant).cloned().unwrap_or_default();
        let (next, read) = held.with(sent);
        tracing::debug!(%tenant, revision = next.revision(), held = next.len(), "revocations in force");
        // What could not be read now could not be read from disk either, and must not take the place of what can.
        let kept = if read.is_ok() { sent.clone() } else { next.to_message(tenant) };
        self.hold(tenant, next);
        if let Err(error) = self.shelf.add_revocations(tenant, &kept) {
            tracing::error!(%error, "the revocations are in force but could not be kept on disk");
        }
        read
    }

    /// A tenant that comes back within the life of its tokens finds them revoked as they were.
    fn remove(&self, tenant: TenantId) {
        let _changing = self.withdrawn();
        self.current.rcu(|snapshot| snapshot.without(tenant));
        self.changed.send_replace(());
        if let Err(error) = self.shelf.remove(tenant) {
            tracing::error!(%error, "a removed tenant's policy is still on disk");
        }
    }

    /// Serves nothing any more, and keeps nothing that could be served: this data plane was revoked. Streams that are open
    /// are looked at again and end.
    pub fn withdraw(&self) {
        *self.withdrawn() = true;
        self.synced.send_replace(false);
        self.current.store(Arc::new(Snapshot::default()));
        self.changed.send_replace(());
        if let Err(error) = self.shelf.destroy() {
            tracing::error!(%error, "policies of a revoked data plane are still on disk");
        }
    }

    /// Forgets what speaks of nothing any more at `now`, in memory and on disk, if that was not done just before.
    fn forget_expired(&self, now: i64) {
        {
            let mut forgot_at = self.forgot_at.lock().unwrap_or_else(PoisonError::into_inner);
            if forgot_at.elapsed() < FORGET_EVERY {
                return;
            }
            *forgot_at = Instant::now();
        }
        for (tenant, held) in self.revocations() {
            if let Some(living) = held.without_expired(now) {
                self.compact(tenant, &living);
                self.hold(tenant, living);
            }
        }
    }

    /// Brings back what was revoked; the tenants of whom that is not known whole.
    fn restore_revocations(&self, now: i64) -> Vec<TenantId> {
        let mut damaged = Vec::new();
        for (tenant, messages) in self.shelf.load_revocations() {
            let Some(messages) = messages else {
                damaged.push(tenant);
                continue;
            };
            let held = messages.iter().fold(Revocations::default(), |held, message| held.with(message).0);
            let living = held.without_expired(now).unwrap_or(held);
            self.compact(tenant, &living);
            self.hold(tenant, living);
        }
        damaged
    }

    /// Writes anew what is left, or nothing where nothing is.
    fn compact(&self, tenant: TenantId, living: &Revocations) {
        let written = if living.is_empty() {
            self.shelf.remove_revocations(tenant)
        } else {
            self.shelf.add_revocations(tenant, &living.to_message(tenant))
        };
        if let Err(error) = written {
            tracing::error!(%error, "the file of revocations could not be written anew");
        }
    }

    fn hold(&self, tenant: TenantId, next: Revocations) {
        let next = Arc::new(next);
        self.revoked.rcu(|revoked| {
            let mut revoked = Revoked::clone(revoked);
            revoked.insert(tenant, Arc::clone(&next));
            revoked
        });
        self.changed.send_replace(());
    }

    fn swap_in(&self, tenant: Tenant) {
        let tenant = Arc::new(tenant);
        self.current.rcu(|snapshot| snapshot.with(Arc::clone(&tenant)));
        self.changed.send_replace(());
    }

    /// A mere fact, whole after any panic.
    fn withdrawn(&self) -> MutexGuard<'_, bool> {
        self.withdrawn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mark_synced(&self) {
        self.synced.send_replace(true);
    }
}

/// The time since the last heartbeat, both in unix seconds; `None`: nobody knows, as when the clock was set back since.
fn age(heard_at: Option<i64>, now: i64) -> Option<Duration> {
    now.checked_sub(heard_at?)?.try_into().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests;
