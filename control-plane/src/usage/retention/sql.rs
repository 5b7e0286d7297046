//! Queries of retention.

use chrono::NaiveDate;
use sqlx::PgConnection;
use tollgate_proto::TenantId;

/// False when it was later already, or the days are to be counted anew since it was looked at.
pub(super) async fn keep_from(
    connection: &mut PgConnection,
    tenant: TenantId,
    day: NaiveDate,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE tenants SET usage_kept_from = $2
         WHERE id = $1 AND usage_days_zone = time_zone AND (usage_kept_from IS NULL OR usage_kept_from < $2)",
        tenant.uuid(),
        day
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

pub(super) async fn any_before(
    connection: &mut PgConnection,
    tenant: TenantId,
    day: NaiveDate,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM usage_records
                          WHERE tenant_id = $1 AND event_day < $2 AND at < $2::date::timestamp AT TIME ZONE 'UTC') AS "any!""#,
        tenant.uuid(),
        day
    )
    .fetch_one(connection)
    .await
}

pub(super) async fn name(connection: &mut PgConnection, tenant: TenantId) -> Result<String, sqlx::Error> {
    sqlx::query_scalar!("SELECT name FROM tenants WHERE id = $1", tenant.uuid()).fetch_one(connection).await
}

/// The owner's function decides what is old enough.
pub(super) async fn purge(connection: &mut PgConnection, rows_max: i32) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT purge_usage_records($1) AS "deleted!""#, rows_max).fetch_one(connection).await
}
