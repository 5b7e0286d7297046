//! What people and programs changed, and what they were refused: one event for each, read by who may look.
//!
//! Invariant: a change and its event are one transaction, and no event is ever rewritten.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    app::App,
    caller::{Caller, Role},
    client_address,
    db::TenantTx,
    error::ApiError,
    page::{Listing, Page, PageQuery},
    request_id,
};

pub mod api;
mod sql;
#[cfg(test)]
mod tests;

/// What was done to what.
#[derive(Debug, Clone)]
pub struct Event<'a> {
    /// Who did it: `user:…`, `api-key:…`, `agent:…` or `system`.
    pub actor: &'a str,
    /// `team.create`, `agent.credential.create`, …
    pub action: &'a str,
    /// `team`, `agent`, …
    pub object_kind: &'a str,
    /// The object's id in its outer form.
    pub object_id: &'a str,
    /// The object's name at that time.
    pub object_name: &'a str,
    /// What changed; never a secret.
    pub detail: Value,
}

/// The request that an event comes from.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// Who sent it.
    pub(crate) peer: Option<IpAddr>,
    /// As `X-Request-Id` has it.
    pub(crate) request_id: String,
}

impl Origin {
    /// The request that is being answered, or none.
    pub(crate) fn current() -> Self {
        Self { peer: client_address::current(), request_id: request_id::current() }
    }
}

/// Writes `event` into the transaction that makes it true.
///
/// # Errors
/// When Postgres is away.
pub async fn record(tx: &mut TenantTx, event: Event<'_>) -> Result<(), sqlx::Error> {
    record_from(tx, event, &Origin::current()).await
}

/// The same for a request that has been answered.
pub(crate) async fn record_from(tx: &mut TenantTx, event: Event<'_>, origin: &Origin) -> Result<(), sqlx::Error> {
    sql::insert(tx, event, origin).await
}

/// An event of the audit log.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AuditEvent {
    /// Its id.
    pub id: Uuid,
    /// When it was written.
    pub at: DateTime<Utc>,
    /// Who did it: `user:…`, `api-key:…`, `agent:…`, `client:…`, `system`, or `unknown`.
    #[schema(example = "user:ada@example.com")]
    pub actor: String,
    /// What was done.
    #[schema(example = "grant.update")]
    pub action: String,
    /// The kind of object that it was done to.
    #[schema(example = "grant")]
    pub object_kind: String,
    /// Its id.
    pub object_id: String,
    /// Its name at that time.
    #[schema(example = "ci-bot-github")]
    pub object_name: String,
    /// What there is to say beside that; never a secret.
    pub detail: Value,
    /// The address that the request came from; empty where it came from none.
    #[schema(example = "192.0.2.7")]
    pub peer: String,
    /// The request, as `X-Request-Id` has it; empty where there was none.
    pub request_id: String,
}

/// One page of events.
pub type AuditEventPage = Page<AuditEvent>;

/// Which events to list; what is absent does not restrict.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Filter {
    /// Who did it.
    pub actor: Option<String>,
    /// What was done; `agent.*` is everything that begins with `agent.`.
    pub action: Option<String>,
    /// Name or id of what it was done to.
    pub object: Option<String>,
    /// The first moment that counts.
    pub from: Option<DateTime<Utc>>,
    /// The first moment that no longer counts.
    pub to: Option<DateTime<Utc>>,
}

/// Where a list goes on: behind this event.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Position {
    at: DateTime<Utc>,
    id: Uuid,
}

/// Lists events, the newest first.
///
/// # Errors
/// [`ApiError::Forbidden`], [`ApiError::Query`], [`ApiError::Cursor`]; or when Postgres is away.
pub async fn list(app: &App, caller: &Caller, filter: &Filter, query: &PageQuery) -> Result<AuditEventPage, ApiError> {
    caller.require(Role::Viewer)?;
    let texts = [&filter.actor, &filter.action, &filter.object];
    if texts.into_iter().flatten().any(|text| text.contains('\0')) {
        return Err(ApiError::Query("no event holds the character U+0000".to_owned()));
    }
    let limit = query.limit()?;
    let listing = Listing::new(app, caller.tenant, "audit-events", filter);
    let after = listing.after(query.cursor.as_deref())?;
    let one_more = i64::try_from(limit + 1).map_err(ApiError::internal)?;
    let found = sql::list(&mut app.db.tenant(caller.tenant).await?, filter, after, one_more).await?;
    listing.page(found, limit, |event| Position { at: event.at, id: event.id })
}
