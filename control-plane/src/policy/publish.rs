//! The newest policy of every tenant and its live revocations, kept in memory for all streams.
//!
//! The database is looked at four times a second; a notification only makes the next look come sooner, since
//! notifications are lost when a connection breaks.
//!
//! Invariant: a tenant is compiled once per process and revision, and one that cannot be compiled holds up no other.
//! Revocations are read before any policy is compiled, and what cannot be read of them renews no lease.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    error::Error,
    sync::Arc,
    time::Duration,
};

use chrono::Utc;
use sqlx::{PgConnection, postgres::PgListener};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tollgate_proto::{DataPlaneId, TenantId, policy::v1::TenantPolicy};

use super::{
    CHANNEL,
    compile::{CompileError, compile},
    connected::Connected,
    live::Live,
    sql::{self, TenantRevisions},
};
use crate::{app::App, data_planes, oauth::keys::KeyError, sealing_keys::SealingKeyError};

const LOOK_INTERVAL: Duration = Duration::from_millis(250);
const LOOK_INTERVAL_MAX: Duration = Duration::from_secs(2);
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);
const SWEEP_EVERY: Duration = Duration::from_secs(60);
const LISTEN_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How old the last look at the database may be for what is known to count as current.
const CURRENT_FOR: Duration = Duration::from_secs(3);

/// Where the follower puts what it finds, and streams wait for it.
#[derive(Debug)]
pub struct Changes {
    known: watch::Sender<Known>,
    connected: Connected,
}

impl Changes {
    /// Nothing is known yet.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "made once, by name")]
    pub fn new() -> Self {
        Self { known: watch::Sender::new(Known::default()), connected: Connected::default() }
    }

    /// What is known, and a wake-up whenever a tenant's policy changes or it revokes something.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Known> {
        self.known.subscribe()
    }

    /// The data planes that follow what is known.
    #[must_use]
    pub const fn connected(&self) -> &Connected {
        &self.connected
    }
}

/// What this process knows of the database's policies.
#[derive(Debug, Default)]
pub struct Known {
    epoch: String,
    /// Every tenant there is.
    tenants: BTreeMap<TenantId, Tenant>,
    revoked: RevokedDataPlanes,
    /// When the last look at every tenant that succeeded began.
    looked_at: Option<Instant>,
}

/// The data planes that were sent away, as of the `count`-th of them in this database.
#[derive(Debug, Default)]
struct RevokedDataPlanes {
    epoch: String,
    count: i64,
    /// And when that was, by the clock of this process.
    ids: HashMap<DataPlaneId, Instant>,
}

/// What is known of one tenant.
#[derive(Debug, Default)]
struct Tenant {
    /// Missing until it has been compiled once.
    policy: Option<Arc<TenantPolicy>>,
    /// Missing until they have been read once in this epoch.
    live: Option<Live>,
}

impl Known {
    /// The deployment's epoch.
    #[must_use]
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// Whether all tenants have been looked at once.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.looked_at.is_some()
    }

    /// Whether the database was seen so lately that nothing here can be older than a data plane's lease allows.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.looked_at.is_some_and(|at| at.elapsed() < CURRENT_FOR)
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
        self.tenants.get(&tenant)?.policy.as_ref()
    }

    /// Every policy there is.
    pub fn policies(&self) -> impl Iterator<Item = (TenantId, &Arc<TenantPolicy>)> {
        self.tenants.iter().filter_map(|(id, tenant)| Some((*id, tenant.policy.as_ref()?)))
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

    #[cfg(test)]
    pub(super) fn of(epoch: &str, policies: impl IntoIterator<Item = (TenantId, TenantPolicy)>) -> Self {
        let known = |policy| Tenant { policy: Some(Arc::new(policy)), live: None };
        let tenants = policies.into_iter().map(|(tenant, policy)| (tenant, known(policy))).collect();
        Self { epoch: epoch.to_owned(), tenants, looked_at: Some(Instant::now()), ..Self::default() }
    }

    #[cfg(test)]
    pub(super) fn with_live(mut self, tenant: TenantId, live: Live) -> Self {
        self.tenants.entry(tenant).or_default().live = Some(live);
        self
    }
}

