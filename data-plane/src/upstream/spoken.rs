//! Which era a server speaks, as its answer to `server/discover` shows it (MCP 2026-07-28, basic/versioning: a modern
//! request first).
//!
//! Invariant: an answer that may come from something before the server, or for want of a credential, says nothing.

use http::StatusCode;

use super::answer::AnswerFault;
use crate::mcp::{json::Raw, message::Response, version::ProtocolVersion};

const MODERN: ProtocolVersion = ProtocolVersion::NEWEST_MODERN;
/// Codes that only a modern server answers with.
const MODERN_CODES: [i64; 3] = [-32020, -32021, -32022];

/// Whether a server that answers so is of the modern era.
///
/// # Errors
/// The fault, when it does not show that.
pub fn is_modern(answered: &Result<Response, AnswerFault>) -> Result<bool, AnswerFault> {
    match answered {
        Ok(response) => Ok(match &response.outcome {
            Ok(result) => supports_modern(result),
            Err(_) => is_modern_error(response.error_code()),
        }),
        // A status without a modern error is how legacy servers answer what they do not know. A 401 says nothing of the
        // era: whoever has the right credential may be answered otherwise.
        Err(
            AnswerFault::Invalid(_)
            | AnswerFault::Unexplained(_)
            | AnswerFault::SessionLost
            | AnswerFault::Denied(StatusCode::FORBIDDEN),
        ) => Ok(false),
        Err(fault) => Err(fault.clone()),
    }
}

/// Whether an error is one that only a modern server makes.
#[must_use]
pub fn is_modern_error(code: Option<i64>) -> bool {
    code.is_some_and(|code| MODERN_CODES.contains(&code))
}

fn supports_modern(discovered: &Raw) -> bool {
    let versions = discovered.object().and_then(|result| result.get("supportedVersions")?.array());
    versions.is_some_and(|versions| versions.iter().any(|version| version.as_str().as_deref() == Some(MODERN.as_str())))
}
