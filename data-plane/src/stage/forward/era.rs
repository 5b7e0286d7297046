//! Whether a server speaks the modern era: as it is registered, else found out by asking (MCP 2026-07-28,
//! basic/versioning: a modern request first).

use http::HeaderMap;

use super::ask::{Ask, Fault, Outgoing, modern_headers};
use crate::{
    mcp::{
        json::Raw,
        message::{MetaValue, RequestId, write_request},
        method::Method,
        version::{Era, ProtocolVersion, SUPPORTED_LEGACY},
    },
    policy::{Instance, Server},
    refusal::Refusal,
    upstream::answer::AnswerFault,
};

const MODERN: ProtocolVersion = ProtocolVersion::NEWEST_MODERN;
/// Codes that only a modern server answers with.
const MODERN_CODES: [i64; 3] = [-32020, -32021, -32022];

/// Makes sure that the instance speaks the modern era.
///
/// # Errors
/// [`Refusal::EraUnsupported`] when it does not, and how it failed when it could not be asked.
pub async fn require_modern(ask: &Ask<'_>, server: &Server, instance: &Instance) -> Result<(), Refusal> {
    let modern = match server.era {
        Some(era) => era == Era::Modern,
        None => is_modern(ask, instance).await.map_err(|fault| ask.refusal(server, &fault))?,
    };
    if modern {
        return Ok(());
    }
    Err(Refusal::EraUnsupported { server: server.name.to_string(), wanted: MODERN, supported: &SUPPORTED_LEGACY })
}

/// The refusal of a legacy client by a server that speaks only the modern era.
pub fn modern_only(server: &Server, wanted: ProtocolVersion) -> Refusal {
    Refusal::EraUnsupported { server: server.name.to_string(), wanted, supported: &crate::mcp::version::MODERN }
}

/// Whether an error is one that only a modern server makes.
pub fn is_modern_error(code: Option<i64>) -> bool {
    code.is_some_and(|code| MODERN_CODES.contains(&code))
}

async fn is_modern(ask: &Ask<'_>, instance: &Instance) -> Result<bool, Fault> {
    let instances = ask.gateway().upstreams.instances();
    if let Some(known) = instances.modern(instance.id) {
        return Ok(known);
    }
    let modern = probe(ask, instance).await?;
    instances.set_modern(instance.id, modern);
    Ok(modern)
}

async fn probe(ask: &Ask<'_>, instance: &Instance) -> Result<bool, Fault> {
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
    let headers = modern_headers(MODERN, method, None, HeaderMap::new());
    let answered = match ask.send(instance, Outgoing { headers, method, tool: "", write: &write }).await {
        Ok(received) => received.response(&id).await.map_err(Fault::from),
        Err(fault) => Err(fault),
    };
    match answered {
        Ok(response) => Ok(match &response.outcome {
            Ok(result) => supports_modern(result),
            Err(_) => is_modern_error(response.error_code()),
        }),
        // A status without a modern error is how legacy servers answer what they do not know.
        Err(Fault::Answered(AnswerFault::Invalid(_) | AnswerFault::SessionLost)) => Ok(false),
        Err(fault) => Err(fault),
    }
}

fn supports_modern(discovered: &Raw) -> bool {
    let versions = discovered.object().and_then(|result| result.get("supportedVersions")?.array());
    versions.is_some_and(|versions| versions.iter().any(|version| version.as_str().as_deref() == Some(MODERN.as_str())))
}
