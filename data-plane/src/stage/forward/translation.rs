//! What a server says, as the agent is to hear it: one [`Translation`] for each call, chosen by the eras of both.
//!
//! The loop in `relay/stream.rs` hears the server, hands every message to the translation and does what its [`Step`]
//! says; a translation does no I/O. A bridge between eras is a variant here, and what it needs beyond these steps a
//! variant of [`Step`] with an arm in that loop.
//!
//! Invariant: no message of one era goes to a side that speaks the other.

use bytes::Bytes;
use http::StatusCode;

use super::{
    bridged::{self, ToLegacy},
    exchange::{FromServer, declined},
    federated::Mapping,
};
use crate::{
    bridge::to_legacy::{listen, question::Pending},
    mcp::{
        json::Raw,
        list,
        message::{Notification, Request, RequestId, Response},
        method::Method,
        sse,
        version::Era,
    },
};

/// How what a server says becomes what the agent hears.
#[derive(Debug)]
pub enum Translation {
    /// Both are of the same era.
    Same(Same),
    /// From a legacy server to a modern agent.
    ToLegacy(Box<ToLegacy>),
    /// None is needed any more: what is heard is as the agent is to hear it.
    Done,
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
    /// The server asked something that only the agent can answer, by sending its request again: the call waits.
    Park(Pending),
    /// The agent's request is answered, which ends the call; with the id of the event that carried the answer.
    End(Response, Option<Box<str>>),
}

/// What a server was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// An answer.
    Answer,
    /// Whatever happens, until one side has enough, and then an answer: `subscriptions/listen`.
    Subscription,
    /// Whatever happens, and no answer: a GET.
    Stream,
    /// A stream of before from where it broke off, by a GET: with the answer to a call, if that is still to come.
    Resumed,
}

/// What it means for the request at the server that the agent went away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parting {
    /// Its answer is not read on: a modern server takes that for a cancellation, and a legacy client resumes elsewhere.
    HangUp,
    /// Its answer is read to the end, for the record: to a legacy server nobody cancelled anything.
    ReadOn,
    /// The server is told that nobody waits any more.
    Cancel,
}

/// The end of a stream that would go on for as long as both sides like.
#[derive(Debug)]
pub enum Farewell {
    /// The request is answered.
    Answer(Response),
    /// There is no request to answer.
    Silent,
}

/// Both are of the same era: messages pass as they are.
#[derive(Debug)]
pub struct Same {
    /// Which one.
    pub era: Era,
    /// What the server was asked for.
    pub subject: Subject,
    /// In a session with several servers: their ids. Events have none then, since nobody could tell whose they are.
    pub mapping: Option<Box<Mapping>>,
}

impl Translation {
    /// What is done about this.
    pub fn heard(&mut self, said: FromServer) -> Step {
        match self {
            Self::Same(same) => same.heard(said),
            Self::ToLegacy(to_legacy) => to_legacy.heard(said),
            Self::Done => match said {
                FromServer::Notification(_, event) => Step::Pass(event),
                FromServer::Answer(response, _) => Step::End(response, None),
                FromServer::Asked(..) | FromServer::Priming(_) => Step::Drop,
            },
        }
    }

    /// The HTTP status of an answer that the server gave with the status `upstream`.
    pub fn status(&self, response: &Response, upstream: StatusCode) -> StatusCode {
        match self {
            Self::Same(_) | Self::Done => upstream,
            Self::ToLegacy(_) => bridged::status(response.error_code()),
        }
    }

    /// Whether a stream that ended early is gone on with here, because the agent cannot: its era has no ids for events, or
    /// its session is with several servers.
    pub const fn resumes(&self) -> bool {
        matches!(self, Self::ToLegacy(_) | Self::Same(Same { era: Era::Legacy, mapping: Some(_), .. }))
    }

