//! A modern agent's request at a legacy server: sent in an upstream session that the agent knows nothing of, and
//! answered as its own era answers.
//!
//! - `legs.rs`: the upstream sessions, opened where they are missing.
//! - `translation.rs`: what the server says while the request runs.
//! - `listen.rs`: what the server says of its own accord, as `subscriptions/listen`.
//! - `ticket.rs`, `park.rs`, `parcel.rs`, `retry.rs`: a call that waits for its agent's answers, from the question to
//!   the retry that brings them.
//!
//! Invariant: a request reaches the server once, unless the server said that it did not take it; a retry never does.

pub mod legs;
pub mod listen;
pub mod parcel;
mod park;
mod retry;
mod ticket;
mod translation;

use std::sync::Arc;

use http::StatusCode;
use uuid::Uuid;

pub use park::park;
pub use translation::ToLegacy;

use super::{
    Forwarded, Passing, Reply,
    ask::{Ask, Fault, Outgoing},
    exchange::{self, Exchange},
    mirror,
    single::Asked,
    translation::Translation,
};
use crate::{
    bridge::to_legacy::{Capabilities, discover, notice, request::Alias},
    mcp::{
        era::EraError,
        level::Level,
        message::{MetaValue, RequestId},
        method::{Carries, ListKind, Method},
        version::Era,
    },
    policy::Server,
    refusal::Refusal,
    stage::{admit::Admitted, identify::Caller},
};
use legs::Bridge;
use ticket::Ticket;

const INVALID_PARAMS: i64 = -32602;

/// Sends the request, or goes on with the call that it is a retry of.
///
/// # Errors
/// How the server or the store failed, and what is wrong with the request.
pub async fn request(
    ask: &Ask,
    caller: &Caller,
    admitted: &Admitted,
    server: &Arc<Server>,
    asked: Asked,
) -> Result<Forwarded, Refusal> {
    let wanted = notice::wanted_level(&asked.request)
        .map_err(|error| Refusal::Malformed { code: INVALID_PARAMS, detail: error.to_string() })?;
    let ticket = Ticket::new(caller, admitted, server, &asked.request, ask.root());
    match asked.method {
        Method::Discover => {
            let bridge = legs::find(ask, server, &asked.request).await?;
            Ok(Forwarded::plain(Reply::Result(discover::discovered(&bridge.initialized))))
        }
        // The tasks of the two eras have nothing but their names in common.
        Method::TasksGet | Method::TasksUpdate | Method::TasksCancel => {
            Err(EraError::UnknownMethod { method: asked.method.as_str().into(), era: Era::Modern }.into())
        }
        Method::SubscriptionsListen => listen::open(ask, server, asked).await,
        _ if asked.request.params.get("requestState").is_some() => {
            retry::go_on(ask, admitted, server, asked, wanted, ticket).await
        }
        _ => call(ask, admitted, server, asked, wanted, ticket).await,
    }
}

/// Sends the request; its answer is passed on as it arrives, but for lists, which are read whole to be filtered.
async fn call(
    ask: &Ask,
    admitted: &Admitted,
    server: &Arc<Server>,
    asked: Asked,
    wanted: Option<Level>,
    ticket: Ticket,
) -> Result<Forwarded, Refusal> {
    let alias = Alias::of(&asked.request, RequestId::Text(Uuid::new_v4().to_string().into()));
    let mut bridge = legs::find(ask, server, &asked.request).await?;
    if let Some(call) = asked.mirrored() {
        // Only checked: a legacy server gets no such headers.
        mirror::params(ask, &bridge.speech, call).await?;
    }
    let mut sent = send(ask, admitted, &bridge, &asked, &alias, wanted).await;
    if sent.as_ref().is_err_and(|fault| bridge.speech.is_lost(fault)) {
        // The server took nothing, so sending once more repeats nothing.
        bridge = legs::renew(ask, admitted.owner(), server, &asked.request, bridge.leg()).await?;
        sent = send(ask, admitted, &bridge, &asked, &alias, wanted).await;
    }
    let exchange = sent.map_err(|fault| failed(ask, server, &fault))?;
    let declared = Capabilities::declared(&asked.request);
    let translation =
        ToLegacy { method: asked.method, alias, declared, wanted, server_info: bridge.server_info(), ticket };
    let translation = Translation::ToLegacy(Box::new(translation));
    let passing = Passing::new(exchange, Some(asked.request.id.clone()), translation);
    let Carries::List(kind) = asked.method.carries() else {
        return Ok(Forwarded::plain(Reply::Passing(Box::new(passing))));
    };
    let response = passing.answer().await.map_err(|fault| ask.refusal(server, &Fault::from(fault)))?;
    let is_tools = kind == ListKind::Tools;
    let response = if is_tools { mirror::usable(ask, &bridge.speech, &asked.request, response) } else { response };
    Ok(Forwarded::plain(match response.outcome {
        Ok(_) => Reply::List(kind, server.name.clone(), response),
        Err(_) => Reply::Response(status(response.error_code()), response),
    }))
}

async fn send(
    ask: &Ask,
    admitted: &Admitted,
    bridge: &Bridge,
    asked: &Asked,
    alias: &Alias,
    wanted: Option<Level>,
) -> Result<Exchange, Fault> {
    if let Some(level) = wanted {
        legs::ask_for_level(ask, admitted.owner(), bridge, level).await?;
    }
    let (method, tool) = (asked.method.as_str(), asked.tool.as_deref());
    let write = |meta: &[(&str, MetaValue<'_>)]| {
        let meta = alias.meta(meta);
        asked.request.write(&alias.edit(tool, &meta))
    };
    let headers = bridge.speech.plain_headers(method);
    let outgoing = Outgoing { headers, method, tool: tool.unwrap_or_default(), write: &write };
    let mut unanswered = Unanswered { ask, bridge, id: Some(&alias.id) };
    let opened = Exchange::open(ask, &bridge.speech, alias.id.clone(), outgoing).await;
    unanswered.id = None;
    opened
}

/// A request whose answer has not begun. Dropped in the middle, when the agent hangs up, it is cancelled at the server.
struct Unanswered<'a> {
    ask: &'a Ask,
    bridge: &'a Bridge,
    id: Option<&'a RequestId>,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            exchange::cancel(self.ask, &self.bridge.speech, id);
        }
    }
}

/// What the agent is told: it knows nothing of a session that the server forgets as soon as it is opened.
fn failed(ask: &Ask, server: &Server, fault: &Fault) -> Refusal {
    if fault.is_session_lost() {
        let detail = "it forgets the session that it has just opened".to_owned();
        return Refusal::UpstreamInvalid { server: server.name.to_string(), detail };
    }
    ask.refusal(server, fault)
}

/// The status that goes with an answer to a modern agent.
#[must_use]
pub fn status(error_code: Option<i64>) -> StatusCode {
    match error_code {
        Some(-32601) => StatusCode::NOT_FOUND,
        Some(-32021) => StatusCode::BAD_REQUEST,
        _ => StatusCode::OK,
    }
}
