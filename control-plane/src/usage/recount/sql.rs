//! Queries of recounts.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgConnection;
use tollgate_proto::TenantId;

use crate::calendar::TimeZone;

pub(super) async fn first_record_at(
    connection: &mut PgConnection,
    tenant: TenantId,
) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    sqlx::query_scalar!("SELECT min(at) FROM usage_records WHERE tenant_id = $1", tenant.uuid())
        .fetch_one(connection)
        .await
}

/// Whether anything was counted towards these days, the last one included.
pub(super) async fn any_sums(
    connection: &mut PgConnection,
    tenant: TenantId,
    first: NaiveDate,
    last: NaiveDate,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM usage_daily WHERE tenant_id = $1 AND day >= $2 AND day <= $3) AS "any!""#,
        tenant.uuid(),
        first,
        last,
    )
    .fetch_one(connection)
    .await
}

pub(super) async fn set_days_zone(
    connection: &mut PgConnection,
    tenant: TenantId,
    zone: TimeZone,
) -> Result<(), sqlx::Error> {
    sqlx::query!("UPDATE tenants SET usage_days_zone = $2 WHERE id = $1", tenant.uuid(), zone.to_string())
        .execute(connection)
        .await
        .map(drop)
}
