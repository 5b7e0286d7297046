//! The tools of all servers that the caller deals with, asked for at the same time.
//!
//! Invariant: one server that fails never fails the list; it is left out, with the reason.

use std::{collections::HashSet, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use uuid::Uuid;

use super::{
    Forwarded, Reply, ServerTools,
    ask::{Ask, Fault, Outgoing},
    exchange::Exchange,
    speech::{self, Speech, Tongue},
};
use crate::{
    bridge::{to_legacy, to_modern},
    mcp::{
        json::{Kind, ObjectWriter, Raw},
        message::{MetaValue, RequestId, write_request},
        method::{ListKind, Method},
        version::{Era, ProtocolVersion},
    },
    policy::Server,
    refusal::Refusal,
    stage::{admit::Admitted, authorize::View, identify::Caller, route::Merge},
    upstream::answer::AnswerFault,
};

/// Of one server, for all its pages.
const DEADLINE: Duration = Duration::from_secs(10);
const PAGES_MAX: usize = 50;
/// Of one server's list, all pages together.
const LIST_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Asks every server.
///
/// # Errors
/// When the agent gives a cursor: a merged list has one page.
pub async fn tools(
    ask: &Ask,
    caller: &Caller,
    admitted: &Admitted,
    view: &View,
    errand: Merge,
) -> Result<Forwarded, Refusal> {
    if errand.request.params.cursor().is_some() {
        let detail = "the cursor is not known: this list has one page".to_owned();
        return Err(Refusal::Malformed { code: -32602, detail });
    }
    let servers = caller.tenant().servers.values().filter(|server| view.knows(server));
    let asked = servers.map(|server| async {
        let listed = tokio::time::timeout(DEADLINE, list(ask, caller, admitted, server, &errand)).await;
        let tools = match listed {
            Ok(Ok(tools)) => Ok(tools),
            Ok(Err(refusal)) => Err(refusal.facts().reason),
            Err(_elapsed) => Err("upstream_timeout"),
        };
        ServerTools { server: Arc::clone(server), tools }
    });
    Ok(Forwarded::plain(Reply::Tools(join_all(asked).await)))
}

async fn list(
    ask: &Ask,
    caller: &Caller,
    admitted: &Admitted,
    server: &Arc<Server>,
    errand: &Merge,
) -> Result<Vec<Raw>, Refusal> {
    let Merge { era, request } = errand;
    let speech = speech::choose(ask, caller, admitted, *era, request, server).await?;
    let listed = match pages(ask, &speech).await {
        Err(fault) if speech.is_lost(&fault) => {
            let speech = speech::renew(ask, caller, admitted, request, &speech).await?;
            pages(ask, &speech).await
        }
        listed => listed,
    };
    let tools = listed.map_err(|fault| ask.refusal(server, &fault))?;
    if (*era, speech.era()) == (Era::Legacy, Era::Legacy) {
        return Ok(tools);
    }
    let usable = ask.gateway().upstreams.schemas().of(server.id).learn(tools, true);
    Ok(match (era, speech.era()) {
        (Era::Legacy, _) => usable.into_iter().map(to_modern::outcome::tool).collect(),
        (Era::Modern, Era::Legacy) => usable.iter().filter_map(to_legacy::outcome::tool).collect(),
        (Era::Modern, Era::Modern) => usable,
    })
}

/// The tools of all pages.
///
/// # Errors
/// How the server failed; a list that has no end or grows beyond measure is a failure too.
pub async fn pages(ask: &Ask, speech: &Speech) -> Result<Vec<Raw>, Fault> {
    let mut tools = Vec::new();
    let (mut cursor, mut seen, mut bytes) = (None::<String>, HashSet::new(), 0);
    for _page in 0..PAGES_MAX {
        let id = RequestId::Text(Uuid::new_v4().to_string().into());
        let result = page_of(ask, speech, &id, cursor.as_deref()).await?;
        let result = result.object().ok_or_else(|| invalid("a result that is no object"))?;
        let listed = result.get(ListKind::Tools.member()).filter(|listed| listed.kind() == Kind::Array);
        let listed = listed.ok_or_else(|| invalid("a result without `tools`"))?;
        bytes += listed.as_bytes().len();
        if bytes > LIST_BYTES_MAX {
            return Err(invalid("a list that is too large"));
        }
        tools.extend(listed.array().unwrap_or_default());
        // An empty text is a cursor too: only its absence ends the list.
        match result.get("nextCursor").and_then(|next| next.as_str().map(String::from)) {
            None => return Ok(tools),
            Some(next) if !seen.insert(next.clone()) => return Err(invalid("a list that goes in a circle")),
            next => cursor = next,
        }
    }
    Err(invalid("a list without end"))
}

async fn page_of(ask: &Ask, speech: &Speech, id: &RequestId, cursor: Option<&str>) -> Result<Raw, Fault> {
    let method = Method::ToolsList.as_str();
    let modern = matches!(speech.tongue, Tongue::Modern);
    let write = |meta: &[(&str, MetaValue<'_>)]| write_list(id, cursor, modern, meta);
    let outgoing = Outgoing { headers: speech.plain_headers(method), method, tool: "", write: &write };
    let response = Exchange::open(ask, speech, id.clone(), outgoing).await?.answer().await?;
    response.outcome.map_err(|_| invalid("an error instead of its tools"))
}

fn write_list(id: &RequestId, cursor: Option<&str>, modern: bool, meta: &[(&str, MetaValue<'_>)]) -> Bytes {
    write_request(id, Method::ToolsList.as_str(), |params| {
        if let Some(cursor) = cursor {
            params.text("cursor", cursor);
        }
        params.object("_meta", |entries| {
            if modern {
                introduce(entries);
            }
            for (key, value) in meta {
                if let MetaValue::Text(text) = value {
                    entries.text(key, text);
                }
            }
        });
    })
}

/// What a modern request says of its client: here Tollgate itself, which can be asked nothing.
fn introduce(entries: &mut ObjectWriter<'_>) {
    entries.text("io.modelcontextprotocol/protocolVersion", ProtocolVersion::NEWEST_MODERN.as_str());
    entries.object("io.modelcontextprotocol/clientCapabilities", |_| {});
    entries.object("io.modelcontextprotocol/clientInfo", |info| {
        info.text("name", "tollgate");
        info.text("version", env!("CARGO_PKG_VERSION"));
    });
}

fn invalid(what: &str) -> Fault {
    AnswerFault::Invalid(what.to_owned()).into()
}
