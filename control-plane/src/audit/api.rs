//! The audit log over REST.

use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{AuditEventPage, Filter};
use crate::{
    app::App,
    caller::Caller,
    error::{ApiError, ReadProblems},
    page::PageQuery,
    request::{Query, moment},
    resource::InTenant,
};

/// Which events are asked for. Parameters that are left out do not restrict.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Who did it, as events have it.
    #[param(example = "user:ada@example.com")]
    actor: Option<String>,
    /// What was done; with `*` at its end, everything that begins so.
    #[param(example = "agent.*")]
    action: Option<String>,
    /// Name or id of what it was done to.
    object: Option<String>,
    /// The first moment that counts: RFC 3339, or a day in UTC.
    #[param(example = "2026-11-01")]
    from: Option<String>,
    /// The first moment that no longer counts: RFC 3339, or a day in UTC.
    #[param(example = "2026-12-01")]
    to: Option<String>,
    /// How many items at most: 50 unless told, 500 at most.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u16>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Lists audit events
///
/// What people and programs changed and were refused, the newest first.
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}/audit-events", tag = "audit",
    operation_id = "audit_events.list", params(InTenant, EventsQuery),
    responses((status = 200, description = "A page of events", body = AuditEventPage), ReadProblems,
        (status = 403, description = "The caller's role may not", body = crate::error::Problem,
            content_type = "application/problem+json")))]
pub async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(query): Query<EventsQuery>,
) -> Result<AuditEventPage, ApiError> {
    let EventsQuery { actor, action, object, from, to, limit, cursor } = query;
    let from = from.as_deref().map(|text| moment("from", text)).transpose()?;
    let to = to.as_deref().map(|text| moment("to", text)).transpose()?;
    super::list(&app, &caller, &Filter { actor, action, object, from, to }, &PageQuery { limit, cursor }).await
}
