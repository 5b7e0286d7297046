//! Whether a server speaks the modern era: as it is registered, else found out by asking (MCP 2026-07-28,
//! basic/versioning: a modern request first).

use std::sync::Arc;

use http::StatusCode;

use super::{
    ask::{Ask, Fault},
    sessionless::discovered,
    speech::Speech,
};
use crate::{
    mcp::{
        json::Raw,
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

/// A server that was taken for legacy has answered as only modern ones do: the next call knows it.
pub fn has_changed(ask: &Ask, server: &Server, instance: &Instance) -> Refusal {
    ask.gateway().upstreams.instances().set_modern(instance.id, true);
    let detail = "it speaks the modern era, which it was not known for: try again".to_owned();
    Refusal::UpstreamInvalid { server: server.name.to_string(), detail }
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
    match discovered::discover(ask, speech).await {
        Ok(response) => Ok(match &response.outcome {
            Ok(result) => {
                let modern = supports_modern(result);
                if modern {
                    discovered::keep(ask, speech, result);
                }
                modern
            }
            Err(_) => is_modern_error(response.error_code()),
        }),
        // A status without a modern error is how legacy servers answer what they do not know. A 401 says nothing of the
        // era: whoever has the right credential may be answered otherwise.
        Err(Fault::Answered(
            AnswerFault::Invalid(_)
            | AnswerFault::Unexplained(_)
            | AnswerFault::SessionLost
            | AnswerFault::Denied(StatusCode::FORBIDDEN),
        )) => Ok(false),
        Err(fault) => Err(fault),
    }
}

fn supports_modern(discovered: &Raw) -> bool {
    let versions = discovered.object().and_then(|result| result.get("supportedVersions")?.array());
    versions.is_some_and(|versions| versions.iter().any(|version| version.as_str().as_deref() == Some(MODERN.as_str())))
}