/// Keeps [`Changes`] at what the database holds until `stopping`, however often Postgres goes away and comes back.
pub async fn follow_changes(app: Arc<App>, stopping: CancellationToken) {
    let wake = Notify::new();
    let follow = async { tokio::join!(listen(&app, &wake), look_repeatedly(&app, &wake)) };
    stopping.run_until_cancelled(follow).await;
}

/// Turns notifications into wake-ups. Whatever goes wrong here costs no more than the wait for the next look.
async fn listen(app: &App, wake: &Notify) {
    loop {
        if let Err(error) = forward_notifications(app, wake).await {
            tracing::debug!(error = &error as &dyn Error, "cannot listen for policy changes");
        }
        sleep(LISTEN_AGAIN_AFTER).await;
    }
}

async fn forward_notifications(app: &App, wake: &Notify) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(app.db.pool()).await?;
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    while listener.try_recv().await?.is_some() {
        wake.notify_one();
    }
    Ok(())
}

async fn look_repeatedly(app: &App, wake: &Notify) {
    let mut follower = Follower { app, failed: HashMap::new(), swept_at: Instant::now() };
    let mut interval = LOOK_INTERVAL;
    loop {
        let looked = timeout(LOOK_TIMEOUT, follower.look()).await.unwrap_or(Err(sqlx::Error::PoolTimedOut));
        match looked {
            Ok(()) if interval > LOOK_INTERVAL => {
                tracing::info!("Postgres is back: policy is followed again");
                interval = LOOK_INTERVAL;
            }
            Ok(()) => {}
            Err(error) => {
                if interval == LOOK_INTERVAL {
                    tracing::warn!(error = &error as &dyn Error, "cannot look for policy changes: no lease is renewed");
                }
                interval = (interval * 2).min(LOOK_INTERVAL_MAX);
            }
        }
        // The outcome does not matter: woken or not, the next look is due.
        let _ = timeout(interval, wake.notified()).await;
    }
}

struct Follower<'a> {
    app: &'a App,
    /// The revision at which a tenant's failure was logged, so that it is logged once.
    failed: HashMap<TenantId, i64>,
    /// When expired revocations were last dropped.
    swept_at: Instant,
}

