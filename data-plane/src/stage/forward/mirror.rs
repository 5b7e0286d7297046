//! The headers that mirror arguments, on a call of a modern agent or to a modern server: checked against what the
//! server's own list asks for, and written anew (2026-07-28, basic/transports/streamable-http, "Custom Headers").
//!
//! Invariant: where the tool's schema is known, no header says anything but what the arguments say. Where it cannot be
//! learned the headers go on as they came, and the server checks them.

use std::time::{Duration, Instant};

use http::HeaderMap;

use super::{
    ask::{Ask, Fault},
    merge::{self, Bounds},
    speech::{Speech, Tongue},
};
use crate::{
    mcp::{
        era::EraError,
        json::Raw,
        list,
        message::{Request, Response},
        method::ListKind,
        version::Era,
    },
    refusal::Refusal,
    upstream::{answer::AnswerFault, schemas::Listed},
};

/// How long a call waits for the list that says which headers it has.
const DEADLINE: Duration = Duration::from_secs(10);
const BOUNDS: Bounds = Bounds { pages: 10_000, items: 100_000, bytes: 32 * 1024 * 1024 };

/// The call as far as its headers go.
#[derive(Debug, Clone, Copy)]
pub struct Mirrored<'a> {
    /// The tool as the server names it.
    pub tool: &'a str,
    /// With the arguments.
    pub request: &'a Request,
    /// The era of the agent: a legacy one sends no such headers.
    pub agent: Era,
    /// `Mcp-Param-*` headers that it sent.
    pub sent: &'a HeaderMap,
}

/// The headers of a call. A list is asked for only where it matters: when the agent mirrored something, or cannot.
///
/// # Errors
/// [`EraError::Header`] when the agent's headers and arguments disagree.
pub async fn params(ask: &Ask, speech: &Speech, call: Mirrored<'_>) -> Result<HeaderMap, Refusal> {
    if call.agent == Era::Legacy && matches!(speech.tongue, Tongue::Legacy(_)) {
        return Ok(HeaderMap::new());
    }
    let listed = ask.gateway().upstreams.schemas().of(speech.server.id);
    let mut mirrors = listed.mirrors(call.tool);
    let is_needed = call.agent == Era::Legacy || !call.sent.is_empty();
    if mirrors.is_none() && is_needed {
        match learn(ask, speech, &listed, Instant::now()).await {
            Ok(()) => mirrors = listed.mirrors(call.tool),
            Err(fault) => {
                tracing::debug!(server = %speech.server.name, %fault, "the schemas of its tools are not known");
            }
        }
    }
    let Some(mirrors) = mirrors else { return Ok(call.sent.clone()) };
    let arguments = call.request.params.arguments();
    if call.agent == Era::Modern {
        mirrors.check(call.sent, arguments).map_err(EraError::from)?;
    }
    // Headers that the schema does not know are the agent's and the server's business.
    let mut headers = call.sent.clone();
    headers.extend(mirrors.headers(arguments));
    Ok(headers)
}

/// The headers for a call that the server took nothing of, because headers and arguments disagree by its schema of now;
/// `None` when they would be the same again.
pub async fn anew(
    ask: &Ask,
    speech: &Speech,
    call: Mirrored<'_>,
    sent_at: Instant,
    refused: &HeaderMap,
) -> Option<HeaderMap> {
    let listed = ask.gateway().upstreams.schemas().of(speech.server.id);
    if let Err(fault) = learn(ask, speech, &listed, sent_at).await {
        tracing::debug!(server = %speech.server.name, %fault, "the schemas of its tools could not be asked for");
        return None;
    }
    let headers = listed.mirrors(call.tool)?.headers(call.request.params.arguments());
    (headers != *refused).then_some(headers)
}

/// Learns from one page of a server's list, and leaves out of it the tools that no client over HTTP may use.
pub fn usable(ask: &Ask, speech: &Speech, request: &Request, response: Response) -> Response {
    let Some(members) = response.outcome.as_ref().ok().and_then(Raw::object) else { return response };
    let Some(tools) = members.get(ListKind::Tools.member()).and_then(Raw::array) else { return response };
    let is_whole = request.params.cursor().is_none() && members.get("nextCursor").is_none();
    let count = tools.len();
    let usable = ask.gateway().upstreams.schemas().of(speech.server.id).learn(tools, is_whole);
    if usable.len() == count {
        return response;
    }
    Response { outcome: Ok(list::with_items(ListKind::Tools, &members, &usable, &[])), ..response }
}

/// Asks for the whole list, unless somebody did after `moment`.
async fn learn(ask: &Ask, speech: &Speech, listed: &Listed, moment: Instant) -> Result<(), Fault> {
    let _asking = listed.ask().await;
    if listed.is_newer_than(moment) {
        return Ok(());
    }
    let mut tools = Vec::new();
    let walked = merge::walk(ask, speech, ListKind::Tools, &BOUNDS, &mut tools);
    tokio::time::timeout(DEADLINE, walked).await.map_err(|_elapsed| AnswerFault::Timeout(DEADLINE))??;
    listed.learn(tools, true);
    Ok(())
}
