//! Which eras the server speaks, and how it answers in the others.
//!
//! Invariant: a server of one era answers the other as servers in the field do: a legacy one without knowing what it
//! was asked, a modern one by naming what it speaks.

use axum::{
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{Method, StatusCode, header::CONTENT_TYPE},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use rmcp::model::ProtocolVersion;
use serde_json::{Value, json};

const BODY_BYTES_MAX: usize = 4 << 20;
const SESSION: &str = "mcp-session-id";

/// Which eras are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Eras {
    Both,
    LegacyOnly,
    ModernOnly,
}

impl Eras {
    /// Whether there are sessions.
    pub(crate) const fn legacy(self) -> bool {
        !matches!(self, Self::ModernOnly)
    }

    /// The revisions, oldest first.
    pub(crate) fn versions(self) -> Vec<ProtocolVersion> {
        let spoken = |version: &ProtocolVersion| match self {
            Self::Both => true,
            Self::LegacyOnly => version.has_initialize(),
            Self::ModernOnly => !version.has_initialize(),
        };
        ProtocolVersion::KNOWN_VERSIONS.iter().filter(|version| spoken(version)).cloned().collect()
    }
}

/// Turns away what the era does not know; everything else passes.
pub(crate) async fn guard(State(eras): State<Eras>, request: Request, next: Next) -> Response {
    match eras {
        Eras::Both => next.run(request).await,
        Eras::LegacyOnly => legacy_only(request, next).await,
        Eras::ModernOnly => modern_only(request, next).await,
    }
}

/// Before 2026-07-28 there was nothing but sessions, `initialize` and other headers than those of today.
async fn legacy_only(request: Request, next: Next) -> Response {
    if request.method() != Method::POST || request.headers().contains_key(SESSION) {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else { return StatusCode::PAYLOAD_TOO_LARGE.into_response() };
    let message: Value = serde_json::from_slice(&body).unwrap_or_default();
    if message["method"] == "initialize" {
        return next.run(Request::from_parts(parts, Body::from(body))).await;
    }
    refused(&Value::Null, -32000, "Bad Request: No valid session ID provided", None)
}

/// There is one method of HTTP, and no session.
async fn modern_only(mut request: Request, next: Next) -> Response {
    if request.method() != Method::POST {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    request.headers_mut().remove(SESSION);
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else { return StatusCode::PAYLOAD_TOO_LARGE.into_response() };
    let message: Value = serde_json::from_slice(&body).unwrap_or_default();
    if message["method"] == "initialize" && message["params"]["_meta"].is_null() {
        let data = json!({"supported": Eras::ModernOnly.versions(), "requested": message["params"]["protocolVersion"]});
        return refused(&message["id"], -32022, "Unsupported protocol version", Some(data));
    }
    next.run(Request::from_parts(parts, Body::from(body))).await
}

fn refused(id: &Value, code: i32, message: &str, data: Option<Value>) -> Response {
    let mut error = json!({"code": code, "message": message});
    if let Some(data) = data {
        error["data"] = data;
    }
    let body = json!({"jsonrpc": "2.0", "id": id, "error": error}).to_string();
    (StatusCode::BAD_REQUEST, [(CONTENT_TYPE, "application/json")], body).into_response()
}
