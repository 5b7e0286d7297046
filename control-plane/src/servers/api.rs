//! Servers over REST.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;

use super::{NewServer, Server, ServerContent, ServerPage, ServerSpec};
use crate::{
    app::App,
    caller::Caller,
    catalog,
    error::{ApiError, ReadProblems, WriteProblems},
    page::PageQuery,
    request::{Body, Path, Query},
    resource::{self, InTenant, Named, Patch, Precondition, Written},
};

/// Lists servers
///
/// In the order of their names.
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}/servers", tag = "servers", operation_id = "servers.list",
    params(InTenant, PageQuery),
    responses((status = 200, description = "A page of servers", body = ServerPage), ReadProblems))]
pub async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Result<ServerPage, ApiError> {
    resource::list(&app, &caller, &query).await
}

/// Gets a server
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}/servers/{name}", tag = "servers", operation_id = "servers.get",
    params(Named),
    responses((status = 200, description = "The server", body = Server, headers(("ETag" = String))), ReadProblems))]
pub async fn get(State(app): State<Arc<App>>, caller: Caller, Path(at): Path<Named>) -> Result<Server, ApiError> {
    resource::get(&app, &caller, &at.name).await
}

/// Creates a server
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/servers", tag = "servers", operation_id = "servers.create",
    params(InTenant), request_body = NewServer,
    responses(
        (status = 201, description = "The new server", body = Server, headers(("ETag" = String), ("Location" = String))),
        WriteProblems))]
pub async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Body(new): Body<NewServer>,
) -> Result<Written<ServerSpec>, ApiError> {
    resource::create(&app, &caller, new).await
}

/// Creates or replaces a server
///
/// Creates it when there is none of that name; else `If-Match` is required.
#[utoipa::path(put, path = "/api/v1/tenants/{tenant}/servers/{name}", tag = "servers", operation_id = "servers.replace",
    params(Named, Precondition), request_body = ServerContent,
    responses(
        (status = 200, description = "The server as replaced", body = Server, headers(("ETag" = String))),
        (status = 201, description = "The new server", body = Server, headers(("ETag" = String), ("Location" = String))),
        WriteProblems))]
pub async fn replace(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<Named>,
    precondition: Precondition,
    Body(content): Body<ServerContent>,
) -> Result<Written<ServerSpec>, ApiError> {
    resource::replace(&app, &caller, &at.name, &precondition, content).await
}

/// Changes parts of a server
///
/// With a JSON Merge Patch (RFC 7396) of `{labels, spec}`.
#[utoipa::path(patch, path = "/api/v1/tenants/{tenant}/servers/{name}", tag = "servers", operation_id = "servers.patch",
    params(Named, Precondition),
    request_body(content = Patch, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "The server as changed", body = Server, headers(("ETag" = String))), WriteProblems))]
pub async fn patch(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<Named>,
    precondition: Precondition,
    Body(patch): Body<Patch>,
) -> Result<Server, ApiError> {
    resource::patch(&app, &caller, &at.name, &precondition, &patch).await
}

/// Deletes a server
///
/// Scopes that name it stay in grants and allow nothing until a server of that name exists again.
#[utoipa::path(delete, path = "/api/v1/tenants/{tenant}/servers/{name}", tag = "servers", operation_id = "servers.remove",
    params(Named, Precondition),
    responses((status = 204, description = "Deleted"), WriteProblems))]
pub async fn remove(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<Named>,
    precondition: Precondition,
) -> Result<StatusCode, ApiError> {
    resource::remove::<ServerSpec>(&app, &caller, &at.name, &precondition).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Dispatches `POST …/servers/{name}:{action}`, since a route cannot end in a suffix of a parameter. Each action is
/// documented where it is done.
pub async fn act(State(app): State<Arc<App>>, caller: Caller, Path(at): Path<Named>) -> Result<Server, ApiError> {
    let (name, action) = at.name.rsplit_once(':').ok_or(ApiError::MethodNotAllowed)?;
    match action {
        "read-catalog" => read_catalog(&app, &caller, name).await,
        _ => Err(ApiError::NoRoute),
    }
}

/// Reads what a server offers
///
/// Has a data plane ask the server for everything, and answers when that is in the catalog: `status.catalog` says what
/// was read. 503 when no data plane could.
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/servers/{name}:read-catalog", tag = "servers",
    operation_id = "servers.read_catalog", params(Named),
    responses((status = 200, description = "The server", body = Server, headers(("ETag" = String))), WriteProblems))]
pub(crate) async fn read_catalog(app: &App, caller: &Caller, name: &str) -> Result<Server, ApiError> {
    catalog::read_now(app, caller, name).await
}
