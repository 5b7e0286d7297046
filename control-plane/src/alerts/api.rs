//! Alerts over REST.

use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Filter, RaisedAlertPage};
use crate::{
    app::App,
    caller::Caller,
    error::{ApiError, ReadProblems},
    page::PageQuery,
    request::Query,
    resource::InTenant,
};

/// Which alerts are asked for. Parameters that are left out do not restrict.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AlertsQuery {
    /// Those of this type.
    #[param(example = "limit.saturated")]
    r#type: Option<String>,
    /// How many items at most: 50 unless told, 500 at most.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u16>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Lists alerts
///
/// The newest first. Those of budgets are kept for 400 days, others for 30.
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}/alerts", tag = "alerts", operation_id = "alerts.list",
    params(InTenant, AlertsQuery),
    responses((status = 200, description = "A page of alerts", body = RaisedAlertPage), ReadProblems))]
pub async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(query): Query<AlertsQuery>,
) -> Result<RaisedAlertPage, ApiError> {
    let AlertsQuery { r#type, limit, cursor } = query;
    super::list(&app, &caller, &Filter { kind: r#type }, &PageQuery { limit, cursor }).await
}
