//! Sessions over REST.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Filter, Session, SessionPage};
use crate::{
    app::App,
    caller::Caller,
    error::{ApiError, ReadProblems, WriteProblems},
    page::PageQuery,
    request::{Path, Query},
    resource::InTenant,
};

/// Which sessions are asked for. Parameters that are left out do not restrict.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SessionsQuery {
    /// Name or id of the agent.
    agent: Option<String>,
    /// Name or id of a server that the session reaches, or at whose endpoint it was opened.
    server: Option<String>,
    /// How many items at most: 50 unless told, 500 at most. A page may have fewer, and a next one all the same.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u16>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Parameters of a path to a session.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct OfSession {
    /// Name or id of the tenant.
    #[param(example = "default")]
    pub tenant: String,
    /// Id of the session.
    #[param(example = "ses_01k5z7v9k3f0q8r2m4n6p8s0t2")]
    pub id: String,
}

/// Lists sessions
///
/// The newest first, as the data planes that are connected to this control plane know them at this moment. `complete` says
/// whether all data planes answered. 503 when none did.
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}/sessions", tag = "sessions", operation_id = "sessions.list",
    params(InTenant, SessionsQuery),
    responses((status = 200, description = "A page of sessions", body = SessionPage), ReadProblems))]
pub async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(query): Query<SessionsQuery>,
) -> Result<SessionPage, ApiError> {
    let SessionsQuery { agent, server, limit, cursor } = query;
    let filter = Filter { agent: agent.unwrap_or_default(), server: server.unwrap_or_default() };
    super::list(&app, &caller, &filter, &PageQuery { limit, cursor }).await
}

/// Gets a session
///
/// 503 when no data plane that answered has it, and others did not answer.
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}/sessions/{id}", tag = "sessions", operation_id = "sessions.get",
    params(OfSession),
    responses((status = 200, description = "The session", body = Session), ReadProblems))]
pub async fn get(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<OfSession>,
) -> Result<Json<Session>, ApiError> {
    super::get(&app, &caller, &at.id).await.map(Json)
}

/// Ends a session
///
/// As if its agent had deleted it: the agent's next request in it gets 404, its streams end, and the servers behind it are
/// sent a DELETE. A client that can will open another one.
#[utoipa::path(delete, path = "/api/v1/tenants/{tenant}/sessions/{id}", tag = "sessions", operation_id = "sessions.end",
    params(OfSession),
    responses((status = 204, description = "Ended"), WriteProblems))]
pub async fn end(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<OfSession>,
) -> Result<StatusCode, ApiError> {
    super::end(&app, &caller, &at.id).await.map(|_| StatusCode::NO_CONTENT)
}

impl IntoResponse for SessionPage {
    fn into_response(self) -> Response {
        Json(self).into_response()
    }
}
