//! Limits over REST.

use std::sync::Arc;

use axum::{Json, extract::State};
use http::StatusCode;

use super::{Limit, LimitContent, LimitPage, LimitSpec, LimitUsePage, NewLimit, OneLimitUse, standing};
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

/// Lists how much of each limit is used
///
/// In the order of the limits' names, as the data planes that are connected to this control plane count it at this moment;
/// those that share a store count together. `complete` says whether all data planes answered. 503 when none did.
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}/limit-uses", tag = "limits", operation_id = "limits.uses",
    params(InTenant, PageQuery),
    responses((status = 200, description = "How much of each is used", body = LimitUsePage), ReadProblems))]
pub async fn uses(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Result<Json<LimitUsePage>, ApiError> {
    standing::uses(&app, &caller, &query).await.map(Json)
}

/// Shows how much of a limit is used
///
/// As the data planes that are connected to this control plane count it at this moment, and how many calls it refused in this
/// hour and the one before. 503 when no data plane answers.
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}/limits/{name}/use", tag = "limits", operation_id = "limits.use",
    params(Named),
    responses((status = 200, description = "How much of it is used", body = OneLimitUse), ReadProblems))]
pub async fn use_of(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<Named>,
) -> Result<Json<OneLimitUse>, ApiError> {
    standing::use_of(&app, &caller, &at.name).await.map(Json)
}
