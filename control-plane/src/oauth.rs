//! The authorization server of every tenant (OAuth 2.1): who may call, for whom, and until when.
//!
//! Where things are, in the order in which a client meets them:
//!
//! - what anyone may read: `metadata.rs`, `jwks.rs`;
//! - becoming a client: `register.rs` (RFC 7591, 7592) and `client_document.rs` (Client ID Metadata Documents), which both
//!   read `client_metadata.rs` and end in `enrolment.rs`; `client.rs` is what comes of it;
//! - asking a user: `authorize.rs`, with `transaction.rs` (the request, sealed) and `consent.rs` (what was allowed);
//! - asking for tokens: `token.rs`, one file below it for each grant type, over `form.rs`, `client_auth.rs` (and
//!   `assertion.rs`, `client_keys.rs`), `target.rs` (for which endpoint), `scope_policy.rs` (to do what)
//!   and `toolsets.rs` (which scopes stand for which); `wording.rs` is what people read of scopes;
//!   `authorizations.rs` are the grant families, `access_token.rs` writes tokens with a key of `keys.rs`;
//! - asking about tokens and ending them: `introspect.rs`, `revoke.rs`;
//! - around all of it: `observed.rs` (metrics, audit of refusals), `error.rs` (every refusal), `purge.rs`.
//!
//! Token exchange, device authorization and further grant types would be files below `token/`, pushed requests one beside
//! `authorize.rs`, sender-constrained tokens a part of `client_auth.rs` and `access_token.rs`.
//!
//! Invariant: a fault of ours is never told as a fault of the client. When Postgres is away the answer is 503
//! `temporarily_unavailable`, because clients throw their credentials away on `invalid_client`.

use std::sync::Arc;

use axum::{
    Router,
    http::{HeaderName, HeaderValue, header},
    middleware::{from_fn_with_state, map_response},
    response::{IntoResponse, Response},
    routing::{MethodRouter, any, get, post},
};

use crate::app::App;

mod access_token;
mod assertion;
mod attempts;
mod authorizations;
mod authorize;
pub mod client;
mod client_auth;
pub mod client_document;
pub mod client_keys;
pub mod client_metadata;
pub mod consent;
mod document;
mod enrolment;
mod error;
mod form;
mod introspect;
mod issuer;
mod jwks;
pub mod keys;
mod metadata;
mod observed;
mod purge;
pub mod redirect_uri;
mod register;
mod revoke;
mod scope_policy;
mod sql;
mod target;
pub mod token;
mod toolsets;
mod transaction;
pub(crate) mod wording;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use access_token::Known;
pub use access_token::{Format as AccessTokenFormat, Verifiers};
pub use attempts::Failures;
pub(crate) use authorize::{decline_path, wanted_by};
pub use client_document::ClientDocuments;
pub use client_keys::ClientKeys;
pub use introspect::Misses;
pub(crate) use introspect::liveness;
pub use issuer::Issuers;
pub use keys::KeyRing;
pub use metadata::Policies;
pub use observed::Trail;
pub use purge::purge;
pub use register::{Pace as RegistrationPace, reap};
pub use scope_policy::ScopeRefusal;
pub use target::TargetError;

/// Routes of all OAuth endpoints.
pub fn routes(app: &Arc<App>) -> Router<Arc<App>> {
    // Any web page may call these: none of them reads a cookie.
    let public = Router::new()
        .route("/.well-known/oauth-authorization-server/t/{tenant}", read_only(get(metadata::show)))
        .route("/t/{tenant}/.well-known/oauth-authorization-server", read_only(get(metadata::show)))
        .route("/t/{tenant}/oauth/jwks", read_only(get(jwks::show)))
        .route("/t/{tenant}/oauth/token", post(token::answer).options(preflight).fallback(error::token_method))
        .route("/t/{tenant}/oauth/register", post(register::create).options(preflight).fallback(error::token_method))
        .route("/t/{tenant}/oauth/register/{client_id}", registration())
        .route("/t/{tenant}/oauth/revoke", post(revoke::answer).options(preflight).fallback(error::token_method))
        .layer(map_response(allow_any_origin));
    let observed = Router::new()
        .merge(public)
        .merge(authorize::routes(app))
        .route("/t/{tenant}/oauth/introspect", post(introspect::answer).fallback(error::introspection_method))
        .route_layer(from_fn_with_state(Arc::clone(app), observed::observe));
    Router::new()
        .merge(observed)
        .route("/.well-known/oauth-authorization-server", any(metadata::absent))
        .route("/.well-known/openid-configuration", any(metadata::absent))
        .route("/.well-known/openid-configuration/t/{tenant}", any(metadata::absent))
        .route("/t/{tenant}/.well-known/openid-configuration", any(metadata::absent))
}

fn read_only(methods: MethodRouter<Arc<App>>) -> MethodRouter<Arc<App>> {
    methods.options(preflight).fallback(error::document_method)
}

fn registration() -> MethodRouter<Arc<App>> {
    get(register::management::show)
        .put(register::management::replace)
        .delete(register::management::remove)
        .options(preflight)
        .fallback(error::registration_method)
}

/// Answers the question that a browser asks before it sends a form with an `Authorization` header, or a discovery
/// request with the MCP version in a header.
async fn preflight() -> Response {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, POST, PUT, DELETE"),
        // `*` would not cover `Authorization` (Fetch standard, CORS protocol).
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, Content-Type, MCP-Protocol-Version"),
        (header::ACCESS_CONTROL_MAX_AGE, "3600"),
    ];
    (axum::http::StatusCode::NO_CONTENT, headers).into_response()
}

async fn allow_any_origin(mut response: Response) -> Response {
    const HEADERS: [(HeaderName, HeaderValue); 2] = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("WWW-Authenticate, Retry-After")),
    ];
    response.headers_mut().extend(HEADERS);
    response
}
