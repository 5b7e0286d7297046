//! Data planes over REST.

use std::sync::Arc;

use axum::{Json, extract::State};
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::standing::{self, DataPlanePage};
use crate::{
    app::App,
    caller::InstallationCaller,
    error::{ApiError, ReadProblems, WriteProblems},
    request::Path,
};

/// Parameters of a path to a data plane.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct ToDataPlane {
    /// Id of the data plane.
    #[param(example = "dpl_01jd0000000000000000000000")]
    pub id: String,
}

/// Lists data planes
///
/// All that were seen or sent away within the last 30 days, the newest first, with what each serves, since when it is
/// stale, and how fast it enforces revocations.
#[utoipa::path(get, path = "/api/v1/data-planes", tag = "fleet", operation_id = "data_planes.list",
    responses((status = 200, description = "The data planes", body = DataPlanePage), ReadProblems))]
pub async fn list(State(app): State<Arc<App>>, caller: InstallationCaller) -> Result<Json<DataPlanePage>, ApiError> {
    standing::list(&app, &caller).await.map(Json)
}

/// Revokes a data plane
///
/// Its stream is closed at once, its certificate is refused from then on, and it serves no more calls once it has heard
/// of it. That is for ever: the machine comes back as another data plane, with an empty state directory.
#[utoipa::path(delete, path = "/api/v1/data-planes/{id}", tag = "fleet", operation_id = "data_planes.revoke",
    params(ToDataPlane), responses((status = 204, description = "Revoked"), WriteProblems))]
pub async fn revoke(
    State(app): State<Arc<App>>,
    caller: InstallationCaller,
    Path(at): Path<ToDataPlane>,
) -> Result<StatusCode, ApiError> {
    standing::revoke(&app, &caller, &at.id).await?;
    Ok(StatusCode::NO_CONTENT)
}
