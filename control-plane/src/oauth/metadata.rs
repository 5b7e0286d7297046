//! Authorization server metadata (RFC 8414), the same bytes at both path forms that clients try.
//!
//! Invariant: what is advertised works. No SQL is needed once the tenant was seen.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::json;

use super::{document, issuer::Issuer};
use crate::app::App;

const MAX_AGE_S: u32 = 3600;

/// RFC 8414 section 2. Scopes are not listed: they are the tenant's and not public.
#[derive(Serialize)]
struct Metadata<'a> {
    issuer: &'a str,
    /// RFC 8414 lets a server without interactive grant types leave this out, but the official TypeScript and
    /// Python SDKs refuse a document without it, whatever grant type they want. So there is such an endpoint, and
    /// it refuses every request in words (`authorize.rs`).
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    /// Required, and never empty (RFC 8414 sections 2 and 3.2). `code` would be a lie as long as no code is ever
    /// issued. `none` is the registered value that promises neither code nor token (OAuth 2.0 Multiple Response
    /// Type Encoding Practices, section 4): clients that need `code` see that it is missing and stop with a clear
    /// message, and clients of `client_credentials` do not look here.
    response_types_supported: [&'static str; 1],
    grant_types_supported: [&'static str; 1],
    token_endpoint_auth_methods_supported: [&'static str; 2],
}

/// `GET`, `HEAD` of a tenant's metadata.
pub(super) async fn show(State(_): State<Arc<App>>, issuer: Issuer, headers: HeaderMap) -> Response {
    let endpoint = |name: &str| format!("{}/oauth/{name}", issuer.url);
    let metadata = Metadata {
        issuer: &issuer.url,
        authorization_endpoint: endpoint("authorize"),
        token_endpoint: endpoint("token"),
        jwks_uri: endpoint("jwks"),
        response_types_supported: ["none"],
        grant_types_supported: ["client_credentials"],
        token_endpoint_auth_methods_supported: ["client_secret_basic", "client_secret_post"],
    };
    let json = serde_json::to_string(&metadata).expect("strings and arrays of strings always serialise");
    document::answer(&headers, json, MAX_AGE_S)
}

/// The places where clients look and there is nothing: the bare well-known path, which is no tenant's, and every
/// `openid-configuration`, because no id_tokens are issued. JSON, so that a probe is no parse error, and cacheable.
pub(super) async fn absent() -> Response {
    let body = json!({ "error": "not_found", "error_description": "there is no such document" });
    let headers = [(header::CACHE_CONTROL, format!("public, max-age={MAX_AGE_S}"))];
    (StatusCode::NOT_FOUND, headers, Json(body)).into_response()
}
