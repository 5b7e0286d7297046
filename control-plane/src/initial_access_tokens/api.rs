//! Initial access tokens over REST.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{InitialAccessTokenPage, NewInitialAccessToken, TokenRequest};
use crate::{
    app::App,
    caller::Caller,
    error::{ApiError, ReadProblems, WriteProblems},
    request::{Body, Path},
    resource::InTenant,
};

/// Parameters of a path to a token.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct OfTenant {
    /// Name or id of the tenant.
    #[param(example = "default")]
    pub tenant: String,
    /// Id of the token.
    pub id: String,
}

/// Lists initial access tokens
///
/// Without their texts, which are shown only once; the newest first.
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}/initial-access-tokens", tag = "agents",
    operation_id = "initial_access_tokens.list", params(InTenant),
    responses((status = 200, description = "The tokens", body = InitialAccessTokenPage), ReadProblems))]
pub async fn list(State(app): State<Arc<App>>, caller: Caller) -> Result<InitialAccessTokenPage, ApiError> {
    super::list(&app, &caller).await
}

/// Makes an initial access token
///
/// With which clients may register themselves where the tenant's `client_registration` asks for one.
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/initial-access-tokens", tag = "agents",
    operation_id = "initial_access_tokens.create", params(InTenant), request_body = TokenRequest,
    responses((status = 201, description = "The token, shown this once", body = NewInitialAccessToken), WriteProblems))]
pub async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Body(asked): Body<TokenRequest>,
) -> Result<Response, ApiError> {
    let new = super::create(&app, &caller, &asked).await?;
    let mut response = (StatusCode::CREATED, Json(new)).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Deletes an initial access token
///
/// Nobody registers with it from then on; who did stays registered.
#[utoipa::path(delete, path = "/api/v1/tenants/{tenant}/initial-access-tokens/{id}", tag = "agents",
    operation_id = "initial_access_tokens.remove", params(OfTenant),
    responses((status = 204, description = "Deleted"), WriteProblems))]
pub async fn remove(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<OfTenant>,
) -> Result<StatusCode, ApiError> {
    super::remove(&app, &caller, &at.id).await?;
    Ok(StatusCode::NO_CONTENT)
}
