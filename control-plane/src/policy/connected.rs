//! The data planes whose policy stream is open at this process: how far each has applied revocations, and what each
//! answers when it is asked.
//!
//! Invariant: a data plane is counted once, by its newest stream, and not a moment longer than that stream lives.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use tokio::{sync::watch, time::timeout};
use tollgate_proto::{
    DataPlaneId, TenantId,
    policy::v1::{Reply, question::What},
};
use uuid::Uuid;

use super::inquiries::{Asker, Silence};
use crate::revocations::Enforced;

/// Everyone who is connected.
#[derive(Debug, Clone, Default)]
pub struct Connected(Arc<watch::Sender<BTreeMap<DataPlaneId, Progress>>>);

#[derive(Debug)]
struct Progress {
    stream: Uuid,
    applied: HashMap<TenantId, u64>,
    asker: Asker,
}

impl Connected {
    /// Counts a data plane until what is answered is dropped. `asker` brings it questions.
    pub(super) fn enter(&self, data_plane: DataPlaneId, asker: Asker) -> Connection {
        let stream = Uuid::now_v7();
        self.0.send_modify(|all| drop(all.insert(data_plane, Progress { stream, applied: HashMap::new(), asker })));
        Connection { all: self.clone(), data_plane, stream }
    }

    /// Waits until all have applied the tenant's revocations up to `revision`, at most for `within`; answers how far
    /// they are by then. Who connects meanwhile is waited for too.
    pub(crate) async fn enforced(&self, tenant: TenantId, revision: u64, within: Duration) -> Enforced {
        let applied = |progress: &Progress| progress.applied.get(&tenant).is_some_and(|applied| *applied >= revision);
        let mut all = self.0.subscribe();
        // The sender is ours; how far it came is read below, in time or not.
        let _ = timeout(within, all.wait_for(|all| all.values().all(applied))).await;
        let all = all.borrow();
        Enforced { applied: all.values().filter(|progress| applied(progress)).count(), connected: all.len() }
    }

    /// Asks all of them at once; each has the same short time.
    pub(crate) async fn ask(&self, tenant: TenantId, what: &What) -> Vec<(DataPlaneId, Result<Reply, Silence>)> {
        let askers: Vec<_> = self.0.borrow().iter().map(|(id, progress)| (*id, progress.asker.clone())).collect();
        let asked = askers.into_iter().map(|(id, asker)| async move { (id, asker.ask(tenant, what.clone()).await) });
        join_all(asked).await
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
    /// Notes what the data plane says that it has applied.
    pub(super) fn apply(&self, tenant: TenantId, revision: u64) {
        self.all.0.send_if_modified(|all| {
            let mine = all.get_mut(&self.data_plane).filter(|progress| progress.stream == self.stream);
            mine.is_some_and(|progress| progress.applied.insert(tenant, revision) != Some(revision))
        });
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.all.0.send_if_modified(|all| {
            let mine = all.get(&self.data_plane).is_some_and(|progress| progress.stream == self.stream);
            mine && all.remove(&self.data_plane).is_some()
        });
    }
}
