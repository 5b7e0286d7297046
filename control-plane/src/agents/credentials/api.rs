//! Secrets of agents over REST.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{CredentialPage, NewCredential};
use crate::{
    app::App,
    caller::Caller,
    error::{ApiError, ReadProblems, WriteProblems},
    request::Path,
    resource::Named,
};

/// Parameters of a path to a secret.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct OfAgent {
    /// Name or id of the tenant.
    #[param(example = "default")]
    pub tenant: String,
    /// Name or id of the agent.
    pub name: String,
    /// Id of the secret.
    pub id: String,
}

/// Lists an agent's secrets
///
/// Without their texts, which are shown only once.
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}/agents/{name}/credentials", tag = "agents",
    operation_id = "agents.credentials.list", params(Named),
    responses((status = 200, description = "Its secrets", body = CredentialPage), ReadProblems))]
pub async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<Named>,
) -> Result<CredentialPage, ApiError> {
    super::list(&app, &caller, &at.name).await
}

/// Makes a secret for an agent
///
/// An agent has at most two at a time, so that one can be exchanged for the other without a pause.
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/agents/{name}/credentials", tag = "agents",
    operation_id = "agents.credentials.create", params(Named),
    responses(
        (status = 201, description = "The secret, shown this once", body = NewCredential,
            headers(("Location" = String))),
        WriteProblems))]
pub async fn create(State(app): State<Arc<App>>, caller: Caller, Path(at): Path<Named>) -> Result<Response, ApiError> {
    let new = super::create(&app, &caller, &at.name).await?;
    let agent = new.client_id;
    let location = format!("/api/v1/tenants/{}/agents/{agent}/credentials/{}", caller.tenant_name, new.id);
    let mut response = (StatusCode::CREATED, [(header::LOCATION, location)], Json(new)).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Deletes a secret of an agent
///
/// It gets no token from then on; tokens that it got live to their end.
#[utoipa::path(delete, path = "/api/v1/tenants/{tenant}/agents/{name}/credentials/{id}", tag = "agents",
    operation_id = "agents.credentials.remove", params(OfAgent),
    responses((status = 204, description = "Deleted"), WriteProblems))]
pub async fn remove(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<OfAgent>,
) -> Result<StatusCode, ApiError> {
    super::remove(&app, &caller, &at.name, &at.id).await?;
    Ok(StatusCode::NO_CONTENT)
}
