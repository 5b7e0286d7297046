//! Deliveries: which alerts a webhook was told, or is to be told, and how that went.
//!
//! Invariant: whoever asks for a delivery leaves it in the outbox first, so that it outlives this process.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tollgate_proto::{AlertId, WebhookId};
use utoipa::ToSchema;

use super::{Webhook, WebhookSpec, WebhookState, dispatch, sql};
use crate::{
    alerts,
    app::App,
    audit,
    caller::{Caller, Role},
    db::TenantTx,
    error::ApiError,
    page::{Listing, Page, PageQuery},
    resource::{self, Kind as _},
};

/// What became of telling a webhook of an alert.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct AlertDelivery {
    /// The alert, which is the `webhook-id` of each attempt.
    #[schema(value_type = String)]
    pub alert: AlertId,
    /// The alert's type.
    #[serde(rename = "type")]
    #[schema(example = "limit.saturated")]
    pub kind: String,
    /// When the alert was raised.
    pub at: DateTime<Utc>,
    /// How it stands.
    pub state: DeliveryState,
    /// How many attempts there were.
    pub attempts: i32,
    /// When the next one is due; null: there will be none.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// When the last one began; null: there was none.
    pub last_attempt_at: Option<DateTime<Utc>>,
    /// The HTTP status that the receiver answered last; null: none.
    pub last_status: Option<i32>,
    /// Why it is not delivered; null: nothing is wrong.
    pub last_error: Option<String>,
    /// When it was delivered; null: it is not.
    pub delivered_at: Option<DateTime<Utc>>,
}

/// How a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// It is tried, or will be.
    Waiting,
    /// The receiver has taken it.
    Delivered,
    /// It is tried no more.
    GivenUp,
}

/// One page of deliveries.
pub type AlertDeliveryPage = Page<AlertDelivery>;

/// Which alert is delivered again.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Redelivery {
    /// Its id.
    #[schema(value_type = String, example = "alr_01jd0000000000000000000000")]
    pub alert: AlertId,
}

/// Lists the deliveries of a webhook, that of the newest alert first.
///
/// # Errors
/// [`ApiError::Forbidden`], [`ApiError::NotFound`], [`ApiError::Query`], [`ApiError::Cursor`]; or when Postgres is away.
pub async fn list(app: &App, caller: &Caller, webhook: &str, query: &PageQuery) -> Result<AlertDeliveryPage, ApiError> {
    caller.require(Role::Viewer)?;
    let limit = query.limit()?;
    let mut tx = app.db.tenant(caller.tenant).await?;
    let webhook: Webhook = resource::existing(&mut tx, app, caller, webhook).await?;
    let listing = Listing::new(app, caller.tenant, "alert-deliveries", &webhook.id);
    let after: Option<AlertId> = listing.after(query.cursor.as_deref())?;
    let one_more = i64::try_from(limit + 1).map_err(ApiError::internal)?;
    let found = sql::deliveries(&mut tx, webhook.id, None, after, one_more).await?;
    listing.page(found, limit, |delivery| delivery.alert)
}

/// Sends a test to a webhook, whatever it wants, and answers how that went. When it failed, it is tried again like anything.
///
/// # Errors
/// [`ApiError::Forbidden`], [`ApiError::NotFound`], [`ApiError::WebhookInactive`]; or when Postgres is away.
pub async fn test(app: &App, caller: &Caller, webhook: &str) -> Result<AlertDelivery, ApiError> {
    caller.require(WebhookSpec::WRITER)?;
    let mut tx = app.db.tenant(caller.tenant).await?;
    let webhook = active(&mut tx, app, caller, webhook).await?;
    let data = json!({ "webhook": webhook.name, "by": caller.actor });
    let alert = alerts::raise_test(&mut tx, data).await?;
    sql::add_delivery(&mut tx, webhook.id, alert).await?;
    record(&mut tx, caller, "webhook.test", &webhook, alert).await?;
    tx.commit().await?;
    dispatch::deliver(app, caller.tenant, webhook.id, Some(alert)).await?;
    let mut tx = app.db.tenant(caller.tenant).await?;
    one(&mut tx, webhook.id, alert).await
}

/// Has a webhook told of an alert again, or of one that it was not told of; answers the delivery, which is due.
///
/// # Errors
/// [`ApiError::Forbidden`], [`ApiError::NotFound`] for the webhook or the alert, [`ApiError::WebhookInactive`]; or when
/// Postgres is away.
pub async fn repeat(
    app: &App,
    caller: &Caller,
    webhook: &str,
    redelivery: &Redelivery,
) -> Result<AlertDelivery, ApiError> {
    caller.require(WebhookSpec::WRITER)?;
    let mut tx = app.db.tenant(caller.tenant).await?;
    let webhook = active(&mut tx, app, caller, webhook).await?;
    let alert = redelivery.alert;
    if !sql::add_delivery(&mut tx, webhook.id, alert).await? {
        return Err(ApiError::NotFound { noun: "alert", key: alert.to_string() });
    }
    record(&mut tx, caller, "webhook.redeliver", &webhook, alert).await?;
    let delivery = one(&mut tx, webhook.id, alert).await?;
    tx.commit().await?;
    Ok(delivery)
}

/// The webhook, which gets alerts.
async fn active(tx: &mut TenantTx, app: &App, caller: &Caller, key: &str) -> Result<Webhook, ApiError> {
    let webhook: Webhook = resource::existing(tx, app, caller, key).await?;
    if webhook.status.state == WebhookState::Active { Ok(webhook) } else { Err(ApiError::WebhookInactive) }
}

async fn one(tx: &mut TenantTx, webhook: WebhookId, alert: AlertId) -> Result<AlertDelivery, ApiError> {
    let found = sql::deliveries(tx, webhook, Some(alert), None, 1).await?;
    found.into_iter().next().ok_or_else(|| ApiError::NotFound { noun: "alert", key: alert.to_string() })
}

async fn record(
    tx: &mut TenantTx,
    caller: &Caller,
    action: &str,
    webhook: &Webhook,
    alert: AlertId,
) -> Result<(), sqlx::Error> {
    let event = audit::Event {
        actor: &caller.actor,
        action,
        object_kind: WebhookSpec::NOUN,
        object_id: &webhook.id.to_string(),
        object_name: &webhook.name,
        detail: json!({ "alert": alert }),
    };
    audit::record(tx, event).await
}
