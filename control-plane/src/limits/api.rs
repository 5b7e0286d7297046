//! Limits over REST.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;

use super::{Limit, LimitContent, LimitPage, LimitSpec, NewLimit};
use crate::{
    app::App,
    caller::Caller,
    error::{ApiError, ReadProblems, WriteProblems},
    page::PageQuery,
    request::{Body, Path, Query},
    resource::{self, InTenant, Named, Patch, Precondition, Written},
};

/// Lists limits
///
/// In the order of their names.
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}/limits", tag = "limits", operation_id = "limits.list",
    params(InTenant, PageQuery),
    responses((status = 200, description = "A page of limits", body = LimitPage), ReadProblems))]
pub async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Result<LimitPage, ApiError> {
    resource::list(&app, &caller, &query).await
}

/// Gets a limit
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}/limits/{name}", tag = "limits", operation_id = "limits.get",
    params(Named),
    responses((status = 200, description = "The limit", body = Limit, headers(("ETag" = String))), ReadProblems))]
pub async fn get(State(app): State<Arc<App>>, caller: Caller, Path(at): Path<Named>) -> Result<Limit, ApiError> {
    resource::get(&app, &caller, &at.name).await
}

/// Creates a limit
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/limits", tag = "limits", operation_id = "limits.create",
    params(InTenant), request_body = NewLimit,
    responses(
        (status = 201, description = "The new limit", body = Limit, headers(("ETag" = String), ("Location" = String))),
        WriteProblems))]
pub async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Body(new): Body<NewLimit>,
) -> Result<Written<LimitSpec>, ApiError> {
    resource::create(&app, &caller, new).await
}

/// Creates or replaces a limit
///
/// Creates it when there is none of that name; else `If-Match` is required.
#[utoipa::path(put, path = "/api/v1/tenants/{tenant}/limits/{name}", tag = "limits", operation_id = "limits.replace",
    params(Named, Precondition), request_body = LimitContent,
    responses(
        (status = 200, description = "The limit as replaced", body = Limit, headers(("ETag" = String))),
        (status = 201, description = "The new limit", body = Limit, headers(("ETag" = String), ("Location" = String))),
        WriteProblems))]
pub async fn replace(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<Named>,
    precondition: Precondition,
    Body(content): Body<LimitContent>,
) -> Result<Written<LimitSpec>, ApiError> {
    resource::replace(&app, &caller, &at.name, &precondition, content).await
}

/// Changes parts of a limit
///
/// With a JSON Merge Patch (RFC 7396) of `{labels, spec}`.
#[utoipa::path(patch, path = "/api/v1/tenants/{tenant}/limits/{name}", tag = "limits", operation_id = "limits.patch",
    params(Named, Precondition),
    request_body(content = Patch, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "The limit as changed", body = Limit, headers(("ETag" = String))), WriteProblems))]
pub async fn patch(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<Named>,
    precondition: Precondition,
    Body(patch): Body<Patch>,
) -> Result<Limit, ApiError> {
    resource::patch(&app, &caller, &at.name, &precondition, &patch).await
}

/// Deletes a limit
///
/// The agent's other limits stay.
#[utoipa::path(delete, path = "/api/v1/tenants/{tenant}/limits/{name}", tag = "limits", operation_id = "limits.remove",
    params(Named, Precondition),
    responses((status = 204, description = "Deleted"), WriteProblems))]
pub async fn remove(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<Named>,
    precondition: Precondition,
) -> Result<StatusCode, ApiError> {
    resource::remove::<LimitSpec>(&app, &caller, &at.name, &precondition).await?;
    Ok(StatusCode::NO_CONTENT)
}
