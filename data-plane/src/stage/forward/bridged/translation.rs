//! What a legacy server says while a modern agent's request runs, and what is done about it.
//!
//! Invariant: what the server asks either waits for the agent's answers or is answered here, so that no server waits
//! in vain.

use http::StatusCode;

use super::{
    super::exchange::{FromServer, declined},
    super::translation::Step,
    ticket::Ticket,
};
use crate::{
    bridge::to_legacy::{
        Capabilities, Heard, Outcome,
        notice::{self, Notice},
        outcome,
        question::{self, Pending},
        request::Alias,
    },
    mcp::{
        json::{self, Raw},
        level::Level,
        message::{Notification, Request, Response},
        method::Method,
        sse,
    },
};

const INTERNAL_ERROR: i64 = -32603;

/// From a legacy server to a modern agent.
#[derive(Debug, Clone)]
pub struct ToLegacy {
    pub(super) method: Method,
    pub(super) alias: Alias,
    pub(super) declared: Capabilities,
    pub(super) wanted: Option<Level>,
    pub(super) server_info: Option<Raw>,
    pub(super) ticket: Ticket,
}

impl ToLegacy {
    /// What is done about this.
    pub fn heard(&self, said: FromServer) -> Step {
        match said {
            FromServer::Priming(_) => Step::Drop,
            FromServer::Notification(notice, _) => self.noticed(&notice),
            FromServer::Asked(asked, _) => self.asked(&asked),
            FromServer::Answer(response, _) => Step::End(self.answered(&response), None),
        }
    }

    fn noticed(&self, notice: &Notification) -> Step {
        match notice::read(notice, &self.alias, self.wanted) {
            Notice::Pass(data) => {
                Step::Pass(sse::Event { event: Some("message".into()), data: Some(data), ..sse::Event::default() })
            }
            Notice::Withdrawn(_) | Notice::Drop => Step::Drop,
        }
    }

    fn asked(&self, asked: &Request) -> Step {
        match question::read(asked, self.declared) {
            Heard::Ask(kind, request) if question::can_wait(self.method) => {
                // It gets its key when all questions of the round are known.
                Step::Park(Pending { key: "".into(), id: Some(asked.id.clone()), kind, request })
            }
            Heard::Pong | Heard::Ask(..) | Heard::Decline => Step::Reply(asked.id.clone(), declined(asked)),
        }
    }

    fn answered(&self, response: &Response) -> Response {
        let outcome = match &response.outcome {
            Ok(result) => match outcome::result(self.method, result, self.server_info.as_ref()) {
                Some(result) => Outcome::Result(result),
                None => Outcome::Error(StatusCode::OK, internal("the server's result is no object")),
            },
            Err(error) => outcome::error(error, self.declared),
        };
        let outcome = match outcome {
            Outcome::Result(result) => Ok(result),
            Outcome::Error(_, error) => Err(error),
            Outcome::Visit(pages) => self.ticket.visit(&pages),
        };
        Response { id: None, outcome }
    }
}

/// An error of our own.
pub(super) fn internal(text: &str) -> Raw {
    json::object(|error| {
        error.integer("code", INTERNAL_ERROR);
        error.text("message", text);
    })
}
