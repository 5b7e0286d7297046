//! The agent's end of a stream: events are written to a short channel, so that a slow agent slows the server, and nothing
//! else that its call has to look at.
//!
//! Invariant: only the bytes of messages are counted, those of comments and ids are not.

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};

use crate::{
    front::AnswerBody,
    mcp::sse::{self, KEEP_ALIVE},
};

const EVENTS_QUEUED: usize = 8;
/// How long an agent that reads slowly may take to the error that ends its stream.
const LAST_WORD_TIMEOUT: Duration = Duration::from_secs(1);

/// Who hears the stream.
#[derive(Debug)]
pub(super) struct Agent {
    out: mpsc::Sender<Bytes>,
    /// What the channel had no room for.
    waiting: VecDeque<Bytes>,
    heard_bytes: u64,
}

impl Agent {
    /// The agent and the body that it reads.
    pub(super) fn new() -> (Self, AnswerBody) {
        let (out, arriving) = mpsc::channel(EVENTS_QUEUED);
        let frames = ReceiverStream::new(arriving).map(|bytes| Ok::<_, Infallible>(Frame::data(bytes)));
        (Self { out, waiting: VecDeque::new(), heard_bytes: 0 }, StreamBody::new(frames).boxed_unsync())
    }

    /// Passes an event on as soon as there is room: see [`Agent::is_behind`].
    pub(super) fn pass(&mut self, event: &sse::Event) {
        self.heard_bytes += event.data.as_ref().map_or(0, |data| data.len() as u64);
        self.waiting.push_back(event.encode());
        self.pass_waiting();
    }

    /// Whether something waits for room: nothing more should be passed on before.
    pub(super) fn is_behind(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Until there is room, or nobody who reads.
    pub(super) async fn room(&self) {
        let _ = self.out.reserve().await;
    }

    /// Passes on what there is room for. Where nobody reads, nothing waits.
    pub(super) fn pass_waiting(&mut self) {
        while let Some(bytes) = self.waiting.pop_front() {
            if let Err(TrySendError::Full(bytes)) = self.out.try_send(bytes) {
                self.waiting.push_front(bytes);
                return;
            }
        }
    }

    /// Passes an event on and waits until it is; an agent that went away is noticed by [`Agent::gone`].
    pub(super) async fn hear(&mut self, event: &sse::Event) {
        self.pass(event);
        while self.is_behind() {
            self.room().await;
            self.pass_waiting();
        }
    }

    /// The same for the last thing that a stream says: an agent that reads nothing does not hold it open.
    pub(super) async fn hear_last(&mut self, event: sse::Event) {
        let heard_before = self.heard_bytes;
        let _late = tokio::time::timeout(LAST_WORD_TIMEOUT, self.hear(&event)).await;
        self.heard_bytes = heard_before;
    }

    /// Something to keep the connection open. An agent that has not read what came before needs nothing more.
    pub(super) fn keep_alive(&self) {
        let _ = self.out.try_send(KEEP_ALIVE);
    }

    /// Until the agent has gone away.
    pub(super) async fn gone(&self) {
        self.out.closed().await;
    }

    /// Bytes of the messages that it was sent.
    pub(super) const fn heard_bytes(&self) -> u64 {
        self.heard_bytes
    }
}
