//! The data planes whose policy stream is open at this process: how far each has applied revocations and how fast, and
//! what each answers when it is asked.
//!
//! Invariant: a data plane is counted once, by its newest stream, and not a moment longer than that stream lives.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::join_all;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tollgate_proto::{
    DataPlaneId, TenantId,
    policy::v1::{Reply, question::What},
};
use uuid::Uuid;

use super::{
    enforcement::{Commits, Committed, RevocationTimes, Times, Unconfirmed},
    inquiries::{Asker, Silence},
};
use crate::revocations::Enforced;

/// Data planes whose times are kept though they are not connected.
const REMEMBERED_MAX: usize = 4_096;

/// Everyone who is connected.
#[derive(Debug, Clone, Default)]
pub struct Connected {
    progress: Arc<watch::Sender<BTreeMap<DataPlaneId, Progress>>>,
    enforcement: Arc<Mutex<Enforcement>>,
}

/// What is known of how fast revocations are enforced.
#[derive(Debug, Default)]
struct Enforcement {
    commits: Commits,
    overall: Times,
    /// Of those who are connected and of some who were.
    times: HashMap<DataPlaneId, Times>,
}

#[derive(Debug)]
struct Progress {
    stream: Uuid,
    listens_since: Instant,
    applied: HashMap<TenantId, u64>,
    asker: Asker,
}

impl Connected {
    /// Counts a data plane until what is answered is dropped. `asker` brings it questions.
    pub(super) fn enter(&self, data_plane: DataPlaneId, asker: Asker) -> Connection {
        let stream = Uuid::now_v7();
        let progress = Progress { stream, listens_since: Instant::now(), applied: HashMap::new(), asker };
        self.progress.send_modify(|all| drop(all.insert(data_plane, progress)));
        let all = self.progress.borrow();
        self.enforcement().remember(data_plane, &all);
        drop(all);
        Connection { all: self.clone(), data_plane, stream }
    }

    /// Waits until all have applied the tenant's revocations up to `revision`, at most for `within`; answers how far
    /// they are by then. Who connects meanwhile is waited for too.
    pub(crate) async fn enforced(&self, tenant: TenantId, revision: u64, within: Duration) -> Enforced {
        let applied = |progress: &Progress| progress.applied.get(&tenant).is_some_and(|applied| *applied >= revision);
        let mut all = self.progress.subscribe();
        // The sender is ours; how far it came is read below, in time or not.
        let _ = timeout(within, all.wait_for(|all| all.values().all(applied))).await;
        let all = all.borrow();
        Enforced { applied: all.values().filter(|progress| applied(progress)).count(), connected: all.len() }
    }

    /// Whether nobody is connected.
    pub(crate) fn is_empty(&self) -> bool {
        self.progress.borrow().is_empty()
    }

    /// Asks one of them, and the next where one is busy or goes away.
    ///
    /// # Errors
    /// What the last one that was asked did; [`Silence::Gone`] when nobody is connected.
    pub(crate) async fn ask_one(&self, tenant: TenantId, what: &What) -> Result<Reply, Silence> {
        let askers: Vec<_> = self.progress.borrow().values().map(|progress| progress.asker.clone()).collect();
        let mut said = Err(Silence::Gone);
        for asker in askers {
            said = asker.ask(tenant, what.clone()).await;
            if !matches!(said, Err(Silence::Busy | Silence::Gone)) {
                break;
            }
        }
        said
    }

    /// Asks all of them at once; each has the same short time.
    pub(crate) async fn ask(&self, tenant: TenantId, what: &What) -> Vec<(DataPlaneId, Result<Reply, Silence>)> {
        let askers: Vec<_> =
            self.progress.borrow().iter().map(|(id, progress)| (*id, progress.asker.clone())).collect();
        let asked = askers.into_iter().map(|(id, asker)| async move { (id, asker.ask(tenant, what.clone()).await) });
        join_all(asked).await
    }

    /// Notes revocations before anybody is told of them.
    pub(super) fn committed(&self, tenant: TenantId, commits: impl IntoIterator<Item = (u64, Committed)>) {
        self.enforcement().commits.add(tenant, commits);
    }

    /// Forgets when the revocations of some tenants were made.
    pub(super) fn retain_committed(&self, keep: impl Fn(TenantId) -> bool) {
        self.enforcement().commits.retain(keep);
    }

