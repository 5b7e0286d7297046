//! The record of all data planes whose streams are open here, written for all of them at once.
//!
//! Invariant: how many transactions are under way does not depend on how many data planes there are; while Postgres is
//! away the newest of what each said waits. Nobody is shown anything that is not written.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    error::Error,
    time::Duration,
};

use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{MissedTickBehavior, interval},
};
use tollgate_proto::{DataPlaneId, TenantId};

use super::sql;
use crate::{db::Db, policy::Connected};

/// How often an open stream renews `last_seen_at`; a data plane counts as connected for 5 s after.
const SEEN_EVERY: Duration = Duration::from_secs(2);
const HEARD_AT_ONCE: usize = 4_096;

/// What a data plane made of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It serves it.
    Acknowledged,
    /// It goes on with the one before.
    Refused {
        /// Why, in the data plane's words.
        reason: String,
    },
}

/// One answer of a data plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Whose policy.
    pub tenant: TenantId,
    /// At which revision.
    pub revision: u64,
    /// What became of it.
    pub verdict: Verdict,
}

/// What keeps being true of a data plane while its stream is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The version that it says to be.
    pub version: String,
    /// How long its policy is current without another heartbeat.
    pub lease: Duration,
}

/// Where streams enter what their data planes say.
#[derive(Debug, Clone)]
pub struct Records(UnboundedSender<(DataPlaneId, Said)>);

/// One stream's part in [`Records`].
#[derive(Debug)]
pub struct Record {
    data_plane: DataPlaneId,
    records: Records,
}

#[derive(Debug)]
enum Said {
    Opened(Seen),
    Answered(Answer),
    Closed,
}

/// A data plane and the tenant of a policy that it was sent.
type Of = (DataPlaneId, TenantId);

/// What was said and is not written yet.
#[derive(Debug, Default)]
struct Unwritten {
    seen: BTreeMap<DataPlaneId, Seen>,
    /// Revisions that are served.
    acknowledged: BTreeMap<Of, i64>,
    /// Newer revisions that were refused, and why.
    refused: BTreeMap<Of, (i64, String)>,
}

struct Recorder {
    db: Db,
    connected: Connected,
    /// Who is connected, over how many streams: an old one may end after the next has begun.
    open: BTreeMap<DataPlaneId, (Seen, usize)>,
    unwritten: Unwritten,
    is_failing: bool,
}

/// The records, and the work of keeping them, which ends when every [`Records`] and [`Record`] is gone and what they said
/// was written, or could not be.
pub fn records(db: Db, connected: Connected) -> (Records, impl Future<Output = ()>) {
    let (sender, said) = unbounded_channel();
    let (open, unwritten) = (BTreeMap::new(), Unwritten::default());
    let recorder = Recorder { db, connected, open, unwritten, is_failing: false };
    (Records(sender), recorder.keep(said))
}

impl Records {
    /// Notes that a data plane is there, until the record is dropped.
    #[must_use]
    pub fn open(&self, data_plane: DataPlaneId, seen: Seen) -> Record {
        let record = Record { data_plane, records: self.clone() };
        record.say(Said::Opened(seen));
        record
    }
}

impl Record {
    /// Notes what it made of a policy.
    pub fn answer(&self, answer: Answer) {
        self.say(Said::Answered(answer));
    }

    fn say(&self, said: Said) {
        // Nobody listens once this process has stopped keeping records.
        let _ = self.records.0.send((self.data_plane, said));
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.say(Said::Closed);
    }
}

impl Recorder {
    /// While one batch is written the next one gathers: there is at most one answer to each policy that was sent.
    async fn keep(mut self, mut said: UnboundedReceiver<(DataPlaneId, Said)>) {
        let mut again = interval(SEEN_EVERY);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut heard, mut is_open) = (Vec::new(), true);
        while is_open {
            tokio::select! {
                received = said.recv_many(&mut heard, HEARD_AT_ONCE) => is_open = received > 0,
                _ = again.tick() => {
                    let open = self.open.iter().map(|(data_plane, (seen, _))| (*data_plane, seen.clone()));
                    self.unwritten.seen.extend(open);
                }
            }
            for (data_plane, said) in heard.drain(..) {
                self.take_in(data_plane, said);
            }
            if !self.unwritten.is_empty() {
                self.write().await;
            }
        }
    }

    fn take_in(&mut self, data_plane: DataPlaneId, said: Said) {
        match said {
            Said::Opened(seen) => {
                let (now, streams) = self.open.entry(data_plane).or_insert_with(|| (seen.clone(), 0));
                now.clone_from(&seen);
                *streams += 1;
                self.unwritten.seen.insert(data_plane, seen);
            }
            Said::Closed => {
                let Entry::Occupied(mut open) = self.open.entry(data_plane) else { return };
                open.get_mut().1 -= 1;
                if open.get().1 == 0 {
                    let (seen, _) = open.remove();
                    self.unwritten.seen.insert(data_plane, seen);
                }
            }
            Said::Answered(answer) => self.unwritten.answered(data_plane, answer),
        }
    }

    async fn write(&mut self) {
        match self.unwritten.write(&self.db, &self.connected).await {
            Ok(()) => self.is_failing = false,
            Err(error) => {
                if !self.is_failing {
                    tracing::warn!(error = &error as &dyn Error, "cannot record what data planes said");
                }
                self.is_failing = true;
            }
        }
    }
}

impl Unwritten {
    fn is_empty(&self) -> bool {
        self.seen.is_empty() && self.acknowledged.is_empty() && self.refused.is_empty()
    }

    fn answered(&mut self, data_plane: DataPlaneId, answer: Answer) {
        // Revisions come from a signed column, so that a larger one is none of ours.
        let Ok(revision) = i64::try_from(answer.revision) else { return };
        let of = (data_plane, answer.tenant);
        match answer.verdict {
            Verdict::Acknowledged => {
                self.acknowledged.insert(of, revision);
                // What was refused before it is no longer what the data plane lacks.
                self.refused.remove(&of);
            }
            Verdict::Refused { reason } => {
                self.refused.insert(of, (revision, reason));
            }
        }
    }

    /// What is written is forgotten; where that fails all of it waits.
    async fn write(&mut self, db: &Db, connected: &Connected) -> Result<(), sqlx::Error> {
        let mut tx = db.platform().await?;
        let times = |data_plane| connected.revocation_times_of(data_plane);
        let seen = sql::see(&mut tx, &self.seen, times).await?;
        sql::acknowledge(&mut tx, &self.acknowledged).await?;
        for ((data_plane, tenant), (revision, reason)) in &self.refused {
            sql::refuse(&mut tx, *data_plane, *tenant, *revision, reason).await?;
        }
        tx.commit().await?;
        self.seen.retain(|data_plane, _| !seen.contains(data_plane));
        self.acknowledged.clear();
        self.refused.clear();
        Ok(())
    }
}
