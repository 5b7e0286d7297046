//! Toolsets over REST.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;

use super::{NewToolset, Toolset, ToolsetContent, ToolsetPage, ToolsetSpec};
use crate::{
    app::App,
    caller::Caller,
    error::{ApiError, ReadProblems, WriteProblems},
    page::PageQuery,
    request::{Body, Path, Query},
    resource::{self, InTenant, Named, Patch, Precondition, Written},
};

/// Lists toolsets
///
/// In the order of their names.
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}/toolsets", tag = "toolsets", operation_id = "toolsets.list",
    params(InTenant, PageQuery),
    responses((status = 200, description = "A page of toolsets", body = ToolsetPage), ReadProblems))]
pub async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Result<ToolsetPage, ApiError> {
    resource::list(&app, &caller, &query).await
}

/// Gets a toolset
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}/toolsets/{name}", tag = "toolsets", operation_id = "toolsets.get",
    params(Named),
    responses((status = 200, description = "The toolset", body = Toolset, headers(("ETag" = String))), ReadProblems))]
pub async fn get(State(app): State<Arc<App>>, caller: Caller, Path(at): Path<Named>) -> Result<Toolset, ApiError> {
    resource::get(&app, &caller, &at.name).await
}

/// Creates a toolset
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/toolsets", tag = "toolsets", operation_id = "toolsets.create",
    params(InTenant), request_body = NewToolset,
    responses(
        (status = 201, description = "The new toolset", body = Toolset, headers(("ETag" = String), ("Location" = String))),
        WriteProblems))]
pub async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Body(new): Body<NewToolset>,
) -> Result<Written<ToolsetSpec>, ApiError> {
    resource::create(&app, &caller, new).await
}

/// Creates or replaces a toolset
///
/// Creates it when there is none of that name; else `If-Match` is required.
#[utoipa::path(put, path = "/api/v1/tenants/{tenant}/toolsets/{name}", tag = "toolsets", operation_id = "toolsets.replace",
    params(Named, Precondition), request_body = ToolsetContent,
    responses(
        (status = 200, description = "The toolset as replaced", body = Toolset, headers(("ETag" = String))),
        (status = 201, description = "The new toolset", body = Toolset, headers(("ETag" = String), ("Location" = String))),
        WriteProblems))]
pub async fn replace(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<Named>,
    precondition: Precondition,
    Body(content): Body<ToolsetContent>,
) -> Result<Written<ToolsetSpec>, ApiError> {
    resource::replace(&app, &caller, &at.name, &precondition, content).await
}

/// Changes parts of a toolset
///
/// With a JSON Merge Patch (RFC 7396) of `{labels, spec}`.
#[utoipa::path(patch, path = "/api/v1/tenants/{tenant}/toolsets/{name}", tag = "toolsets", operation_id = "toolsets.patch",
    params(Named, Precondition),
    request_body(content = Patch, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "The toolset as changed", body = Toolset, headers(("ETag" = String))), WriteProblems))]
pub async fn patch(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<Named>,
    precondition: Precondition,
    Body(patch): Body<Patch>,
) -> Result<Toolset, ApiError> {
    resource::patch(&app, &caller, &at.name, &precondition, &patch).await
}

/// Deletes a toolset
///
/// Its endpoint is gone from then on. Grants keep the scope that names it; it stands for nothing until a toolset of this
/// name exists again.
#[utoipa::path(delete, path = "/api/v1/tenants/{tenant}/toolsets/{name}", tag = "toolsets", operation_id = "toolsets.remove",
    params(Named, Precondition),
    responses((status = 204, description = "Deleted"), WriteProblems))]
pub async fn remove(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<Named>,
    precondition: Precondition,
) -> Result<StatusCode, ApiError> {
    resource::remove::<ToolsetSpec>(&app, &caller, &at.name, &precondition).await?;
    Ok(StatusCode::NO_CONTENT)
}
