//! What a modern server says of itself (MCP 2026-07-28, server/discover), kept for as long as it says.
//!
//! Invariant: it is asked for in Tollgate's own name, so that it is the same for every agent.

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
};

/// However long a server says.
const KEPT_MAX: Duration = Duration::from_secs(60 * 60);

/// What the instance says of itself.
///
/// # Errors
/// How the server failed.
pub async fn of(ask: &Ask, speech: &Speech) -> Result<Raw, Refusal> {
    let instances = ask.gateway().upstreams.instances();
    if let Some(kept) = instances.discovered(speech.instance.id) {
        return Ok(kept);
    }
    let response = discover(ask, speech).await.map_err(|fault| ask.refusal(&speech.server, &fault))?;
    let result = response.outcome.map_err(|_| Refusal::UpstreamInvalid {
        server: speech.server.name.to_string(),
        detail: "it does not say what it is".to_owned(),
    })?;
    keep(ask, speech, &result);
    Ok(result)
}

/// Keeps what the instance said of itself.
pub fn keep(ask: &Ask, speech: &Speech, discovered: &Raw) {
    let ttl_ms = discovered.object().and_then(|result| result.get("ttlMs")?.as_u64()).unwrap_or_default();
    let kept_for = Duration::from_millis(ttl_ms).min(KEPT_MAX);
    ask.gateway().upstreams.instances().set_discovered(speech.instance.id, discovered.clone(), kept_for);
}

/// Asks the instance what it is.
///
/// # Errors
/// How the server failed.
pub async fn discover(ask: &Ask, speech: &Speech) -> Result<Response, Fault> {
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
    Ok(Exchange::open(ask, speech, id.clone(), outgoing).await?.answer().await?)
}
