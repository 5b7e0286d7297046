//! Whether a server speaks the modern era: as it is registered, else found out by asking (MCP 2026-07-28,
//! basic/versioning: a modern request first).

use std::sync::Arc;

use super::{
    ask::{Ask, Fault, Outgoing},
    exchange::Exchange,
    speech::Speech,
};
use crate::{
    mcp::{
        json::Raw,
        message::{MetaValue, RequestId, write_request},
        method::Method,
        version::{Era, ProtocolVersion},
    },
    policy::{Instance, Server},
    refusal::Refusal,
    upstream::answer::AnswerFault,
};

const MODERN: ProtocolVersion = ProtocolVersion::NEWEST_MODERN;
/// Codes that only a modern server answers with.
const MODERN_CODES: [i64; 3] = [-32020, -32021, -32022];

/// The era that the instance speaks.
///
/// # Errors
/// How it failed when it could not be asked.
pub async fn of(ask: &Ask, server: &Arc<Server>, instance: &Arc<Instance>) -> Result<Era, Refusal> {
    let modern = match server.era {
        Some(era) => return Ok(era),
        None => is_modern(ask, server, instance).await.map_err(|fault| ask.refusal(server, &fault))?,
    };
    Ok(if modern { Era::Modern } else { Era::Legacy })
}

/// The refusal of a legacy client by a server that speaks only the modern era.
pub fn modern_only(server: &Server, wanted: ProtocolVersion) -> Refusal {
    Refusal::EraUnsupported { server: server.name.to_string(), wanted, supported: &crate::mcp::version::MODERN }
}

/// Whether an error is one that only a modern server makes.
pub fn is_modern_error(code: Option<i64>) -> bool {
    code.is_some_and(|code| MODERN_CODES.contains(&code))
}

async fn is_modern(ask: &Ask, server: &Arc<Server>, instance: &Arc<Instance>) -> Result<bool, Fault> {
    let instances = ask.gateway().upstreams.instances();
    if let Some(known) = instances.modern(instance.id) {
        return Ok(known);
    }
    let modern = probe(ask, &Speech::modern(server, instance)).await?;
    instances.set_modern(instance.id, modern);
    Ok(modern)
}

async fn probe(ask: &Ask, speech: &Speech) -> Result<bool, Fault> {
    let id = RequestId::Text("tollgate-probe".into());
    let method = Method::Discover.as_str();
    let write = |meta: &[(&str, MetaValue<'_>)]| {
        write_request(&id, method, |params| {
            params.object("_meta", |entries| {
                entries.text("io.modelcontextprotocol/protocolVersion", MODERN.as_str());
                entries.object("io.modelcontextprotocol/clientCapabilities", |_| {});
                for (key, value) in meta {
                    if let MetaValue::Text(text) = value {
                        entries.text(key, text);
                    }
                }
            });
        })
    };
    let outgoing = Outgoing { headers: speech.plain_headers(method), method, tool: "", write: &write };
    let answered = match Exchange::open(ask, speech, id.clone(), outgoing).await {
        Ok(exchange) => exchange.answer().await.map_err(Fault::from),
        Err(fault) => Err(fault),
    };
    match answered {
        Ok(response) => Ok(match &response.outcome {
            Ok(result) => supports_modern(result),
            Err(_) => is_modern_error(response.error_code()),
        }),
        // A status without a modern error is how legacy servers answer what they do not know.
        Err(Fault::Answered(AnswerFault::Invalid(_) | AnswerFault::Unexplained(_) | AnswerFault::SessionLost)) => {
            Ok(false)
        }
        Err(fault) => Err(fault),
    }
}

fn supports_modern(discovered: &Raw) -> bool {
    let versions = discovered.object().and_then(|result| result.get("supportedVersions")?.array());
    versions.is_some_and(|versions| versions.iter().any(|version| version.as_str().as_deref() == Some(MODERN.as_str())))
}
