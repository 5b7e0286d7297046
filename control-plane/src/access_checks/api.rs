//! Access checks over REST.

use std::sync::Arc;

use axum::{Json, extract::State};

use super::{AccessAnswer, AccessCheck};
use crate::{
    app::App,
    caller::Caller,
    error::{ApiError, WriteProblems},
    request::Body,
    resource::InTenant,
};

/// Asks whether an agent could use something
///
/// Nothing is called and nothing is changed: the evaluator of the data planes is asked, on the policy that they were
/// last sent. Every role may ask.
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/access-checks", tag = "grants",
    operation_id = "access_checks.create", params(InTenant), request_body = AccessCheck,
    responses((status = 200, description = "What would come of it", body = AccessAnswer), WriteProblems))]
pub async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Body(asked): Body<AccessCheck>,
) -> Result<Json<AccessAnswer>, ApiError> {
    super::check(&app, &caller, &asked).await.map(Json)
}
