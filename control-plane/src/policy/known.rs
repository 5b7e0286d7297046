//! What this process knows of the database: the newest policy of every tenant, what is revoked, and when that was seen.
//!
//! Invariant: a tenant's policy is only ever replaced by a newer one, or by one of another epoch; what is known of tenants
//! that are gone is forgotten with the look that finds them gone.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use prost::Message as _;
use tokio::time::Instant;
use tollgate_proto::{
    DataPlaneId, TenantId,
    policy::v1::{Revocation, TenantPolicy},
};

use super::live::Live;

/// How old the last look at the database may be for what is known to count as current.
const CURRENT_FOR: Duration = Duration::from_secs(3);

/// What this process knows of the database's policies.
#[derive(Debug, Default)]
pub struct Known {
    epoch: String,
    /// Every tenant there is.
    tenants: BTreeMap<TenantId, Tenant>,
    revoked: RevokedDataPlanes,
    /// How many data planes there are.
    data_planes: u32,
    /// When the last look at every tenant that succeeded began.
    looked_at: Option<Instant>,
    is_complete: bool,
}

/// The data planes that were sent away, as of the `count`-th of them in this database.
#[derive(Debug, Default)]
pub(super) struct RevokedDataPlanes {
    pub(super) epoch: String,
    pub(super) count: i64,
    /// And when that was, by the clock of this process.
    pub(super) ids: HashMap<DataPlaneId, Instant>,
}

/// A tenant's policy as it was compiled.
#[derive(Debug, Clone)]
pub(super) struct Published {
    pub(super) policy: Arc<TenantPolicy>,
    /// Written out, for every data plane.
    pub(super) encoded: Bytes,
}

/// What is known of one tenant.
#[derive(Debug, Default)]
struct Tenant {
    /// Missing until it has been compiled once.
    published: Option<Published>,
    /// Whether it has been compiled, or found to be impossible to compile.
    is_tried: bool,
    /// Missing until they have been read once in this epoch.
    live: Option<Live>,
}

impl From<TenantPolicy> for Published {
    fn from(policy: TenantPolicy) -> Self {
        Self { encoded: policy.encode_to_vec().into(), policy: Arc::new(policy) }
    }
}

