//! When servers are asked what they offer: as soon as one is registered or changed, every ten minutes, and when somebody
//! wants to see it. A data plane asks, since only data planes speak to servers.
//!
//! Invariant: a server that is due is claimed by one statement, so that of many control planes one has it read; one that
//! has no data plane claims nothing. A server that is slow waits among its like: others are read meanwhile.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::Semaphore,
    task::{JoinError, JoinSet},
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;
use tollgate_proto::{
    ServerId, TenantId,
    policy::v1::{ReadCatalog, question::What},
};

use super::sql;
use crate::{
    app::App,
    caller::{Caller, Role},
    error::ApiError,
    invisible,
    policy::Silence,
    resource,
    servers::Server,
};

/// How often all tenants are looked at; one whose policy changes is looked at at once.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Servers of one tenant that are claimed at a time: more of them wait until those were read, behind other tenants'.
const CLAIMED_MAX: usize = 32;
/// Servers that are read at a time, and as many that are slow: together fewer than a data plane answers questions at a time.
const READ_AT_ONCE: usize = 3;
/// Who takes longer is slow.
const PROMPT: Duration = Duration::from_secs(2);
/// Characters of a reason that a data plane gives.
const DETAIL_CHARS_MAX: usize = 300;

/// Why a server was not read.
#[derive(Debug, thiserror::Error)]
enum Unread {
    /// By the data plane that was asked.
    #[error(transparent)]
    Unheard(#[from] Silence),
    /// It was, but is in no catalog yet.
    #[error("what was read could not be written down; that is tried again every second")]
    Unwritten,
}

/// Has servers read that are due, until `stopping`.
pub async fn follow(app: Arc<App>, stopping: CancellationToken) {
    let counting = count_repeatedly(&app);
    let reading = read_repeatedly(&app);
    tokio::select! {
        () = stopping.cancelled() => {}
        () = counting => {}
        () = reading => {}
    }
}

async fn read_repeatedly(app: &Arc<App>) {
    let (mut known, mut readings) = (app.policy_changes.subscribe(), Readings::new(Arc::clone(app)));
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen: HashMap<TenantId, u64> = HashMap::new();
    loop {
        tokio::select! {
            _ = look.tick() => seen.clear(),
            // The sender lives in `app`, so that waiting cannot fail.
            _ = known.changed() => {}
            tenant = readings.next() => {
                readings.claim(tenant).await;
                continue;
            }
        }
        let newest: HashMap<_, _> =
            known.borrow_and_update().policies().map(|(tenant, policy)| (tenant, policy.revision)).collect();
        if app.policy_changes.connected().is_empty() {
            continue;
        }
        for (tenant, revision) in &newest {
            if seen.get(tenant) != Some(revision) {
                readings.claim(*tenant).await;
            }
        }
        seen = newest;
    }
}

/// Has a server's lists read now; answers the server as it is known then.
///
/// # Errors
/// [`ApiError::DataPlanesSilent`] when no data plane can be asked, the one that was could not read them, or what it read could
/// not be written;
/// [`ApiError::NotFound`], [`ApiError::Forbidden`]; or when Postgres is away.
pub async fn read_now(app: &App, caller: &Caller, name: &str) -> Result<Server, ApiError> {
    caller.require(Role::Operator)?;
    let server: Server = resource::get(app, caller, name).await?;
    read(app, caller.tenant, server.id).await.map_err(|unread| ApiError::DataPlanesSilent(said(&unread)))?;
    resource::get(app, caller, name).await
}

/// The servers that are being read, and those that wait for that.
pub(super) struct Readings {
    app: Arc<App>,
    lanes: Arc<Lanes>,
    under_way: JoinSet<Reading>,
    /// Of each tenant, those whose turn has not come or that are read.
    claimed: HashMap<TenantId, HashSet<ServerId>>,
    /// Which did not answer in time when they were last read.
    slow: HashSet<ServerId>,
}

struct Lanes {
    prompt: Semaphore,
    slow: Semaphore,
}

/// One that has ended.
struct Reading {
    tenant: TenantId,
    server: ServerId,
    read: Result<(), Unread>,
    was_slow: bool,
}

impl Readings {
    pub(super) fn new(app: Arc<App>) -> Self {
        let lanes = Lanes { prompt: Semaphore::new(READ_AT_ONCE), slow: Semaphore::new(READ_AT_ONCE) };
        Self { app, lanes: Arc::new(lanes), under_way: JoinSet::new(), claimed: HashMap::new(), slow: HashSet::new() }
    }

    /// Claims servers of a tenant that are due, as far as there is room.
    pub(super) async fn claim(&mut self, tenant: TenantId) {
        if self.app.policy_changes.connected().is_empty() {
            return;
        }
        let prompt = |claimed: &HashSet<ServerId>| claimed.difference(&self.slow).count();
        let room = CLAIMED_MAX.saturating_sub(self.claimed.get(&tenant).map_or(0, prompt));
        let due = match claim_due(&self.app, tenant, room).await {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(%tenant, %error, "cannot have servers read that are due; the next round tries again");
                return;
            }
        };
        for server in due {
            if self.claimed.entry(tenant).or_default().insert(server) {
                let (app, lanes, is_slow) =
                    (Arc::clone(&self.app), Arc::clone(&self.lanes), self.slow.contains(&server));
                self.under_way.spawn(async move { lanes.read(&app, tenant, server, is_slow).await });
            }
        }
    }

