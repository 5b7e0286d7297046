//! Alerts: what somebody of a tenant should know of, said once, and put into the outbox of every webhook that wants it.
//!
//! Invariant: an alert and who is to be told of it are written in the transaction that makes it true, and of a kind there is
//! one alert of a key, however often, by however many control planes, it is raised.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgConnection;
use tollgate_proto::{AlertId, TenantId};
use utoipa::ToSchema;

use crate::{
    app::App,
    caller::{Caller, Role},
    db::TenantTx,
    error::ApiError,
    page::{Listing, Page, PageQuery},
};

pub mod api;
pub(crate) mod saturation;
mod sql;
#[cfg(test)]
mod tests;

/// What kind of thing has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub enum AlertKind {
    /// A budget's use has reached one of its thresholds.
    #[serde(rename = "budget.threshold")]
    BudgetThreshold,
    /// A budget will not last until its period ends, if its use goes on like this.
    #[serde(rename = "budget.forecast")]
    BudgetForecast,
    /// A limit refuses many calls.
    #[serde(rename = "limit.saturated")]
    LimitSaturated,
    /// Somebody tries a webhook out.
    #[serde(rename = "webhook.test")]
    WebhookTest,
}

impl AlertKind {
    /// Those that webhooks choose from. A test is sent to the webhook that is tested, whatever it wants.
    pub const WANTED: [Self; 3] = [Self::BudgetThreshold, Self::BudgetForecast, Self::LimitSaturated];

    /// As it stands in payloads: `budget.threshold`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BudgetThreshold => "budget.threshold",
            Self::BudgetForecast => "budget.forecast",
            Self::LimitSaturated => "limit.saturated",
            Self::WebhookTest => "webhook.test",
        }
    }
}

impl fmt::Display for AlertKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something to raise.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// Of what kind.
    pub kind: AlertKind,
    /// What it is about, so that it is said once: as `bud_…|2026-11|80`.
    pub key: String,
    /// What is known of it, as webhooks get it; never a secret.
    pub data: Value,
}

/// An alert that was raised.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RaisedAlert {
    /// `alr_…`: the `webhook-id` of every delivery of it.
    #[schema(value_type = String)]
    pub id: AlertId,
    /// What kind of thing has happened.
    #[serde(rename = "type")]
    #[schema(example = "limit.saturated")]
    pub kind: String,
    /// When it was raised.
    pub at: DateTime<Utc>,
    /// What is known of it, by its type.
    #[schema(value_type = Object)]
    pub data: Value,
    /// How many webhooks are to be told.
    pub deliveries: i64,
    /// How many of them have been.
    pub delivered: i64,
    /// How many of them will not be.
    pub given_up: i64,
}

/// One page of alerts.
pub type RaisedAlertPage = Page<RaisedAlert>;

/// Which alerts to list; what is absent does not restrict.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Filter {
    /// Those of this type.
    pub kind: Option<String>,
}

/// Raises an alert in a transaction that has entered `tenant`, and leaves a delivery for every webhook that wants it;
/// answers whether it is new. One of the same kind and key is not raised again.
///
/// # Errors
/// When Postgres is away.
pub async fn raise(connection: &mut PgConnection, tenant: TenantId, alert: &Alert) -> Result<bool, sqlx::Error> {
    sql::insert(connection, tenant, AlertId::new(), alert).await
}

/// Raises the alert that tries a webhook out, for which no other one is told of.
///
/// # Errors
/// When Postgres is away.
pub(crate) async fn raise_test(tx: &mut TenantTx, data: Value) -> Result<AlertId, sqlx::Error> {
    let id = AlertId::new();
    sql::insert_test(tx, id, &data).await.map(|()| id)
}

/// Lists alerts, the newest first.
///
/// # Errors
/// [`ApiError::Forbidden`], [`ApiError::Query`], [`ApiError::Cursor`]; or when Postgres is away.
pub async fn list(app: &App, caller: &Caller, filter: &Filter, query: &PageQuery) -> Result<RaisedAlertPage, ApiError> {
    caller.require(Role::Viewer)?;
    if filter.kind.as_deref().is_some_and(|text| text.contains('\0')) {
        return Err(ApiError::Query("no type holds the character U+0000".to_owned()));
    }
    let limit = query.limit()?;
    let listing = Listing::new(app, caller.tenant, "alerts", filter);
    let after: Option<AlertId> = listing.after(query.cursor.as_deref())?;
    let one_more = i64::try_from(limit + 1).map_err(ApiError::internal)?;
    let found = sql::list(&mut app.db.tenant(caller.tenant).await?, filter, after, one_more).await?;
    listing.page(found, limit, |alert| alert.id)
}

/// Removes alerts that nobody needs any more, and deliveries that ended long ago. Those of budgets stay longer than any
/// budget's period: as long as they are there, they are not raised again.
///
/// # Errors
/// When Postgres is away.
pub async fn purge(app: &App, tenant: TenantId) -> Result<(), sqlx::Error> {
    let mut tx = app.db.tenant(tenant).await?;
    sql::purge(&mut tx).await?;
    tx.commit().await
}
