//! Queries about webhooks and what is delivered to them.

use chrono::{DateTime, Utc};
use http::StatusCode;
use serde_json::Value;
use sqlx::PgConnection;
use tollgate_proto::{AlertId, TenantId, WebhookId};
use uuid::Uuid;

use super::{
    Meaning, SecretChange,
    deliveries::{AlertDelivery, DeliveryState},
    posting::{Attempt, Failure},
};
use crate::{
    db::TenantTx,
    resource::{Row, Version, Which},
};

pub(super) async fn select(tx: &mut TenantTx, which: Which<'_>) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"SELECT id, name, labels, spec, created_at, updated_at, created_by, revision,
                  jsonb_build_object(
                      'gone', gone_at IS NOT NULL,
                      'waiting', (SELECT count(*) FROM alert_deliveries d
                                  WHERE d.tenant_id = w.tenant_id AND d.webhook_id = w.id AND next_attempt_at IS NOT NULL),
                      'last_delivered_at', (SELECT max(delivered_at) FROM alert_deliveries d
                                            WHERE d.tenant_id = w.tenant_id AND d.webhook_id = w.id),
                      'former_secret_until',
                      CASE WHEN former_secret_until > now() THEN former_secret_until END) AS "facts!"
           FROM webhooks w
           WHERE ($1::uuid IS NULL OR id = $1) AND ($2::text IS NULL OR name = $2) AND ($3::text IS NULL OR name > $3)
           ORDER BY name LIMIT $4"#,
        which.id,
        which.name,
        which.after,
        which.limit,
    )
    .fetch_all(&mut **tx)
    .await
}

pub(super) async fn count(tx: &mut TenantTx) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM webhooks"#).fetch_one(&mut **tx).await
}

/// Written anew, a webhook is no longer gone.
pub(super) async fn save(tx: &mut TenantTx, version: &Version<'_>, meaning: &Meaning) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let sealed = match &meaning.secret {
        SecretChange::Sealed(sealed) => Some(sealed.as_slice()),
        SecretChange::Keep | SecretChange::Make => None,
    };
    sqlx::query!(
        "INSERT INTO webhooks
             (tenant_id, id, name, labels, spec, revision, created_by, url, types, enabled, secret_sealed)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10,
                 COALESCE($11, (SELECT secret_sealed FROM webhooks WHERE tenant_id = $1 AND id = $2)))
         ON CONFLICT (id) DO UPDATE SET labels = $4, spec = $5, revision = $6, updated_at = now(),
             url = $8, types = $9, enabled = $10, gone_at = NULL",
        tenant,
        version.id,
        version.name,
        version.labels,
        version.spec,
        version.revision,
        version.actor,
        meaning.url,
        meaning.types.as_deref(),
        meaning.enabled,
        sealed,
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

pub(super) async fn delete(tx: &mut TenantTx, id: WebhookId) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM webhooks WHERE id = $1", id.uuid()).execute(&mut **tx).await.map(drop)
}

pub(super) async fn secret(tx: &mut TenantTx, id: WebhookId) -> Result<Option<Vec<u8>>, sqlx::Error> {
    sqlx::query_scalar!("SELECT secret_sealed FROM webhooks WHERE id = $1", id.uuid()).fetch_optional(&mut **tx).await
}

/// Answers until when the secret before signs too.
pub(super) async fn rotate_secret(
    tx: &mut TenantTx,
    id: WebhookId,
    sealed: &[u8],
    overlap_s: i64,
) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    sqlx::query_scalar!(
        "UPDATE webhooks SET former_secret_sealed = secret_sealed, secret_sealed = $2,
             former_secret_until = now() + make_interval(secs => $3::bigint::double precision)
         WHERE id = $1
         RETURNING former_secret_until",
        id.uuid(),
        sealed,
        overlap_s,
    )
    .fetch_one(&mut **tx)
    .await
}

