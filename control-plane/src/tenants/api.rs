//! Tenants over REST.

use std::sync::Arc;

use axum::{Json, extract::State};
use http::HeaderMap;

use super::Tenant;
use crate::{
    app::App,
    caller::Caller,
    error::{ApiError, ReadProblems, WriteProblems},
    request::{Body, Path},
    resource::{self, InTenant, Patch, Precondition},
    revocations::Outcome,
    tenants,
};

/// Gets a tenant
///
/// With its addresses, and how far its policy has come.
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}", tag = "tenants", operation_id = "tenants.get",
    params(InTenant),
    responses((status = 200, description = "The tenant", body = Tenant, headers(("ETag" = String))), ReadProblems))]
pub async fn get(State(app): State<Arc<App>>, caller: Caller, Path(at): Path<InTenant>) -> Result<Tenant, ApiError> {
    resource::get(&app, &caller, &at.tenant).await
}

/// Changes parts of a tenant
///
/// With a JSON Merge Patch (RFC 7396) of `{labels, spec}`.
#[utoipa::path(patch, path = "/api/v1/tenants/{tenant}", tag = "tenants", operation_id = "tenants.patch",
    params(InTenant, Precondition),
    request_body(content = Patch, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "The tenant as changed", body = Tenant, headers(("ETag" = String))),
        WriteProblems))]
pub async fn patch(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<InTenant>,
    precondition: Precondition,
    Body(patch): Body<Patch>,
) -> Result<Tenant, ApiError> {
    resource::patch(&app, &caller, &at.tenant, &precondition, &patch).await
}

/// Dispatches `POST …/tenants/{tenant}:{action}`, since a route cannot end in a suffix of a parameter. Who asks is found
/// here: the parameter is no tenant's name.
pub async fn act(
    State(app): State<Arc<App>>,
    Path(at): Path<InTenant>,
    headers: HeaderMap,
) -> Result<Json<Outcome>, ApiError> {
    let (tenant, action) = at.tenant.rsplit_once(':').ok_or(ApiError::MethodNotAllowed)?;
    let caller = Caller::of(&app, &headers, tenant).await?;
    match action {
        "revoke-tokens" => revoke_tokens(&app, &caller).await.map(Json),
        _ => Err(ApiError::NoRoute),
    }
}

/// Revokes all tokens of a tenant
///
/// Every access token issued before now, and every approval that a user gave an agent. Agents that act for themselves
/// get new tokens at once; users are asked again. Needs the role `owner`.
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}:revoke-tokens", tag = "tenants",
    operation_id = "tenants.revoke_tokens", params(InTenant),
    responses((status = 200, description = "How far the revocation has come", body = Outcome), WriteProblems))]
pub(crate) async fn revoke_tokens(app: &App, caller: &Caller) -> Result<Outcome, ApiError> {
    tenants::revoke_tokens(app, caller).await
}