impl Follower<'_> {
    /// Reads what was revoked since the last look, then compiles what changed.
    async fn look(&mut self) -> Result<(), sqlx::Error> {
        let began_at = Instant::now();
        let mut connection = self.app.db.pool().acquire().await?;
        let found = sql::revisions(&mut connection).await?;
        let epoch = found.epoch.to_string();
        self.take_in_revoked_data_planes(&mut connection, &epoch, found.data_planes_revoked).await?;
        drop(connection);
        self.forget_all_but(&epoch, &found.tenants);
        self.forget_expired();
        for tenant in &found.tenants {
            self.take_in_revocations(tenant).await?;
        }
        for tenant in &found.tenants {
            if !self.holds(&epoch, tenant) {
                self.publish(tenant).await?;
            }
        }
        self.app.policy_changes.known.send_if_modified(|known| {
            let first = !known.is_complete();
            known.looked_at = Some(began_at);
            first
        });
        Ok(())
    }

    /// Reads who was sent away when it is somebody new, or the database is another one.
    async fn take_in_revoked_data_planes(
        &self,
        connection: &mut PgConnection,
        epoch: &str,
        count: i64,
    ) -> Result<(), sqlx::Error> {
        let is_told = |revoked: &RevokedDataPlanes| revoked.count == count && revoked.epoch == epoch;
        if !is_told(&self.app.policy_changes.known.borrow().revoked) {
            let revoked = data_planes::revoked(connection).await?;
            let now = Instant::now();
            let at = |ago| now.checked_sub(ago).unwrap_or(now);
            let ids = revoked.into_iter().map(|(id, ago)| (id, at(ago))).collect();
            let revoked = RevokedDataPlanes { epoch: epoch.to_owned(), count, ids };
            self.app.policy_changes.known.send_modify(|known| known.revoked = revoked);
        }
        Ok(())
    }

    fn holds(&self, epoch: &str, found: &TenantRevisions) -> bool {
        let known = self.app.policy_changes.known.borrow();
        known.policy(found.tenant).is_some_and(|policy| {
            policy.epoch == epoch && u64::try_from(found.policy).is_ok_and(|revision| policy.revision == revision)
        })
    }

    fn forget_all_but(&mut self, epoch: &str, found: &[TenantRevisions]) {
        let found: HashSet<TenantId> = found.iter().map(|found| found.tenant).collect();
        self.failed.retain(|tenant, _| found.contains(tenant));
        let same_epoch = self.app.policy_changes.known.borrow().epoch == epoch;
        let keep = |tenant| same_epoch && found.contains(&tenant);
        self.app.policy_changes.connected().retain_committed(keep);
        self.app.policy_changes.known.send_if_modified(|known| {
            let before = known.tenants.len();
            known.tenants.retain(|tenant, _| found.contains(tenant));
            let removed = known.tenants.len() < before;
            for tenant in found {
                known.tenants.entry(tenant).or_default();
            }
            if known.epoch != epoch {
                epoch.clone_into(&mut known.epoch);
                // A restored database has other revocations under the same numbers.
                known.tenants.values_mut().for_each(|tenant| tenant.live = None);
            }
            removed
        });
    }

    /// Data planes forget by themselves, so that nobody has to be woken.
    fn forget_expired(&mut self) {
        if self.swept_at.elapsed() < SWEEP_EVERY {
            return;
        }
        self.swept_at = Instant::now();
        let now = Utc::now().timestamp();
        self.app.policy_changes.known.send_if_modified(|known| {
            known.tenants.values_mut().filter_map(|tenant| tenant.live.as_mut()).for_each(|live| {
                live.forget_expired(now);
            });
            false
        });
    }

    /// Reads what one tenant has revoked since the last look and shows it to the streams at once.
    async fn take_in_revocations(&self, found: &TenantRevisions) -> Result<(), sqlx::Error> {
        let revision = found.revocations.unsigned_abs();
        let told = self.app.policy_changes.known.borrow().live_of(found.tenant).map(Live::revision);
        if told.is_some_and(|told| told >= revision) {
            return Ok(());
        }
        let made = if revision == 0 {
            Vec::new()
        } else {
            let mut tx = self.app.db.tenant(found.tenant).await?;
            sql::revocations(&mut tx, told.unwrap_or_default().cast_signed()).await?
        };
        let connected = self.app.policy_changes.connected();
        connected.committed(found.tenant, made.iter().map(|made| (made.number, made.committed)));
        let entries = made.into_iter().map(|made| (made.number, made.revocation)).collect();
        self.app.policy_changes.known.send_if_modified(|known| {
            let tenant = known.tenants.get_mut(&found.tenant);
            tenant.map(|tenant| tenant.live.get_or_insert_default().extend(revision, entries)).is_some()
        });
        Ok(())
    }

    /// Compiles one tenant and shows it to the streams at once. Fails only when Postgres cannot be reached.
    async fn publish(&mut self, found: &TenantRevisions) -> Result<(), sqlx::Error> {
        let TenantRevisions { tenant, policy: revision, .. } = *found;
        match compile(self.app, tenant).await {
            Ok(Some(policy)) => {
                self.failed.remove(&tenant);
                let policy = Some(Arc::new(policy));
                self.app.policy_changes.known.send_modify(|known| {
                    known.tenants.entry(tenant).or_default().policy = policy;
                });
            }
            // Gone since the look began; the next look says so.
            Ok(None) => {}
            Err(
                CompileError::Database(error)
                | CompileError::Keys(KeyError::Storage(error))
                | CompileError::SealingKeys(SealingKeyError::Storage(error)),
            ) if is_unreachable(&error) => {
                return Err(error);
            }
            Err(error) => {
                if self.failed.insert(tenant, revision) != Some(revision) {
                    tracing::error!(
                        %tenant, revision, error = &error as &dyn Error,
                        "cannot compile a tenant's policy: its data planes stay at the last one"
                    );
                }
            }
        }
        Ok(())
    }
}

/// Whether no other tenant would fare better.
fn is_unreachable(error: &sqlx::Error) -> bool {
    // Lost or ended by the server (PostgreSQL's appendix A): `25P03` is a transaction that hung for too long.
    let is_lost = |code: &str| ["08", "25P03", "57"].iter().any(|class| code.starts_with(class));
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| is_lost(&code)),
        _ => false,
    }
}