impl Known {
    /// The deployment's epoch.
    #[must_use]
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// Whether all tenants have been looked at once, and compiled where that is possible.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Whether the database was seen so lately that nothing here can be older than a data plane's lease allows.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.looked_at.is_some_and(|at| at.elapsed() < CURRENT_FOR)
    }

    /// How many data planes there are.
    #[must_use]
    pub const fn data_planes(&self) -> u32 {
        self.data_planes
    }

    /// Whether the data plane was sent away.
    #[must_use]
    pub fn is_revoked(&self, data_plane: DataPlaneId) -> bool {
        self.revoked.ids.contains_key(&data_plane)
    }

    /// When the data plane was sent away, if it was.
    #[must_use]
    pub fn revoked_at(&self, data_plane: DataPlaneId) -> Option<Instant> {
        self.revoked.ids.get(&data_plane).copied()
    }

    /// Whether the tenant exists, compiled or not.
    #[must_use]
    pub fn exists(&self, tenant: TenantId) -> bool {
        self.tenants.contains_key(&tenant)
    }

    /// The tenant's policy.
    #[must_use]
    pub fn policy(&self, tenant: TenantId) -> Option<&Arc<TenantPolicy>> {
        self.published(tenant).map(|published| &published.policy)
    }

    /// Every policy there is.
    pub fn policies(&self) -> impl Iterator<Item = (TenantId, &Arc<TenantPolicy>)> {
        self.tenants.iter().filter_map(|(id, tenant)| Some((*id, &tenant.published.as_ref()?.policy)))
    }

    /// The tenant's live revocations.
    #[must_use]
    pub fn live_of(&self, tenant: TenantId) -> Option<&Live> {
        self.tenants.get(&tenant)?.live.as_ref()
    }

    /// The live revocations of every tenant.
    pub fn live(&self) -> impl Iterator<Item = (TenantId, &Live)> {
        self.tenants.iter().filter_map(|(id, tenant)| Some((*id, tenant.live.as_ref()?)))
    }

    /// The tenant's policy, also written out.
    pub(super) fn published(&self, tenant: TenantId) -> Option<&Published> {
        self.tenants.get(&tenant)?.published.as_ref()
    }

    /// Whether the tenant's policy is the one of this revision, or a newer one.
    pub(super) fn holds(&self, epoch: &str, tenant: TenantId, revision: i64) -> bool {
        self.policy(tenant).is_some_and(|policy| {
            policy.epoch == epoch && u64::try_from(revision).is_ok_and(|revision| policy.revision >= revision)
        })
    }

    pub(super) const fn revoked(&self) -> &RevokedDataPlanes {
        &self.revoked
    }

    pub(super) fn set_revoked(&mut self, revoked: RevokedDataPlanes) {
        self.revoked = revoked;
    }

    /// Takes these for all the tenants there are; answers whether one is gone.
    pub(super) fn set_tenants(&mut self, epoch: &str, found: &HashSet<TenantId>) -> bool {
        let before = self.tenants.len();
        self.tenants.retain(|tenant, _| found.contains(tenant));
        let removed = self.tenants.len() < before;
        for tenant in found {
            self.tenants.entry(*tenant).or_default();
        }
        if self.epoch != epoch {
            epoch.clone_into(&mut self.epoch);
            // A restored database has other revocations under the same numbers.
            self.tenants.values_mut().for_each(|tenant| tenant.live = None);
        }
        removed
    }

    /// Takes in what the tenant has revoked, up to `revision`; answers whether there is such a tenant.
    pub(super) fn revoke(&mut self, tenant: TenantId, revision: u64, entries: Vec<(u64, Revocation)>) -> bool {
        let tenant = self.tenants.get_mut(&tenant);
        tenant.map(|tenant| tenant.live.get_or_insert_default().extend(revision, entries)).is_some()
    }

    /// Drops what speaks of nothing any more at `now`, in Unix seconds.
    pub(super) fn forget_expired(&mut self, now: i64) {
        let live = self.tenants.values_mut().filter_map(|tenant| tenant.live.as_mut());
        live.for_each(|live| live.forget_expired(now));
    }

    /// Notes a look at every tenant that began then and saw so many data planes; answers whether that makes this complete.
    pub(super) fn look_ended(&mut self, began_at: Instant, data_planes: u32) -> bool {
        self.looked_at = Some(began_at);
        self.data_planes = data_planes;
        self.complete()
    }

    /// Takes in what became of compiling a tenant, a policy or none; answers whether anybody has to know.
    pub(super) fn compiled(&mut self, tenant: TenantId, published: Option<Published>) -> bool {
        let is_new = published.is_some();
        // One that is gone meanwhile does not come back by this.
        let Some(tenant) = self.tenants.get_mut(&tenant) else { return false };
        tenant.is_tried = true;
        if is_new {
            tenant.published = published;
        }
        self.complete() || is_new
    }

    fn complete(&mut self) -> bool {
        let becomes = !self.is_complete && self.looked_at.is_some() && self.tenants.values().all(|it| it.is_tried);
        self.is_complete |= becomes;
        becomes
    }

    #[cfg(test)]
    pub(super) fn of(epoch: &str, policies: impl IntoIterator<Item = (TenantId, TenantPolicy)>) -> Self {
        let known = |policy: TenantPolicy| Tenant { published: Some(policy.into()), is_tried: true, live: None };
        let tenants = policies.into_iter().map(|(tenant, policy)| (tenant, known(policy))).collect();
        Self { epoch: epoch.to_owned(), tenants, looked_at: Some(Instant::now()), is_complete: true, ..Self::default() }
    }

    #[cfg(test)]
    pub(super) fn with_live(mut self, tenant: TenantId, live: Live) -> Self {
        self.tenants.entry(tenant).or_default().live = Some(live);
        self
    }
}