    /// Waits until a reading ends; answers whose there is room for now. Never ready while there is none; cancel safe.
    async fn next(&mut self) -> TenantId {
        match self.under_way.join_next().await {
            Some(ended) => self.end(ended).await.0,
            None => std::future::pending().await,
        }
    }

    /// Notes what has ended: the tenant and the server.
    async fn end(&mut self, ended: Result<Reading, JoinError>) -> (TenantId, ServerId) {
        // None is cancelled, so that it panicked.
        let ended = ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        let Reading { tenant, server, read, was_slow } = ended;
        if let Some(claimed) = self.claimed.get_mut(&tenant) {
            claimed.remove(&server);
        }
        self.claimed.retain(|_, claimed| !claimed.is_empty());
        if was_slow {
            self.slow.insert(server);
        } else {
            self.slow.remove(&server);
        }
        if read.is_err()
            && let Err(error) = read_soon(&self.app, tenant, server).await
        {
            tracing::debug!(%tenant, %server, %error, "a server that could not be read is not tried again soon");
        }
        (tenant, server)
    }

    /// Which server's reading ends next.
    #[cfg(test)]
    pub(super) async fn ended(&mut self) -> Option<ServerId> {
        let ended = self.under_way.join_next().await?;
        Some(self.end(ended).await.1)
    }
}

impl Lanes {
    /// One that turns out to be slow makes room for another as soon as it finds room among the slow ones.
    async fn read(&self, app: &App, tenant: TenantId, server: ServerId, is_slow: bool) -> Reading {
        let lane = if is_slow { &self.slow } else { &self.prompt };
        let place = lane.acquire().await.expect("it is never closed");
        let mut reading = std::pin::pin!(read(app, tenant, server));
        let done = |read, was_slow| Reading { tenant, server, read, was_slow };
        tokio::select! {
            read = &mut reading => return done(read, false),
            () = sleep(PROMPT) => {}
        }
        if is_slow {
            return done(reading.await, true);
        }
        let among_slow = tokio::select! {
            read = &mut reading => return done(read, true),
            among_slow = self.slow.acquire() => among_slow,
        };
        drop(place);
        let read = reading.await;
        drop(among_slow);
        done(read, true)
    }
}

async fn claim_due(app: &App, tenant: TenantId, at_most: usize) -> Result<Vec<ServerId>, sqlx::Error> {
    if at_most == 0 {
        return Ok(Vec::new());
    }
    let mut tx = app.db.tenant(tenant).await?;
    let due = sql::claim_due(&mut tx, i64::try_from(at_most).unwrap_or(i64::MAX)).await?;
    tx.commit().await?;
    Ok(due)
}

async fn read_soon(app: &App, tenant: TenantId, server: ServerId) -> Result<(), sqlx::Error> {
    let mut tx = app.db.tenant(tenant).await?;
    sql::read_soon(&mut tx, &[server.uuid()]).await?;
    tx.commit().await
}

/// By one data plane. What it read has been taken in when this ends well.
async fn read(app: &App, tenant: TenantId, server: ServerId) -> Result<(), Unread> {
    let what = What::ReadCatalog(ReadCatalog { server_id: server.to_string() });
    let answer = app.policy_changes.connected().ask_one(tenant, &what).await;
    // Lists that could be read are reported beside the reason why others could not.
    let is_written = !matches!(answer, Ok(_) | Err(Silence::Failed(_))) || app.catalog_reports.settled(server).await;
    let read = match answer {
        Ok(_) if !is_written => Err(Unread::Unwritten),
        answer => answer.map(drop).map_err(Unread::from),
    };
    app.metrics.catalog_read(read.is_ok());
    read
}

/// How much waits for somebody, of all tenants.
async fn count_repeatedly(app: &App) {
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        let tenants: Vec<_> = app.policy_changes.subscribe().borrow().policies().map(|(tenant, _)| tenant).collect();
        if let Ok(waiting) = count(app, tenants).await {
            app.metrics.catalog_waiting(waiting);
        }
    }
}

async fn count(app: &App, tenants: Vec<TenantId>) -> Result<i64, sqlx::Error> {
    let mut waiting = 0;
    for tenant in tenants {
        waiting += sql::count_waiting(&mut app.db.tenant(tenant).await?).await?;
    }
    Ok(waiting)
}

fn said(unread: &Unread) -> String {
    match unread {
        Unread::Unwritten => unread.to_string(),
        Unread::Unheard(Silence::Gone) => {
            "no data plane that is connected to this control plane could be asked; those that are connected \
                          to others ask by themselves, every ten minutes"
                .to_owned()
        }
        Unread::Unheard(other) => {
            let detail = invisible::visible(&other.to_string(), DETAIL_CHARS_MAX);
            format!("the data plane that was asked could not read what the server offers: {detail}")
        }
    }
}
