//! Stage 9, relay: what came of the errand, as the agent gets it.
//!
//! Invariant: a list shows nothing that may not be called; a stream is passed on event by event, with backpressure,
//! and always ends with an answer to the request.

mod agent;
pub(in crate::stage) mod list;
mod stream;

use bytes::Bytes;
use http::StatusCode;
use tollgate_proto::usage::v1::Outcome;

use crate::{
    call::Call,
    gateway::Gateway,
    mcp::{
        json::Raw,
        message::{RequestId, Response, write_error, write_result},
    },
    refusal::Refusal,
    stage::{
        authorize::Permit,
        forward::{Forwarded, Reply},
        identify::Caller,
    },
    store::SessionId,
};

pub(in crate::stage) use stream::{Conversation, pass_on};

use stream::First;

/// Evidence of what the agent gets.
#[derive(Debug)]
pub struct Relayed {
    pub(super) answer: Answer,
    pub(super) opened: Option<SessionId>,
}

/// What the agent gets.
#[derive(Debug)]
pub(super) enum Answer {
    /// A status without a body.
    Status(StatusCode),
    /// One message, written with the request's id when the call is settled.
    Message(StatusCode, Response),
    /// A stream of events.
    Stream(Box<Conversation>),
}

/// Gives the answer its form.
///
/// # Errors
/// When the store is away, a server's list is none, or a server fails before it said anything.
pub async fn relay(
    gateway: &Gateway,
    caller: &Caller,
    permit: &Permit,
    forwarded: Forwarded,
) -> Result<Relayed, Refusal> {
    let view = permit.view();
    let answer = match forwarded.reply {
        Reply::Status(status) => Answer::Status(status),
        Reply::Result(result) => ok(result),
        Reply::Response(status, response) => Answer::Message(status, response),
        Reply::List(kind, server, response) => {
            Answer::Message(StatusCode::OK, list::filter(view, kind, &server, response)?)
        }
        Reply::Merged(merged) => ok(list::merge(gateway, caller, view, merged).await?),
        Reply::Passing(passing) => match stream::begin(*passing, permit.standing().clone()).await? {
            First::Answer(status, response) => Answer::Message(status, response),
            First::Stream(conversation) => Answer::Stream(conversation),
        },
    };
    Ok(Relayed { answer, opened: forwarded.opened })
}

fn ok(result: Raw) -> Answer {
    Answer::Message(StatusCode::OK, Response { id: None, outcome: Ok(result) })
}

/// The response with the agent's own id.
pub(super) fn write(id: Option<&RequestId>, response: &Response) -> Bytes {
    match (&response.outcome, id) {
        (Ok(result), Some(id)) => write_result(id, result),
        (Err(_), _) => response.write(id),
        // Only a request has an answer, and a request has an id.
        (Ok(_), None) => write_error(None, -32603, "an answer without a request", None),
    }
}

/// How the call ended, as the response tells; notes when it did not.
pub(super) fn outcome(call: &mut Call, response: &Response) -> Outcome {
    let Ok(result) = &response.outcome else { return Outcome::RpcError };
    let Some(result) = result.object() else { return Outcome::Ok };
    if result.get("resultType").and_then(Raw::as_str).as_deref() == Some("input_required") {
        call.goes_on();
    }
    let is_error = result.get("isError").and_then(Raw::as_bool);
    if is_error == Some(true) { Outcome::ToolError } else { Outcome::Ok }
}
