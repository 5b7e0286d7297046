//! Agents over REST.

use std::sync::Arc;

use axum::{
    Json,
    extract::{FromRequest as _, Request, State},
    response::{IntoResponse, Response},
};
use http::{
    StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};

use super::{Agent, AgentContent, AgentPage, AgentSpec, AgentState, NewAgent};
use crate::{
    agents,
    app::App,
    caller::{Caller, Role},
    error::{ApiError, ReadProblems, WriteProblems},
    oauth::{
        keys::KeyError,
        token::{IssueError, Issued, OperatorRequest, issue_for_operator},
    },
    page::PageQuery,
    request::{Body, Path, Query},
    resource::{self, InTenant, Kind as _, Named, Patch, Precondition, Written},
    revocations::Outcome,
};

/// Lists agents
///
/// In the order of their names.
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}/agents", tag = "agents", operation_id = "agents.list",
    params(InTenant, PageQuery),
    responses((status = 200, description = "A page of agents", body = AgentPage), ReadProblems))]
pub async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Result<AgentPage, ApiError> {
    resource::list(&app, &caller, &query).await
}

/// Gets an agent
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}/agents/{name}", tag = "agents", operation_id = "agents.get",
    params(Named),
    responses((status = 200, description = "The agent", body = Agent, headers(("ETag" = String))), ReadProblems))]
pub async fn get(State(app): State<Arc<App>>, caller: Caller, Path(at): Path<Named>) -> Result<Agent, ApiError> {
    resource::get(&app, &caller, &at.name).await
}

/// Creates an agent
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/agents", tag = "agents", operation_id = "agents.create",
    params(InTenant), request_body = NewAgent,
    responses(
        (status = 201, description = "The new agent", body = Agent, headers(("ETag" = String), ("Location" = String))),
        WriteProblems))]
pub async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Body(new): Body<NewAgent>,
) -> Result<Written<AgentSpec>, ApiError> {
    resource::create(&app, &caller, new).await
}

/// Creates or replaces an agent
///
/// Creates it when there is none of that name; else `If-Match` is required.
#[utoipa::path(put, path = "/api/v1/tenants/{tenant}/agents/{name}", tag = "agents", operation_id = "agents.replace",
    params(Named, Precondition), request_body = AgentContent,
    responses(
        (status = 200, description = "The agent as replaced", body = Agent, headers(("ETag" = String))),
        (status = 201, description = "The new agent", body = Agent, headers(("ETag" = String), ("Location" = String))),
        WriteProblems))]
pub async fn replace(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<Named>,
    precondition: Precondition,
    Body(content): Body<AgentContent>,
) -> Result<Written<AgentSpec>, ApiError> {
    resource::replace(&app, &caller, &at.name, &precondition, content).await
}

/// Changes parts of an agent
///
/// With a JSON Merge Patch (RFC 7396) of `{labels, spec}`.
#[utoipa::path(patch, path = "/api/v1/tenants/{tenant}/agents/{name}", tag = "agents", operation_id = "agents.patch",
    params(Named, Precondition),
    request_body(content = Patch, content_type = "application/merge-patch+json"),
    responses((status = 200, description = "The agent as changed", body = Agent, headers(("ETag" = String))), WriteProblems))]
pub async fn patch(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<Named>,
    precondition: Precondition,
    Body(patch): Body<Patch>,
) -> Result<Agent, ApiError> {
    resource::patch(&app, &caller, &at.name, &precondition, &patch).await
}

/// Deletes an agent
///
/// Its secrets, its limits and the grants to it go with it, and its tokens are revoked.
#[utoipa::path(delete, path = "/api/v1/tenants/{tenant}/agents/{name}", tag = "agents", operation_id = "agents.remove",
    params(Named, Precondition),
    responses((status = 204, description = "Deleted"), WriteProblems))]
