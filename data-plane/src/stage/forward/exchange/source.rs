//! Where the messages of an exchange come from: whatever carries them, they are events.
//!
//! Invariant: nothing is lost when waiting for the next event is given up half way.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    mcp::{message::Response, sse},
    stage::forward::{
        bridged::parcel::Parcel,
        sessionless::{Listening, Rounds},
    },
    upstream::answer::{AnswerFault, Events},
};

/// Where messages come from.
#[derive(Debug)]
pub(super) enum Source {
    /// One message, which has arrived whole.
    Whole(Response, Bytes),
    /// An event stream, still arriving.
    Events(Box<Events>),
    /// An event stream that some data plane holds, and hands on.
    Parcel(Box<Parcel>),
    /// What a listener of this data plane makes out.
    Heard(mpsc::Receiver<Bytes>),
    /// The answer of a modern server to a legacy agent, however often it asks something first.
    Rounds(Box<Rounds>),
    /// What a modern server has to say in a legacy agent's session.
    Listening(Box<Listening>),
    /// An event stream that is gone on with, as soon as the server wants to be asked again.
    Resuming(AbortOnDropHandle<Result<Events, AnswerFault>>),
    /// Nothing more comes.
    Ended,
}

impl Source {
    /// An event stream that is asked for after a pause.
    pub(super) fn begin_after(
        pause: Duration,
        begin: impl Future<Output = Result<Events, AnswerFault>> + Send + 'static,
    ) -> Self {
        Self::Resuming(AbortOnDropHandle::new(tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            begin.await
        })))
    }

    /// The one message that has arrived whole, once.
    pub(super) fn take_whole(&mut self) -> Option<(Response, Bytes)> {
        match std::mem::replace(self, Self::Ended) {
            Self::Whole(response, data) => Some((response, data)),
            other => {
                *self = other;
                None
            }
        }
    }

    /// Has an event stream wait for its server as long as `patience` says.
    pub(super) fn waits(&mut self, patience: fn(Events) -> Events) {
        *self = match std::mem::replace(self, Self::Ended) {
            Self::Events(events) => Self::Events(Box::new(patience(*events))),
            other => other,
        };
    }

    /// The next event; `None` when none comes.
    ///
    /// # Errors
    /// When the stream breaks or goes silent, or does not go on.
    pub(super) async fn next(&mut self) -> Result<Option<sse::Event>, AnswerFault> {
        self.resumed().await?;
        match self {
            Self::Events(events) => events.next().await,
            Self::Parcel(parcel) => parcel.next().await,
            Self::Rounds(rounds) => rounds.next().await,
            Self::Listening(listening) => Ok(Some(listening.next().await)),
            Self::Heard(heard) => {
                let message =
                    |data| sse::Event { event: Some("message".into()), data: Some(data), ..sse::Event::default() };
                Ok(heard.recv().await.map(message))
            }
            Self::Whole(..) | Self::Resuming(_) | Self::Ended => Ok(None),
        }
    }

    /// Waits until a stream that is gone on with has begun.
    async fn resumed(&mut self) -> Result<(), AnswerFault> {
        let Self::Resuming(beginning) = self else { return Ok(()) };
        let begun = beginning.await.unwrap_or_else(|_| Err(AnswerFault::ended_early()));
        // Whatever came of it comes once.
        *self = Self::Ended;
        *self = Self::Events(Box::new(begun?.patient()));
        Ok(())
    }
}
