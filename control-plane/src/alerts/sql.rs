//! Queries about alerts.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use tollgate_proto::{AlertId, LimitId, TenantId};
use uuid::Uuid;

use super::{Alert, AlertKind, Filter, RaisedAlert};
use crate::db::TenantTx;

/// Whether the alert is new; then every webhook that wants it has a delivery that is due.
pub(super) async fn insert(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: AlertId,
    alert: &Alert,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"WITH raised AS (
               INSERT INTO alerts (tenant_id, id, type, key, data) VALUES ($1, $2, $3, $4, $5)
               ON CONFLICT (tenant_id, type, key) DO NOTHING
               RETURNING id
           ), left_to_deliver AS (
               INSERT INTO alert_deliveries (tenant_id, alert_id, webhook_id)
               SELECT $1, raised.id, w.id
               FROM raised, webhooks w
               WHERE w.tenant_id = $1 AND w.enabled AND w.gone_at IS NULL AND (w.types IS NULL OR $3 = ANY (w.types))
           )
           SELECT EXISTS (SELECT FROM raised) AS "new!""#,
        tenant.uuid(),
        id.uuid(),
        alert.kind.as_str(),
        alert.key,
        alert.data,
    )
    .fetch_one(connection)
    .await
}

/// An alert that no webhook is told of yet.
pub(super) async fn insert_test(tx: &mut TenantTx, id: AlertId, data: &Value) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO alerts (tenant_id, id, type, key, data) VALUES ($1, $2, $3, $4, $5)",
        tenant,
        id.uuid(),
        AlertKind::WebhookTest.as_str(),
        id.to_string(),
        data,
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

pub(super) async fn list(
    tx: &mut TenantTx,
    filter: &Filter,
    after: Option<AlertId>,
    limit: i64,
) -> Result<Vec<RaisedAlert>, sqlx::Error> {
    sqlx::query_as!(
        RaisedAlert,
        r#"SELECT a.id, a.type AS kind, a.at, a.data, count(d.*) AS "deliveries!",
                  count(d.delivered_at) AS "delivered!", count(d.given_up_at) AS "given_up!"
           FROM (SELECT tenant_id, id, type, at, data FROM alerts
                 WHERE ($1::text IS NULL OR type = $1) AND ($2::uuid IS NULL OR id < $2)
                 ORDER BY id DESC LIMIT $3) a
           LEFT JOIN alert_deliveries d ON d.tenant_id = a.tenant_id AND d.alert_id = a.id
           GROUP BY a.id, a.type, a.at, a.data
           ORDER BY a.id DESC"#,
        filter.kind.as_deref(),
        after.map(AlertId::uuid),
        limit,
    )
    .fetch_all(&mut **tx)
    .await
}

/// How many calls a limit refused in an hour.
pub(super) struct Refused {
    pub(super) limit_id: Uuid,
    pub(super) hour: DateTime<Utc>,
    pub(super) refused: i64,
    /// When the first one of them arrived.
    pub(super) since: DateTime<Utc>,
}

/// Adds refusals to those that are known; answers what they come to.
pub(super) async fn add_refusals(
    connection: &mut PgConnection,
    tenant: TenantId,
    new: &[Refused],
) -> Result<Vec<Refused>, sqlx::Error> {
    sqlx::query_as!(
        Refused,
        "INSERT INTO limit_refusals AS known (tenant_id, limit_id, hour, refused, since)
         SELECT $1, new.* FROM UNNEST($2::uuid[], $3::timestamptz[], $4::bigint[], $5::timestamptz[]) AS new
         ON CONFLICT (tenant_id, limit_id, hour) DO UPDATE SET refused = known.refused + excluded.refused,
             since = LEAST(known.since, excluded.since)
         RETURNING limit_id, hour, refused, since",
        tenant.uuid(),
        &new.iter().map(|refused| refused.limit_id).collect::<Vec<_>>(),
        &new.iter().map(|refused| refused.hour).collect::<Vec<_>>(),
        &new.iter().map(|refused| refused.refused).collect::<Vec<_>>(),
        &new.iter().map(|refused| refused.since).collect::<Vec<_>>(),
    )
    .fetch_all(connection)
    .await
}

/// What limits refused in the hours from this one on.
pub(super) async fn refusals(
    tx: &mut TenantTx,
    limits: &[LimitId],
    from: DateTime<Utc>,
) -> Result<Vec<Refused>, sqlx::Error> {
    sqlx::query_as!(
        Refused,
        "SELECT limit_id, hour, refused, since FROM limit_refusals WHERE limit_id = ANY ($1) AND hour >= $2",
        &limits.iter().map(|limit| limit.uuid()).collect::<Vec<_>>(),
        from,
    )
    .fetch_all(&mut **tx)
    .await
}

pub(super) async fn purge(tx: &mut TenantTx) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "DELETE FROM alert_deliveries
         WHERE tenant_id = $1 AND COALESCE(delivered_at, given_up_at) < now() - interval '30 days'",
        tenant,
    )
    .execute(&mut **tx)
    .await?;
    // An hour that old gives no alert any more.
    sqlx::query!("DELETE FROM limit_refusals WHERE tenant_id = $1 AND hour < now() - interval '2 days'", tenant)
        .execute(&mut **tx)
        .await?;
    sqlx::query!(
        "DELETE FROM alerts
         WHERE tenant_id = $1 AND at < now() - CASE WHEN starts_with(type, 'budget.') THEN interval '400 days'
                                                    ELSE interval '30 days' END",
        tenant,
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}
