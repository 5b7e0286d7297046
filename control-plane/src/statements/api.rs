//! Statements over REST.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use chrono::Utc;
use http::{
    StatusCode,
    header::{CONTENT_DISPOSITION, CONTENT_TYPE},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{FullStatement, Statement, sheet};
use crate::{
    app::App,
    caller::Caller,
    error::{ApiError, ReadProblems, WriteProblems},
    request::{Body, Path, Query},
    resource::InTenant,
};

/// Which month is closed.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Closing {
    /// A calendar month in the tenant's time zone, which has been over for 72 hours and follows the last one that was closed.
    #[schema(example = "2026-10", pattern = r"^\d{4}-\d{2}$")]
    period: String,
    /// Whether not to wait for the 72 hours in which usage may still arrive.
    #[serde(default)]
    force: bool,
    /// Why; `force` needs one, and the audit log keeps it.
    reason: Option<String>,
}

/// Which statements are listed.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StatementsQuery {
    /// Those of this month only.
    #[param(example = "2026-10")]
    period: Option<String>,
}

/// Parameters of the path to a statement.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct StatementPath {
    /// Name or id of the tenant.
    #[param(example = "default")]
    pub tenant: String,
    /// The statement's id.
    pub id: String,
}

/// How a statement is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// `application/json`.
    #[default]
    Json,
    /// `text/csv` (RFC 4180) of its lines, with a header line: what `sha256` is of.
    Csv,
}

/// How a statement is asked for.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StatementQuery {
    /// How to write it: `json` unless told.
    #[param(inline)]
    format: Option<Format>,
}

/// Statements.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Statements {
    /// The newest month first, then by team and currency; what was charged to no team comes first.
    items: Vec<Statement>,
}

/// Closes a month
///
/// Into one statement for each team and currency, which never change. What is stored later, and what differs then, is
/// stated in corrections of a later month.
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/statements", tag = "usage", operation_id = "statements.close",
    params(InTenant), request_body = Closing,
    responses((status = 201, description = "The month's statements", body = Statements), WriteProblems))]
pub async fn close(
    State(app): State<Arc<App>>,
    caller: Caller,
    Body(closing): Body<Closing>,
) -> Result<(StatusCode, Json<Statements>), ApiError> {
    let Closing { period, force, reason } = &closing;
    let closing = super::Closing { period, force: *force, reason: reason.as_deref(), now: Utc::now() };
    let items = super::close(&app, &caller, closing).await?;
    Ok((StatusCode::CREATED, Json(Statements { items })))
}

/// Lists statements
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}/statements", tag = "usage", operation_id = "statements.list",
    params(InTenant, StatementsQuery),
    responses((status = 200, description = "The statements", body = Statements), ReadProblems))]
pub async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(query): Query<StatementsQuery>,
) -> Result<Json<Statements>, ApiError> {
    Ok(Json(Statements { items: super::list(&app, &caller, query.period.as_deref()).await? }))
}

/// Gets a statement with its lines
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}/statements/{id}", tag = "usage", operation_id = "statements.get",
    params(StatementPath, StatementQuery),
    responses((status = 200, description = "The statement",
        content((FullStatement = "application/json"), (String = "text/csv"))), ReadProblems))]
pub async fn get(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<StatementPath>,
    Query(query): Query<StatementQuery>,
) -> Result<Response, ApiError> {
    Ok(answer(super::get(&app, &caller, &at.id).await?, query.format.unwrap_or_default()))
}

/// A statement in the form that is asked for.
pub(crate) fn answer(full: FullStatement, format: Format) -> Response {
    match format {
        Format::Json => Json(full).into_response(),
        Format::Csv => {
            let Statement { period, id, currency, .. } = &full.statement;
            let file = format!("attachment; filename=\"statement-{period}-{id}.csv\"");
            let headers = [(CONTENT_TYPE, "text/csv; charset=utf-8; header=present"), (CONTENT_DISPOSITION, &file)];
            (headers, sheet::write(currency, &full.items)).into_response()
        }
    }
}
