//! The newest policy of every tenant, kept in memory for all streams.
//!
//! The database is looked at four times a second; a notification only makes the next look come sooner, since
//! notifications are lost when a connection breaks.
//!
//! Invariant: a tenant is compiled once per process and revision, and one that cannot be compiled holds up no other.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    error::Error,
    sync::Arc,
    time::Duration,
};

use sqlx::postgres::PgListener;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tollgate_proto::{TenantId, policy::v1::TenantPolicy};

use super::{
    CHANNEL,
    compile::{CompileError, compile},
    connected::Connected,
    sql,
};
use crate::{app::App, oauth::keys::KeyError};

const LOOK_INTERVAL: Duration = Duration::from_millis(250);
const LOOK_INTERVAL_MAX: Duration = Duration::from_secs(2);
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);
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

    /// What is known, and a wake-up whenever a tenant's policy changes.
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
    /// Every tenant there is; `None` for one that has not been compiled yet.
    tenants: BTreeMap<TenantId, Option<Arc<TenantPolicy>>>,
    /// When the last look at every tenant that succeeded began.
    looked_at: Option<Instant>,
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

    /// Whether the tenant exists, compiled or not.
    #[must_use]
    pub fn exists(&self, tenant: TenantId) -> bool {
        self.tenants.contains_key(&tenant)
    }

    /// The tenant's policy.
    #[must_use]
    pub fn policy(&self, tenant: TenantId) -> Option<&Arc<TenantPolicy>> {
        self.tenants.get(&tenant)?.as_ref()
    }

    /// Every policy there is.
    pub fn policies(&self) -> impl Iterator<Item = (TenantId, &Arc<TenantPolicy>)> {
        self.tenants.iter().filter_map(|(tenant, policy)| Some((*tenant, policy.as_ref()?)))
    }

    #[cfg(test)]
    pub(super) fn of(epoch: &str, policies: impl IntoIterator<Item = (TenantId, TenantPolicy)>) -> Self {
        let tenants = policies.into_iter().map(|(tenant, policy)| (tenant, Some(Arc::new(policy)))).collect();
        Self { epoch: epoch.to_owned(), tenants, looked_at: Some(Instant::now()) }
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
    let mut follower = Follower { app, failed: HashMap::new() };
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
}

impl Follower<'_> {
    /// Compiles what changed since the last look.
    async fn look(&mut self) -> Result<(), sqlx::Error> {
        let began_at = Instant::now();
        let mut connection = self.app.db.pool().acquire().await?;
        let found = sql::revisions(&mut connection).await?;
        drop(connection);
        let epoch = found.epoch.to_string();
        self.forget_all_but(&epoch, &found.tenants);
        for (tenant, revision) in found.tenants {
            if !self.holds(&epoch, tenant, revision) {
                self.publish(tenant, revision).await?;
            }
        }
        self.app.policy_changes.known.send_if_modified(|known| {
            let first = !known.is_complete();
            known.looked_at = Some(began_at);
            first
        });
        Ok(())
    }

    fn holds(&self, epoch: &str, tenant: TenantId, revision: i64) -> bool {
        let known = self.app.policy_changes.known.borrow();
        known.policy(tenant).is_some_and(|policy| {
            policy.epoch == epoch && u64::try_from(revision).is_ok_and(|revision| policy.revision == revision)
        })
    }

    fn forget_all_but(&mut self, epoch: &str, found: &[(TenantId, i64)]) {
        let found: HashSet<TenantId> = found.iter().map(|(tenant, _)| *tenant).collect();
        self.failed.retain(|tenant, _| found.contains(tenant));
        self.app.policy_changes.known.send_if_modified(|known| {
            let before = known.tenants.len();
            known.tenants.retain(|tenant, _| found.contains(tenant));
            let removed = known.tenants.len() < before;
            for tenant in found {
                known.tenants.entry(tenant).or_default();
            }
            if known.epoch != epoch {
                epoch.clone_into(&mut known.epoch);
            }
            removed
        });
    }

    /// Compiles one tenant and shows it to the streams at once. Fails only when Postgres cannot be reached.
    async fn publish(&mut self, tenant: TenantId, revision: i64) -> Result<(), sqlx::Error> {
        match compile(self.app, tenant).await {
            Ok(Some(policy)) => {
                self.failed.remove(&tenant);
                let policy = Some(Arc::new(policy));
                self.app.policy_changes.known.send_modify(|known| drop(known.tenants.insert(tenant, policy)));
            }
            // Gone since the look began; the next look says so.
            Ok(None) => {}
            Err(CompileError::Database(error) | CompileError::Keys(KeyError::Storage(error)))
                if is_unreachable(&error) =>
            {
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
const fn is_unreachable(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed)
}
