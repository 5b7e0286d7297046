//! Signing keys over REST.

use std::sync::Arc;

use axum::{
    Json,
    extract::{FromRequest as _, Request, State},
};
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::rotation::{self, SigningKeys};
use crate::{
    app::App,
    caller::Caller,
    error::{ApiError, ReadProblems, WriteProblems},
    request::{Body, Path},
    resource::InTenant,
    revocations::Outcome,
};

/// Parameters of a path to a signing key.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct OfKey {
    /// Name or id of the tenant.
    #[param(example = "default")]
    pub tenant: String,
    /// The key's `kid`.
    pub kid: String,
}

/// How to rotate.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// Lets the new key sign at once, even where data planes do not know it yet: they refuse its tokens until they do.
    #[serde(default)]
    pub now: bool,
}

/// Lists signing keys
///
/// All that are not removed yet, the newest first.
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}/signing-keys", tag = "signing-keys",
    operation_id = "signing_keys.list", params(InTenant),
    responses((status = 200, description = "The keys", body = SigningKeys), ReadProblems))]
pub async fn list(State(app): State<Arc<App>>, caller: Caller) -> Result<Json<SigningKeys>, ApiError> {
    rotation::list(&app, &caller).await.map(Json)
}

/// Rotates the signing keys
///
/// Publishes a new key, waits at most 10 s until every connected data plane has acknowledged the policy that contains
/// it, and lets it sign. What the old key signed stays good until it expires. The body may be left out. Answers 409
/// `key_not_distributed` when a data plane does not know the key in time: it stays the next one.
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/signing-keys:rotate", tag = "signing-keys",
    operation_id = "signing_keys.rotate", params(InTenant), request_body = Option<Rotation>,
    responses((status = 200, description = "The keys as they are now", body = SigningKeys), WriteProblems))]
pub async fn rotate(
    State(app): State<Arc<App>>,
    caller: Caller,
    request: Request,
) -> Result<Json<SigningKeys>, ApiError> {
    let Body(wanted): Body<Option<Rotation>> =
        if request.headers().contains_key(CONTENT_TYPE) { Body::from_request(request, &()).await? } else { Body(None) };
    rotation::rotate(&app, &caller, wanted.unwrap_or_default().now).await.map(Json)
}

/// Dispatches `POST …/signing-keys/{kid}:{action}`, since a route cannot end in a suffix of a parameter.
pub async fn act(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<OfKey>,
) -> Result<Json<Outcome>, ApiError> {
    match at.kid.rsplit_once(':') {
        Some((kid, "revoke")) => revoke(&app, &caller, kid).await.map(Json),
        Some(_) => Err(ApiError::NoRoute),
        None => Err(ApiError::MethodNotAllowed),
    }
}

/// Revokes a signing key
///
/// For a key that is compromised: everything it signed is refused from now on, and agents get themselves new tokens.
/// Where it is the one that signs, a new one takes its place. Needs the role `owner`.
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/signing-keys/{kid}:revoke", tag = "signing-keys",
    operation_id = "signing_keys.revoke", params(OfKey),
    responses((status = 200, description = "How far the revocation has come", body = Outcome), WriteProblems))]
pub(crate) async fn revoke(app: &App, caller: &Caller, kid: &str) -> Result<Outcome, ApiError> {
    rotation::revoke(app, caller, kid).await
}
