//! Enrollment tokens over REST.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{EnrollmentTokenPage, EnrollmentTokenRequest, NewEnrollmentToken};
use crate::{
    app::App,
    caller::InstallationCaller,
    error::{ApiError, ReadProblems, WriteProblems},
    request::{Body, Path},
};

/// Parameters of a path to a token.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct ToToken {
    /// Id of the token.
    pub id: String,
}

/// Lists enrollment tokens
///
/// Without their texts, which are shown only once; the newest first.
#[utoipa::path(get, path = "/api/v1/enrollment-tokens", tag = "fleet", operation_id = "enrollment_tokens.list",
    responses((status = 200, description = "The tokens", body = EnrollmentTokenPage), ReadProblems))]
pub async fn list(State(app): State<Arc<App>>, caller: InstallationCaller) -> Result<EnrollmentTokenPage, ApiError> {
    super::list(&app, &caller).await
}

/// Makes an enrollment token
///
/// A data plane joins with it, as `TOLLGATE_ENROLLMENT_TOKEN`; for more than one give `uses`.
#[utoipa::path(post, path = "/api/v1/enrollment-tokens", tag = "fleet", operation_id = "enrollment_tokens.create",
    request_body = EnrollmentTokenRequest,
    responses((status = 201, description = "The token, shown this once", body = NewEnrollmentToken), WriteProblems))]
pub async fn create(
    State(app): State<Arc<App>>,
    caller: InstallationCaller,
    Body(asked): Body<EnrollmentTokenRequest>,
) -> Result<Response, ApiError> {
    let new = super::create(&app, &caller, &asked).await?;
    let mut response = (StatusCode::CREATED, Json(new)).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Deletes an enrollment token
///
/// Nobody joins with it from then on; who did stays.
#[utoipa::path(delete, path = "/api/v1/enrollment-tokens/{id}", tag = "fleet",
    operation_id = "enrollment_tokens.remove", params(ToToken),
    responses((status = 204, description = "Deleted"), WriteProblems))]
pub async fn remove(
    State(app): State<Arc<App>>,
    caller: InstallationCaller,
    Path(at): Path<ToToken>,
) -> Result<StatusCode, ApiError> {
    super::remove(&app, &caller, &at.id).await?;
    Ok(StatusCode::NO_CONTENT)
}
