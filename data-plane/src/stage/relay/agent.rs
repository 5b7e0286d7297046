//! The agent's end of a stream: events are written to a short channel, so that a slow agent slows the server.
//!
//! Invariant: only the bytes of messages are counted, those of comments and ids are not.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::sync::mpsc;
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
    heard_bytes: u64,
}

impl Agent {
    /// The agent and the body that it reads.
    pub(super) fn new() -> (Self, AnswerBody) {
        let (out, arriving) = mpsc::channel(EVENTS_QUEUED);
        let frames = ReceiverStream::new(arriving).map(|bytes| Ok::<_, Infallible>(Frame::data(bytes)));
        (Self { out, heard_bytes: 0 }, StreamBody::new(frames).boxed_unsync())
    }

    /// Waits for room; an agent that went away is noticed by [`Agent::gone`].
    pub(super) async fn hear(&mut self, event: sse::Event) {
        self.heard_bytes += event.data.as_ref().map_or(0, |data| data.len() as u64);
        let _ = self.out.send(event.encode()).await;
    }

    /// The same for the last thing that a stream says: an agent that reads nothing does not hold it open.
    pub(super) async fn hear_last(&mut self, event: sse::Event) {
        let _late = tokio::time::timeout(LAST_WORD_TIMEOUT, self.out.send(event.encode())).await;
    }

    /// Something to keep the connection open.
    pub(super) async fn keep_alive(&mut self) {
        let _ = self.out.send(KEEP_ALIVE).await;
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
