//! Questions to data planes about sessions, limits and servers, on their way over one policy stream.
//!
//! Invariant: a question goes out when the stream has nothing else to say, and everything about it is bounded: how many
//! wait, how many are unanswered, and how long whoever asks waits.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    time::timeout,
};
use tollgate_proto::{
    TenantId,
    policy::v1::{Question, Reply, question::What},
};

#[cfg(test)]
mod tests;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// The same where the data plane has to ask a server first, for everything that it offers.
const PATIENCE_WITH_SERVERS: Duration = Duration::from_secs(15);
/// Questions that wait for their turn.
const WAITING_MAX: usize = 16;
/// Questions that wait for their answer; a data plane leaves some without one.
const UNANSWERED_MAX: usize = 64;

/// Why a data plane gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Silence {
    /// Others ask too much.
    #[error("it has too many other questions to answer")]
    Busy,
    /// It took too long.
    #[error("it did not answer in time")]
    Late,
    /// Its stream ended meanwhile.
    #[error("it went away")]
    Gone,
    /// It could not find out.
    #[error("{0}")]
    Failed(String),
}

/// Where questions for one data plane are left.
#[derive(Debug, Clone)]
pub(super) struct Asker(mpsc::Sender<Asked>);

#[derive(Debug)]
struct Asked {
    tenant: TenantId,
    what: What,
    reply: oneshot::Sender<Reply>,
}

/// The questions of one stream.
#[derive(Debug)]
pub(super) struct Inquiries {
    left: mpsc::Receiver<Asked>,
    waiting: VecDeque<Asked>,
    unanswered: HashMap<u64, oneshot::Sender<Reply>>,
    last_id: u64,
}

impl Asker {
    /// Asks, and waits for the answer.
    pub(super) async fn ask(&self, tenant: TenantId, what: What) -> Result<Reply, Silence> {
        let (reply, answer) = oneshot::channel();
        let patience = if matches!(what, What::ReadCatalog(_)) { PATIENCE_WITH_SERVERS } else { PATIENCE };
        self.0.try_send(Asked { tenant, what, reply }).map_err(|error| match error {
            TrySendError::Full(_) => Silence::Busy,
            TrySendError::Closed(_) => Silence::Gone,
        })?;
        let reply = timeout(patience, answer).await.map_err(|_| Silence::Late)?.map_err(|_| Silence::Gone)?;
        if reply.failure.is_empty() { Ok(reply) } else { Err(Silence::Failed(reply.failure)) }
    }
}

impl Inquiries {
    /// Of a new stream.
    pub(super) fn new() -> (Asker, Self) {
        let (asker, left) = mpsc::channel(WAITING_MAX);
        let (waiting, unanswered) = (VecDeque::new(), HashMap::new());
        (Asker(asker), Self { left, waiting, unanswered, last_id: 0 })
    }

    /// Waits for a question. Cancel safe; never ready once nobody can ask any more, or when enough wait for their turn.
    pub(super) async fn arrive(&mut self) {
        if self.waiting.len() < WAITING_MAX
            && let Some(asked) = self.left.recv().await
        {
            self.waiting.push_back(asked);
            return;
        }
        std::future::pending::<()>().await;
    }

    /// Whether one waits for its turn.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The next question, if somebody still waits for its answer.
    pub(super) fn next(&mut self) -> Option<Question> {
        self.unanswered.retain(|_, reply| !reply.is_closed());
        while let Some(Asked { tenant, what, reply }) = self.waiting.pop_front() {
            if reply.is_closed() || self.unanswered.len() >= UNANSWERED_MAX {
                continue;
            }
            self.last_id += 1;
            self.unanswered.insert(self.last_id, reply);
            return Some(Question { id: self.last_id, tenant_id: tenant.to_string(), what: Some(what) });
        }
        None
    }

    /// Hands an answer to whoever asked, if they still wait.
    pub(super) fn answer(&mut self, reply: Reply) {
        if let Some(asker) = self.unanswered.remove(&reply.question) {
            // Whoever asked may have given up just now.
            let _ = asker.send(reply);
        }
    }
}
