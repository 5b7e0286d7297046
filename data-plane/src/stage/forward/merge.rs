//! The tools of all servers that the caller deals with, asked for at the same time.
//!
//! Invariant: one server that fails never fails the list; it is left out, with the reason.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use http::HeaderMap;

use super::{
    Forwarded, Reply, ServerTools,
    ask::{Ask, Fault, Outgoing, modern_headers},
    era,
    leg::Origin,
    single,
};
use crate::{
    mcp::{
        json::{ObjectWriter, Raw},
        message::{MetaValue, RequestId, write_request},
        method::{ListKind, Method},
        version::{Era, ProtocolVersion},
    },
    policy::{Instance, Server},
    refusal::Refusal,
    stage::{admit::Admitted, authorize::View, identify::Caller, route::Merge},
    upstream::answer::AnswerFault,
};

/// Of one server, for all its pages.
const DEADLINE: Duration = Duration::from_secs(10);
const PAGES_MAX: usize = 50;

/// How a server is spoken to.
struct Speech {
    instance: Arc<Instance>,
    /// `None`: the modern era.
    origin: Option<Origin>,
}

/// Asks every server.
///
/// # Errors
/// When the agent gives a cursor: a merged list has one page.
pub async fn tools(
    ask: &Ask<'_>,
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
        let listed = tokio::time::timeout(DEADLINE, list(ask, admitted, server, errand.era)).await;
        let tools = match listed {
            Ok(Ok(tools)) => Ok(tools),
            Ok(Err(refusal)) => Err(refusal.facts().reason),
            Err(_elapsed) => Err("upstream_timeout"),
        };
        ServerTools { server: Arc::clone(server), tools }
    });
    Ok(Forwarded::plain(Reply::Tools(join_all(asked).await)))
}

async fn list(ask: &Ask<'_>, admitted: &Admitted, server: &Server, era: Era) -> Result<Vec<Raw>, Refusal> {
    let speech = speech(ask, admitted, server, era).await?;
    match pages(ask, &speech).await {
        Err(fault) if fault.is_session_lost() && era == Era::Legacy => {
            let (id, session) = admitted.session().ok_or(Refusal::SessionRequired)?;
            let origin = single::open_leg(ask, admitted, id, session, server).await?;
            let speech = Speech { instance: Arc::clone(&origin.instance), origin: Some(origin) };
            pages(ask, &speech).await.map_err(|fault| ask.refusal(server, &fault))
        }
        listed => listed.map_err(|fault| ask.refusal(server, &fault)),
    }
}

async fn speech(ask: &Ask<'_>, admitted: &Admitted, server: &Server, era: Era) -> Result<Speech, Refusal> {
    if era == Era::Modern {
        let instance = ask.gateway().upstreams.pick(server);
        era::require_modern(ask, server, instance).await?;
        return Ok(Speech { instance: Arc::clone(instance), origin: None });
    }
    let (id, session) = admitted.session().ok_or(Refusal::SessionRequired)?;
    let known = session.legs.get(&server.id).and_then(|leg| Origin::of(server, leg));
    let origin = match known {
        Some(origin) => origin,
        None => single::open_leg(ask, admitted, id, session, server).await?,
    };
    Ok(Speech { instance: Arc::clone(&origin.instance), origin: Some(origin) })
}

async fn pages(ask: &Ask<'_>, speech: &Speech) -> Result<Vec<Raw>, Fault> {
    let mut tools = Vec::new();
    let mut cursor: Option<String> = None;
    for page in 0..PAGES_MAX {
        let id = RequestId::Text(format!("tollgate-tools-{page}").into());
        let result = page_of(ask, speech, &id, cursor.as_deref()).await?;
        let result = result.object().ok_or_else(|| invalid("a result that is no object"))?;
        let listed = result.get(ListKind::Tools.member()).and_then(Raw::array);
        tools.extend(listed.ok_or_else(|| invalid("a result without `tools`"))?);
        // An empty text is a cursor too: only its absence ends the list.
        match result.get("nextCursor").and_then(|next| next.as_str().map(String::from)) {
            None => return Ok(tools),
            next if next == cursor => return Err(invalid("a cursor that leads to itself")),
            next => cursor = next,
        }
    }
    Err(invalid("a list without end"))
}

async fn page_of(ask: &Ask<'_>, speech: &Speech, id: &RequestId, cursor: Option<&str>) -> Result<Raw, Fault> {
    let method = Method::ToolsList.as_str();
    let modern = speech.origin.is_none();
    let headers = match &speech.origin {
        Some(origin) => origin.headers(),
        None => modern_headers(ProtocolVersion::NEWEST_MODERN, method, None, HeaderMap::new()),
    };
    let write = |meta: &[(&str, MetaValue<'_>)]| write_list(id, cursor, modern, meta);
    let outgoing = Outgoing { headers, method, tool: "", write: &write };
    let response = ask.send(&speech.instance, outgoing).await?.response(id).await?;
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