    /// What is done about the request when the agent went away. `resumable`: the server gave ids to resume from.
    pub fn parting(&self, resumable: bool) -> Parting {
        match self {
            Self::Same(Same { era: Era::Legacy, subject: Subject::Answer, mapping })
                if mapping.is_some() || !resumable =>
            {
                Parting::ReadOn
            }
            Self::Same(_) | Self::Done => Parting::HangUp,
            Self::ToLegacy(_) => Parting::Cancel,
        }
    }

    /// How the call ends when the gateway stops; `None`: it is waited for.
    pub fn farewell(&self, request: Option<&RequestId>) -> Option<Farewell> {
        match self {
            Self::Same(same) => same.farewell(request),
            Self::ToLegacy(_) => None,
            Self::Done => request.map(|id| Farewell::Answer(Response { id: None, outcome: Ok(listen::ended(id)) })),
        }
    }

    /// Whether a stream that ends without an answer is whole all the same: the agent resumes it.
    pub fn may_end_early(&self, resumable: bool) -> bool {
        match self {
            Self::Same(Same { subject: Subject::Stream | Subject::Resumed, .. }) => true,
            Self::Same(Same { era, mapping, .. }) => resumable && *era == Era::Legacy && mapping.is_none(),
            Self::ToLegacy(_) | Self::Done => false,
        }
    }
}

impl Same {
    /// MCP 2026-07-28, basic/patterns/subscriptions: a server that ends a subscription says so with its result.
    fn farewell(&self, request: Option<&RequestId>) -> Option<Farewell> {
        match self.subject {
            Subject::Answer => None,
            Subject::Stream | Subject::Resumed => Some(Farewell::Silent),
            Subject::Subscription => {
                request.map(|id| Farewell::Answer(Response { id: None, outcome: Ok(listen::ended(id)) }))
            }
        }
    }

    fn heard(&mut self, said: FromServer) -> Step {
        match said {
            FromServer::Priming(_) if self.mapping.is_some() => Step::Drop,
            FromServer::Priming(event) => Step::Pass(event),
            FromServer::Notification(notification, event) => self.notified(&notification, event),
            FromServer::Asked(asked, event) => self.asked(&asked, event),
            FromServer::Answer(response, event) => self.answered(response, event),
        }
    }

    /// Lists are answered where they are asked for, where they can be filtered. So a stream brings none, whatever a server
    /// puts there (MCP 2025-11-25, basic/transports: no response is sent there, but on a stream that is resumed).
    fn answered(&self, response: Response, event: sse::Event) -> Step {
        match self.subject {
            Subject::Answer | Subject::Subscription => Step::End(response, event.id.filter(|_| self.mapping.is_none())),
            Subject::Resumed if !response.outcome.as_ref().is_ok_and(list::is_list) => Step::Pass(event),
            Subject::Stream | Subject::Resumed => {
                tracing::warn!("an answer was dropped that a server gave on a stream where nothing had been asked");
                Step::Drop
            }
        }
    }

    fn notified(&self, notification: &Notification, event: sse::Event) -> Step {
        let Some(mapping) = &self.mapping else { return Step::Pass(event) };
        let data = event.data.as_ref().and_then(|data| mapping.notification(notification, data));
        data.map_or(Step::Drop, |data| Step::Pass(message(data)))
    }

    /// Pings are Tollgate's own to answer: an agent that is alive has its connection open.
    fn asked(&mut self, asked: &Request, event: sse::Event) -> Step {
        if self.era == Era::Modern {
            tracing::warn!(method = %asked.method, "a request on a modern stream was dropped: MCP has none");
            return Step::Drop;
        }
        if asked.method.as_ref() == Method::Ping.as_str() {
            return Step::Reply(asked.id.clone(), declined(asked));
        }
        let Some(mapping) = &mut self.mapping else { return Step::Pass(event) };
        match mapping.question(asked, chrono::Utc::now().timestamp()) {
            Some(question) => Step::Pass(message(question)),
            None => Step::Reply(asked.id.clone(), declined(asked)),
        }
    }
}

fn message(data: Bytes) -> sse::Event {
    sse::Event { event: Some("message".into()), data: Some(data), ..sse::Event::default() }
}
