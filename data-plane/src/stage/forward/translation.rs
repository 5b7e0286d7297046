//! What a server says, as the agent is to hear it: one [`Translation`] for each call, chosen by the eras of both.
//!
//! The loop in `relay/stream.rs` hears the server, hands every message to the translation and does what its [`Step`]
//! says; a translation does no I/O. A bridge between eras is a variant here, and what it needs beyond these steps a
//! variant of [`Step`] with an arm in that loop.
//!
//! Invariant: no message of one era goes to a side that speaks the other.

use super::exchange::{FromServer, declined};
use crate::mcp::{
    json::Raw,
    message::{Request, RequestId, Response},
    method::Method,
    sse,
    version::Era,
};

/// How what a server says becomes what the agent hears.
#[derive(Debug)]
pub enum Translation {
    /// Both are of the same era.
    Same(Same),
}

/// What is done about something that the server said.
#[derive(Debug)]
pub enum Step {
    /// The agent gets this event.
    Pass(sse::Event),
    /// It goes no further.
    Drop,
    /// The server asked something, which is answered here.
    Reply(RequestId, Result<Raw, Raw>),
    /// The agent's request is answered, which ends the call; with the id of the event that carried the answer.
    End(Response, Option<Box<str>>),
}

/// What it means for the request at the server that the agent went away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parting {
    /// Its answer is not read on: a modern server takes that for a cancellation, and a legacy client resumes elsewhere.
    HangUp,
    /// Its answer is read to the end, for the record: to a legacy server nobody cancelled anything.
    ReadOn,
}

/// Both are of the same era: messages pass as they are.
#[derive(Debug, Clone, Copy)]
pub struct Same {
    /// Which one.
    pub era: Era,
    /// Whether the endpoint stands for several servers: then events have no ids, since nobody could tell whose they
    /// are, and servers cannot ask the agent anything.
    pub federated: bool,
    /// Whether no request is answered: the messages are those of a stream of its own.
    pub is_stream: bool,
}

impl Translation {
    /// What is done about this.
    pub fn heard(&mut self, said: FromServer) -> Step {
        match self {
            Self::Same(same) => same.heard(said),
        }
    }

    /// What is done about the request when the agent went away. `resumable`: the server gave ids to resume from.
    pub fn parting(&self, resumable: bool) -> Parting {
        match self {
            Self::Same(Same { era: Era::Legacy, is_stream: false, .. }) if !resumable => Parting::ReadOn,
            Self::Same(_) => Parting::HangUp,
        }
    }

    /// Whether a stream that ends without an answer is whole all the same: the agent resumes it.
    pub fn may_end_early(&self, resumable: bool) -> bool {
        match self {
            Self::Same(Same { is_stream: true, .. }) => true,
            Self::Same(Same { era, federated, .. }) => resumable && *era == Era::Legacy && !federated,
        }
    }
}

impl Same {
    fn heard(self, said: FromServer) -> Step {
        match said {
            FromServer::Priming(_) if self.federated => Step::Drop,
            FromServer::Priming(event) => Step::Pass(event),
            FromServer::Notification(_, event) => Step::Pass(self.event(event)),
            FromServer::Asked(asked, event) => self.asked(&asked, event),
            FromServer::Answer(_, event) if self.is_stream => Step::Pass(self.event(event)),
            FromServer::Answer(response, event) => Step::End(response, self.event(event).id),
        }
    }

    /// Pings are Tollgate's own to answer: an agent that is alive has its connection open.
    fn asked(self, asked: &Request, event: sse::Event) -> Step {
        let is_ping = asked.method.as_ref() == Method::Ping.as_str();
        match self.era {
            Era::Modern => {
                tracing::warn!(method = %asked.method, "a request on a modern stream was dropped: MCP has none");
                Step::Drop
            }
            Era::Legacy if is_ping || self.federated => Step::Reply(asked.id.clone(), declined(asked)),
            Era::Legacy => Step::Pass(event),
        }
    }

    fn event(self, event: sse::Event) -> sse::Event {
        if self.federated { sse::Event { id: None, retry: None, ..event } } else { event }
    }
}
