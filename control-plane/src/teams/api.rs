//! Teams over REST.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;

use super::{NewTeam, Team, TeamContent, TeamPage, TeamSpec};
use crate::{
    app::App,
    caller::Caller,
    error::{ApiError, ReadProblems, WriteProblems},
    page::PageQuery,
    request::{Body, Path, Query},
    resource::{self, InTenant, Named, Patch, Precondition, Written},
};

/// Lists teams
///
/// In the order of their names.
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}/teams", tag = "teams", operation_id = "teams.list",
    params(InTenant, PageQuery),
    responses((status = 200, description = "A page of teams", body = TeamPage), ReadProblems))]
pub async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Result<TeamPage, ApiError> {
    resource::list(&app, &caller, &query).await
}

/// Gets a team
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}/teams/{name}", tag = "teams", operation_id = "teams.get",
    params(Named),
    responses((status = 200, description = "The team", body = Team, headers(("ETag" = String))), ReadProblems))]
pub async fn get(State(app): State<Arc<App>>, caller: Caller, Path(at): Path<Named>) -> Result<Team, ApiError> {
    resource::get(&app, &caller, &at.name).await
}

/// Creates a team
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/teams", tag = "teams", operation_id = "teams.create",
    params(InTenant), request_body = NewTeam,
    responses(
        (status = 201, description = "The new team", body = Team, headers(("ETag" = String), ("Location" = String))),
        WriteProblems))]
pub async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Body(new): Body<NewTeam>,
) -> Result<Written<TeamSpec>, ApiError> {
    resource::create(&app, &caller, new).await
}

/// Creates or replaces a team
///
/// Creates it when there is none of that name; else `If-Match` is required.
#[utoipa::path(put, path = "/api/v1/tenants/{tenant}/teams/{name}", tag = "teams", operation_id = "teams.replace",
    params(Named, Precondition), request_body = TeamContent,
    responses(
        (status = 200, description = "The team as replaced", body = Team, headers(("ETag" = String))),
        (status = 201, description = "The new team", body = Team, headers(("ETag" = String), ("Location" = String))),
        WriteProblems))]
pub async fn replace(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<Named>,
    precondition: Precondition,
    Body(content): Body<TeamContent>,
) -> Result<Written<TeamSpec>, ApiError> {
    resource::replace(&app, &caller, &at.name, &precondition, content).await
}

/// Changes parts of a team
///
/// With a JSON Merge Patch (RFC 7396) of `{labels, spec}`.
#[utoipa::path(patch, path = "/api/v1/tenants/{tenant}/teams/{name}", tag = "teams", operation_id = "teams.patch",
    params(Named, Precondition),
    request_body(content = Patch, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "The team as changed", body = Team, headers(("ETag" = String))), WriteProblems))]
pub async fn patch(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<Named>,
    precondition: Precondition,
    Body(patch): Body<Patch>,
) -> Result<Team, ApiError> {
    resource::patch(&app, &caller, &at.name, &precondition, &patch).await
}

/// Deletes a team
///
/// Refused while it owns agents or servers; grants to it go with it.
#[utoipa::path(delete, path = "/api/v1/tenants/{tenant}/teams/{name}", tag = "teams", operation_id = "teams.remove",
    params(Named, Precondition),
    responses((status = 204, description = "Deleted"), WriteProblems))]
pub async fn remove(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<Named>,
    precondition: Precondition,
) -> Result<StatusCode, ApiError> {
    resource::remove::<TeamSpec>(&app, &caller, &at.name, &precondition).await?;
    Ok(StatusCode::NO_CONTENT)
}