/// Ends what waits for a webhook.
pub(super) async fn give_up_all(tx: &mut TenantTx, id: WebhookId, why: &str) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE alert_deliveries SET next_attempt_at = NULL, given_up_at = now(), last_error = $3
         WHERE tenant_id = $1 AND webhook_id = $2 AND next_attempt_at IS NOT NULL",
        tenant,
        id.uuid(),
        why,
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// Answers the webhook's name, if it was not gone before.
pub(super) async fn set_gone(tx: &mut TenantTx, id: WebhookId) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar!(
        "UPDATE webhooks SET gone_at = now() WHERE id = $1 AND gone_at IS NULL RETURNING name",
        id.uuid()
    )
    .fetch_optional(&mut **tx)
    .await
}

/// Makes a delivery due, as if there had been no attempt; false when there is no such alert.
pub(super) async fn add_delivery(tx: &mut TenantTx, id: WebhookId, alert: AlertId) -> Result<bool, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO alert_deliveries (tenant_id, alert_id, webhook_id)
         SELECT tenant_id, id, $3 FROM alerts WHERE tenant_id = $1 AND id = $2
         ON CONFLICT (tenant_id, webhook_id, alert_id) DO UPDATE SET attempts = 0, next_attempt_at = now(),
             last_error = NULL, delivered_at = NULL, given_up_at = NULL",
        tenant,
        alert.uuid(),
        id.uuid(),
    )
    .execute(&mut **tx)
    .await
    .map(|done| done.rows_affected() > 0)
}

/// A delivery as a list reads it.
struct DeliveryRow {
    alert_id: Uuid,
    kind: String,
    at: DateTime<Utc>,
    attempts: i32,
    next_attempt_at: Option<DateTime<Utc>>,
    last_attempt_at: Option<DateTime<Utc>>,
    last_status: Option<i32>,
    last_error: Option<String>,
    delivered_at: Option<DateTime<Utc>>,
}

impl From<DeliveryRow> for AlertDelivery {
    fn from(row: DeliveryRow) -> Self {
        let state = match (row.next_attempt_at, row.delivered_at) {
            (_, Some(_)) => DeliveryState::Delivered,
            (Some(_), None) => DeliveryState::Waiting,
            (None, None) => DeliveryState::GivenUp,
        };
        Self {
            alert: row.alert_id.into(),
            kind: row.kind,
            at: row.at,
            state,
            attempts: row.attempts,
            next_attempt_at: row.next_attempt_at,
            last_attempt_at: row.last_attempt_at,
            last_status: row.last_status,
            last_error: row.last_error,
            delivered_at: row.delivered_at,
        }
    }
}

pub(super) async fn deliveries(
    tx: &mut TenantTx,
    id: WebhookId,
    alert: Option<AlertId>,
    after: Option<AlertId>,
    limit: i64,
) -> Result<Vec<AlertDelivery>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query_as!(
        DeliveryRow,
        "SELECT d.alert_id, a.type AS kind, a.at, d.attempts, d.next_attempt_at, d.last_attempt_at, d.last_status,
                d.last_error, d.delivered_at
         FROM alert_deliveries d JOIN alerts a ON a.tenant_id = d.tenant_id AND a.id = d.alert_id
         WHERE d.tenant_id = $1 AND d.webhook_id = $2
           AND ($3::uuid IS NULL OR d.alert_id = $3) AND ($4::uuid IS NULL OR d.alert_id < $4)
         ORDER BY d.alert_id DESC LIMIT $5",
        tenant,
        id.uuid(),
        alert.map(AlertId::uuid),
        after.map(AlertId::uuid),
        limit,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(AlertDelivery::from).collect())
}

/// For how long a delivery has been due, of all tenants the longest.
pub(super) async fn overdue_s(connection: &mut PgConnection) -> Result<f64, sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT overdue_deliveries_s() AS "seconds!""#).fetch_one(connection).await
}