pub async fn remove(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<Named>,
    precondition: Precondition,
) -> Result<StatusCode, ApiError> {
    resource::remove::<AgentSpec>(&app, &caller, &at.name, &precondition).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Dispatches `POST …/agents/{name}:{action}`, since a route cannot end in a suffix of a parameter. Each action is
/// documented where it is done.
pub async fn act(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<Named>,
    request: Request,
) -> Result<Response, ApiError> {
    let (name, action) = at.name.rsplit_once(':').ok_or(ApiError::MethodNotAllowed)?;
    match action {
        "suspend" => suspend(&app, &caller, name).await.map(IntoResponse::into_response),
        "approve" => approve(&app, &caller, name).await.map(IntoResponse::into_response),
        "activate" => activate(&app, &caller, name).await.map(IntoResponse::into_response),
        "revoke" => revoke(&app, &caller, name).await.map(|done| Json(done).into_response()),
        "token" => token(&app, &caller, name, request).await,
        _ => Err(ApiError::NoRoute),
    }
}

/// Suspends an agent
///
/// It gets no token and its calls are refused, until it is activated. Its tokens are revoked.
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/agents/{name}:suspend", tag = "agents",
    operation_id = "agents.suspend", params(Named),
    responses((status = 200, description = "The agent", body = Agent, headers(("ETag" = String))), WriteProblems))]
pub(crate) async fn suspend(app: &App, caller: &Caller, name: &str) -> Result<Agent, ApiError> {
    agents::set_state(app, caller, name, AgentState::Suspended).await
}

/// Approves an agent that registered itself
///
/// Where the tenant's `client_registration` says `approval`, it may do nothing before. What it may do then is what is
/// granted to it.
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/agents/{name}:approve", tag = "agents",
    operation_id = "agents.approve", params(Named),
    responses((status = 200, description = "The agent", body = Agent, headers(("ETag" = String))), WriteProblems))]
pub(crate) async fn approve(app: &App, caller: &Caller, name: &str) -> Result<Agent, ApiError> {
    agents::approve(app, caller, name).await
}

/// Activates a suspended agent
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/agents/{name}:activate", tag = "agents",
    operation_id = "agents.activate", params(Named),
    responses((status = 200, description = "The agent", body = Agent, headers(("ETag" = String))), WriteProblems))]
pub(crate) async fn activate(app: &App, caller: &Caller, name: &str) -> Result<Agent, ApiError> {
    agents::set_state(app, caller, name, AgentState::Active).await
}

/// Revokes an agent's tokens
///
/// Every access token issued before now, and every approval that a user gave it, with their refresh tokens. Its secrets
/// stay: deleting a secret revokes no token, and revoking tokens deletes no secret.
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/agents/{name}:revoke", tag = "agents",
    operation_id = "agents.revoke", params(Named),
    responses((status = 200, description = "How far the revocation has come", body = Outcome), WriteProblems))]
pub(crate) async fn revoke(app: &App, caller: &Caller, name: &str) -> Result<Outcome, ApiError> {
    agents::revoke(app, caller, name).await
}

/// Issues a token in an agent's name
///
/// With everything that is granted to it for the resource, for at most five minutes, so that a person can call a tool
/// as the agent would. The body may be left out.
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/agents/{name}:token", tag = "agents",
    operation_id = "agents.token", params(Named), request_body = Option<OperatorRequest>,
    responses((status = 200, description = "The token", body = Issued), WriteProblems))]
pub(crate) async fn token(app: &App, caller: &Caller, name: &str, request: Request) -> Result<Response, ApiError> {
    caller.require(Role::Operator)?;
    let Body(wanted): Body<Option<OperatorRequest>> =
        if request.headers().contains_key(CONTENT_TYPE) { Body::from_request(request, &()).await? } else { Body(None) };
    let resource = wanted.and_then(|wanted| wanted.resource);
    let issued = issue_for_operator(app, caller.tenant, name, resource.as_deref(), &caller.actor).await;
    let issued = issued.map_err(|error| match error {
        IssueError::UnknownAgent => ApiError::NotFound { noun: AgentSpec::NOUN, key: name.to_owned() },
        IssueError::Suspended => ApiError::AgentSuspended,
        IssueError::Target(error) => ApiError::fault("/resource", "invalid_target", error.to_string()),
        IssueError::Scope(error) => ApiError::fault("/resource", "invalid_scope", error.to_string()),
        IssueError::Storage(error) | IssueError::Key(KeyError::Storage(error)) => error.into(),
        IssueError::Key(error) => ApiError::internal(error),
    })?;
    Ok(([(CACHE_CONTROL, "no-store")], Json(issued)).into_response())
}
