//! What a waiting call's stream yields, as the data plane that holds it hands it on.
//!
//! Invariant: what the holder heard is read in its order and once; a holder that is gone is noticed within seconds.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    gateway::Gateway,
    mcp::sse,
    store::{Mail, MailboxId, Owner, StoreError},
    upstream::answer::AnswerFault,
};

use super::ticket::ANSWER_WITHIN_S;

/// How often a reader to whom nothing comes asks whether the holder lives.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// From the holder to whoever goes on with the call.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FromHolder {
    /// An event of the server.
    Said {
        /// Its message.
        data: String,
        /// Its id.
        id: Option<Box<str>>,
    },
    /// The stream failed.
    Failed(String),
}

/// From whoever goes on with the call to the holder.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToHolder {
    /// The agent answered: somebody reads.
    Resumed,
    /// The agent was asked more: nobody reads until it answers.
    Parked,
    /// The agent wants no answer any more.
    Cancelled,
}

/// The reader's end of a waiting call.
#[derive(Debug)]
pub struct Parcel {
    pub(super) gateway: Arc<Gateway>,
    pub(super) owner: Owner,
    /// The call's mailbox.
    pub(super) waiting: MailboxId,
    /// The holder's mailbox.
    pub(super) holder: MailboxId,
    /// How far the call's mailbox was read.
    pub(super) read_to: u64,
    pub(super) round: u32,
    pub(super) arrived: VecDeque<Mail>,
}

impl Parcel {
    /// The next event; `None` when the holder is gone. Nothing is lost when this is dropped half way.
    ///
    /// # Errors
    /// When the stream failed, or the store is away.
    pub async fn next(&mut self) -> Result<Option<sse::Event>, AnswerFault> {
        loop {
            if let Some(mail) = self.arrived.pop_front() {
                self.read_to = mail.position;
                return match read(&mail.message)? {
                    FromHolder::Said { data, id } => {
                        Ok(Some(sse::Event { id, data: Some(Bytes::from(data)), ..sse::Event::default() }))
                    }
                    FromHolder::Failed(what) => Err(AnswerFault::Invalid(what)),
                };
            }
            if self.look(LOOK_EVERY).await.map_err(|error| away(&error))? {
                continue;
            }
            // What it sent last may have come in between.
            let held = self.gateway.store.is_held(self.owner, self.waiting).await.map_err(|error| away(&error))?;
            if !held && !self.look(Duration::ZERO).await.map_err(|error| away(&error))? {
                return Ok(None);
            }
        }
    }

    /// Whether anything has arrived, within this time.
    pub(super) async fn look(&mut self, wait: Duration) -> Result<bool, StoreError> {
        if self.arrived.is_empty() {
            let store = &self.gateway.store;
            self.arrived.extend(store.receive_mail(self.owner, self.waiting, self.read_to, wait).await?);
        }
        Ok(!self.arrived.is_empty())
    }

    /// Tells the holder something.
    pub(super) async fn tell(&self, what: &ToHolder) -> Result<(), StoreError> {
        self.gateway.store.send_mail(self.owner, self.holder, write(what), ANSWER_WITHIN_S).await
    }

    /// Everything was read.
    pub(crate) async fn discard(&self) {
        if let Err(error) = self.gateway.store.discard_mail(self.owner, self.waiting).await {
            tracing::debug!(%error, "the mailbox of a call that has ended stays until it expires");
        }
    }

    /// Tells the holder that nobody waits any more, off the caller's clock.
    pub(crate) fn cancel(&self) {
        let (gateway, owner, holder) = (Arc::clone(&self.gateway), self.owner, self.holder);
        tokio::spawn(async move {
            let sent = gateway.store.send_mail(owner, holder, write(&ToHolder::Cancelled), ANSWER_WITHIN_S).await;
            if let Err(error) = sent {
                tracing::debug!(%error, "a holder was not told that its call was cancelled");
            }
        });
    }
}

/// As it is sent.
pub(super) fn write(message: &impl Serialize) -> Bytes {
    serde_json::to_vec(message).expect("a message has nothing that JSON cannot hold").into()
}

/// What was sent.
pub(super) fn read<'a, T: Deserialize<'a>>(message: &'a Bytes) -> Result<T, AnswerFault> {
    serde_json::from_slice(message).map_err(|_| AnswerFault::Invalid("mail of another version".to_owned()))
}

fn away(error: &StoreError) -> AnswerFault {
    tracing::warn!(%error, "a waiting call cannot be read");
    AnswerFault::Lost
}