    /// Whether its stream is open here.
    #[must_use]
    pub fn has(&self, data_plane: DataPlaneId) -> bool {
        self.progress.borrow().contains_key(&data_plane)
    }

    /// How fast a data plane enforces revocations; `None` while it is not connected.
    #[must_use]
    pub fn revocation_times_of(&self, data_plane: DataPlaneId) -> Option<RevocationTimes> {
        let (all, now) = (self.progress.borrow(), Instant::now());
        Some(self.enforcement().figures(data_plane, all.get(&data_plane)?, now))
    }

    /// How fast each that is connected enforces revocations.
    #[must_use]
    pub fn revocation_times_of_each(&self) -> Vec<(DataPlaneId, RevocationTimes)> {
        let (all, enforcement, now) = (self.progress.borrow(), self.enforcement(), Instant::now());
        all.iter().map(|(id, progress)| (*id, enforcement.figures(*id, progress, now))).collect()
    }

    /// How fast revocations are enforced, by all who were connected.
    #[must_use]
    pub fn revocation_times(&self) -> RevocationTimes {
        let (all, enforcement, now) = (self.progress.borrow(), self.enforcement(), Instant::now());
        let of_each = all.values().map(|progress| enforcement.unconfirmed(progress));
        let unconfirmed = of_each.fold(Unconfirmed::default(), |all, one| Unconfirmed {
            count: all.count + one.count,
            since: [all.since, one.since].into_iter().flatten().min(),
        });
        enforcement.overall.figures(unconfirmed, now)
    }

    /// A mere record, whole after any panic. Taken after `progress`, where both are.
    fn enforcement(&self) -> MutexGuard<'_, Enforcement> {
        self.enforcement.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Enforcement {
    /// Begins to keep times of one who is connected now.
    fn remember(&mut self, data_plane: DataPlaneId, connected: &BTreeMap<DataPlaneId, Progress>) {
        if self.times.len() >= REMEMBERED_MAX {
            self.times.retain(|id, _| connected.contains_key(id));
        }
        self.times.entry(data_plane).or_default();
    }

    /// Notes that a data plane enforces what came after `from`, up to `to`; answers the time that each took, by kind.
    fn confirm(
        &mut self,
        data_plane: DataPlaneId,
        tenant: TenantId,
        (from, to): (u64, u64),
    ) -> Vec<(&'static str, Duration)> {
        let now = Instant::now();
        let took = |commit: Committed| (commit.kind, now.saturating_duration_since(commit.at));
        let confirmed: Vec<_> = self.commits.between(tenant, from, to).map(took).collect();
        let times = self.times.entry(data_plane).or_default();
        for (_, took) in &confirmed {
            times.add(*took);
            self.overall.add(*took);
        }
        confirmed
    }

    fn figures(&self, data_plane: DataPlaneId, progress: &Progress, now: Instant) -> RevocationTimes {
        let unconfirmed = self.unconfirmed(progress);
        self.times.get(&data_plane).map(|times| times.figures(unconfirmed, now)).unwrap_or_default()
    }

    fn unconfirmed(&self, progress: &Progress) -> Unconfirmed {
        self.commits.unconfirmed(&progress.applied, progress.listens_since)
    }
}

/// One stream's part in [`Connected`].
#[derive(Debug)]
pub(super) struct Connection {
    all: Connected,
    data_plane: DataPlaneId,
    stream: Uuid,
}

impl Connection {
    /// Notes what the data plane says that it has applied; answers how long each revocation took that is in force there
    /// by that, with its kind.
    pub(super) fn apply(&self, tenant: TenantId, revision: u64) -> Vec<(&'static str, Duration)> {
        let mut before = None;
        self.all.progress.send_if_modified(|all| {
            let mine = all.get_mut(&self.data_plane).filter(|progress| progress.stream == self.stream);
            before = mine.and_then(|progress| progress.applied.insert(tenant, revision));
            before != Some(revision)
        });
        let confirm = |before| self.all.enforcement().confirm(self.data_plane, tenant, (before, revision));
        before.map(confirm).unwrap_or_default()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.all.progress.send_if_modified(|all| {
            let mine = all.get(&self.data_plane).is_some_and(|progress| progress.stream == self.stream);
            mine && all.remove(&self.data_plane).is_some()
        });
    }
}