/// The webhooks of all tenants that have something due and are held by nobody.
pub(super) async fn due(connection: &mut PgConnection, limit: i32) -> Result<Vec<(TenantId, WebhookId)>, sqlx::Error> {
    let rows = sqlx::query!(r#"SELECT tenant AS "tenant!", webhook AS "webhook!" FROM due_webhooks($1)"#, limit);
    let rows = rows.fetch_all(connection).await?;
    Ok(rows.into_iter().map(|row| (row.tenant.into(), row.webhook.into())).collect())
}

/// A webhook that the caller alone delivers to.
pub(super) struct Held {
    pub(super) url: String,
    pub(super) secret_sealed: Vec<u8>,
    pub(super) former_secret_sealed: Option<Vec<u8>>,
    pub(super) held_until: DateTime<Utc>,
}

/// Holds a webhook for longer than an attempt takes; nothing when another one holds it, or it gets nothing.
pub(super) async fn hold(tx: &mut TenantTx, id: WebhookId) -> Result<Option<Held>, sqlx::Error> {
    sqlx::query_as!(
        Held,
        r#"UPDATE webhooks SET held_until = now() + interval '45 s'
           WHERE id = $1 AND enabled AND gone_at IS NULL AND (held_until IS NULL OR held_until <= now())
           RETURNING url, secret_sealed, held_until AS "held_until!",
               CASE WHEN former_secret_until > now() THEN former_secret_sealed END AS former_secret_sealed"#,
        id.uuid(),
    )
    .fetch_optional(&mut **tx)
    .await
}

/// An alert that is to be delivered.
pub(super) struct Claimed {
    pub(super) alert_id: Uuid,
    pub(super) attempts: i32,
    pub(super) kind: String,
    pub(super) at: DateTime<Utc>,
    pub(super) data: Value,
}

/// Counts an attempt at what is due, which is due again when the hold on the webhook lapses.
pub(super) async fn claim(
    tx: &mut TenantTx,
    id: WebhookId,
    alert: Option<AlertId>,
) -> Result<Option<Claimed>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        Claimed,
        "UPDATE alert_deliveries d
         SET attempts = attempts + 1, last_attempt_at = now(), next_attempt_at = now() + interval '45 s'
         FROM alerts a
         WHERE d.tenant_id = $1 AND d.webhook_id = $2 AND a.tenant_id = d.tenant_id AND a.id = d.alert_id
           AND d.alert_id = (SELECT alert_id FROM alert_deliveries
                             WHERE tenant_id = $1 AND webhook_id = $2 AND next_attempt_at <= now()
                               AND ($3::uuid IS NULL OR alert_id = $3)
                             ORDER BY next_attempt_at, alert_id LIMIT 1)
         RETURNING d.alert_id, d.attempts, a.type AS kind, a.at, a.data",
        tenant,
        id.uuid(),
        alert.map(AlertId::uuid),
    )
    .fetch_optional(&mut **tx)
    .await
}

/// Nothing, when the delivery was asked for anew or claimed by another one since.
pub(super) async fn delivered(tx: &mut TenantTx, attempt: &Attempt, status: StatusCode) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE alert_deliveries
         SET delivered_at = now(), next_attempt_at = NULL, given_up_at = NULL, last_status = $5, last_error = NULL
         WHERE tenant_id = $1 AND webhook_id = $2 AND alert_id = $3 AND attempts = $4",
        attempt.tenant.uuid(),
        attempt.webhook.uuid(),
        attempt.alert.uuid(),
        attempt.number,
        i32::from(status.as_u16()),
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// Up to a tenth later than said, so that what failed together does not come back together. Nothing, when the delivery was
/// asked for anew, claimed by another one or given up since.
pub(super) async fn failed(tx: &mut TenantTx, attempt: &Attempt, failure: &Failure) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE alert_deliveries
         SET next_attempt_at = now() + make_interval(secs => $7 * (1 + random() / 10)),
             given_up_at = CASE WHEN $7::double precision IS NULL THEN now() END, last_status = $5, last_error = $6
         WHERE tenant_id = $1 AND webhook_id = $2 AND alert_id = $3 AND attempts = $4 AND next_attempt_at IS NOT NULL",
        attempt.tenant.uuid(),
        attempt.webhook.uuid(),
        attempt.alert.uuid(),
        attempt.number,
        failure.status.map(|status| i32::from(status.as_u16())),
        failure.why,
        failure.again_in.map(|pause| pause.as_secs_f64()),
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// Ends the hold, if it is still this attempt's.
pub(super) async fn let_go(tx: &mut TenantTx, attempt: &Attempt) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE webhooks SET held_until = NULL WHERE id = $1 AND held_until = $2",
        attempt.webhook.uuid(),
        attempt.held_until,
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}
