//! Grants over REST.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;

use super::{Grant, GrantContent, GrantPage, GrantSpec, NewGrant};
use crate::{
    app::App,
    caller::Caller,
    error::{ApiError, ReadProblems, WriteProblems},
    page::PageQuery,
    request::{Body, Path, Query},
    resource::{self, InTenant, Named, Patch, Precondition, Written},
};

/// Lists grants
///
/// In the order of their names.
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}/grants", tag = "grants", operation_id = "grants.list",
    params(InTenant, PageQuery),
    responses((status = 200, description = "A page of grants", body = GrantPage), ReadProblems))]
pub async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Result<GrantPage, ApiError> {
    resource::list(&app, &caller, &query).await
}

/// Gets a grant
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}/grants/{name}", tag = "grants", operation_id = "grants.get",
    params(Named),
    responses((status = 200, description = "The grant", body = Grant, headers(("ETag" = String))), ReadProblems))]
pub async fn get(State(app): State<Arc<App>>, caller: Caller, Path(at): Path<Named>) -> Result<Grant, ApiError> {
    resource::get(&app, &caller, &at.name).await
}

/// Creates a grant
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/grants", tag = "grants", operation_id = "grants.create",
    params(InTenant), request_body = NewGrant,
    responses(
        (status = 201, description = "The new grant", body = Grant, headers(("ETag" = String), ("Location" = String))),
        WriteProblems))]
pub async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Body(new): Body<NewGrant>,
) -> Result<Written<GrantSpec>, ApiError> {
    resource::create(&app, &caller, new).await
}

/// Creates or replaces a grant
///
/// Creates it when there is none of that name; else `If-Match` is required.
#[utoipa::path(put, path = "/api/v1/tenants/{tenant}/grants/{name}", tag = "grants", operation_id = "grants.replace",
    params(Named, Precondition), request_body = GrantContent,
    responses(
        (status = 200, description = "The grant as replaced", body = Grant, headers(("ETag" = String))),
        (status = 201, description = "The new grant", body = Grant, headers(("ETag" = String), ("Location" = String))),
        WriteProblems))]
pub async fn replace(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<Named>,
    precondition: Precondition,
    Body(content): Body<GrantContent>,
) -> Result<Written<GrantSpec>, ApiError> {
    resource::replace(&app, &caller, &at.name, &precondition, content).await
}

/// Changes parts of a grant
///
/// With a JSON Merge Patch (RFC 7396) of `{labels, spec}`.
#[utoipa::path(patch, path = "/api/v1/tenants/{tenant}/grants/{name}", tag = "grants", operation_id = "grants.patch",
    params(Named, Precondition),
    request_body(content = Patch, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "The grant as changed", body = Grant, headers(("ETag" = String))), WriteProblems))]
pub async fn patch(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<Named>,
    precondition: Precondition,
    Body(patch): Body<Patch>,
) -> Result<Grant, ApiError> {
    resource::patch(&app, &caller, &at.name, &precondition, &patch).await
}

/// Deletes a grant
///
/// What it allowed is refused from then on; what it denied is decided by the other grants.
#[utoipa::path(delete, path = "/api/v1/tenants/{tenant}/grants/{name}", tag = "grants", operation_id = "grants.remove",
    params(Named, Precondition),
    responses((status = 204, description = "Deleted"), WriteProblems))]
pub async fn remove(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<Named>,
    precondition: Precondition,
) -> Result<StatusCode, ApiError> {
    resource::remove::<GrantSpec>(&app, &caller, &at.name, &precondition).await?;
    Ok(StatusCode::NO_CONTENT)
}
