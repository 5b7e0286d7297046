//! What a modern server says of itself (MCP 2026-07-28, server/discover), kept for as long as it says.
//!
//! Invariant: it is asked for in Tollgate's own name, but with what is passed on of the agent's headers: what the server does
//! not call public is given to nobody but the agent and user whose call asked.

use std::time::Duration;

use crate::{
    mcp::{
        json::Raw,
        message::write_request,
        message::{META_CLIENT_CAPABILITIES, META_CLIENT_INFO, META_PROTOCOL_VERSION, MetaValue, RequestId, Response},
        method::Method,
        version::ProtocolVersion,
    },
    refusal::Refusal,
    stage::forward::{
        ask::{Ask, Fault, Outgoing},
        exchange::Exchange,
        speech::Speech,
    },
    upstream::offers::Question,
};

/// What the server says of itself, and for how long that may be kept yet.
///
/// # Errors
/// How the server failed.
pub async fn of(ask: &Ask, speech: &Speech) -> Result<(Raw, Duration), Refusal> {
    if let Some(kept) = ask.gateway().upstreams.offers().get(&question(ask, speech)) {
        return Ok(kept);
    }
    let (response, kept_for) = discover(ask, speech).await.map_err(|fault| ask.refusal(&speech.server, &fault))?;
    let result = response.outcome.map_err(|_| Refusal::UpstreamInvalid {
        server: speech.server.name.to_string(),
        detail: "it does not say what it is".to_owned(),
    })?;
    Ok((result, kept_for))
}

/// Asks the instance what it is, and keeps what it says, for as long as it allows: for everybody, or for whose call asks.
///
/// # Errors
/// How the server failed.
pub async fn discover(ask: &Ask, speech: &Speech) -> Result<(Response, Duration), Fault> {
    let offers = ask.gateway().upstreams.offers();
    let moment = offers.moment();
    let id = RequestId::Text("tollgate-discover".into());
    let method = Method::Discover.as_str();
    let write = |meta: &[(&str, MetaValue<'_>)]| {
        write_request(&id, method, |params| {
            params.object("_meta", |entries| {
                entries.text(META_PROTOCOL_VERSION, ProtocolVersion::NEWEST_MODERN.as_str());
                entries.object(META_CLIENT_CAPABILITIES, |_| {});
                entries.object(META_CLIENT_INFO, |info| {
                    info.text("name", "tollgate");
                    info.text("version", env!("CARGO_PKG_VERSION"));
                });
                for (key, value) in meta {
                    if let MetaValue::Text(text) = value {
                        entries.text(key, text);
                    }
                }
            });
        })
    };
    let outgoing = Outgoing { headers: speech.plain_headers(method), method, tool: "", write: &write };
    let response = Exchange::open(ask, speech, id.clone(), outgoing).await?.answer().await?;
    let keep = |result| offers.keep(&question(ask, speech), result, moment);
    let kept_for = response.outcome.as_ref().map_or(Duration::ZERO, keep);
    Ok((response, kept_for))
}

fn question(ask: &Ask, speech: &Speech) -> Question {
    Question::new(ask.owner(), &speech.server, Method::Discover, None)
}
