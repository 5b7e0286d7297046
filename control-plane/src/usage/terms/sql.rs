//! Queries about terms.

use std::collections::HashMap;

use chrono::{Days, NaiveDate};
use sqlx::PgConnection;
use tollgate_proto::TenantId;
use uuid::Uuid;

use super::Terms;
use crate::calendar::{TimeZone, UnknownTimeZone};

pub(super) async fn share_locks(connection: &mut PgConnection, locks: &[i64]) -> Result<(), sqlx::Error> {
    sqlx::query!("SELECT pg_advisory_xact_lock_shared(lock) FROM UNNEST($1::bigint[]) AS lock", locks)
        .execute(connection)
        .await
        .map(drop)
}

pub(super) async fn take_lock(connection: &mut PgConnection, lock: i64) -> Result<(), sqlx::Error> {
    sqlx::query!("SELECT pg_advisory_xact_lock($1)", lock).execute(connection).await.map(drop)
}

struct Row {
    id: Uuid,
    time_zone: String,
    usage_days_zone: Option<String>,
    usage_retention_days: i32,
    usage_kept_from: Option<NaiveDate>,
}

impl Row {
    fn read(self) -> Result<(TenantId, Terms), sqlx::Error> {
        let zone = |stored: &str| -> Result<TimeZone, sqlx::Error> {
            stored.parse().map_err(|error: UnknownTimeZone| sqlx::Error::Decode(error.into()))
        };
        let terms = Terms {
            zone: zone(&self.time_zone)?,
            days_zone: self.usage_days_zone.as_deref().map(zone).transpose()?,
            retention: Days::new(u64::from(self.usage_retention_days.unsigned_abs())),
            kept_from: self.usage_kept_from,
        };
        Ok((self.id.into(), terms))
    }
}

/// Holds the tenants fast, too: none goes away before its records are stored.
pub(super) async fn lock_tenants(
    connection: &mut PgConnection,
    named: &[Uuid],
) -> Result<HashMap<TenantId, Terms>, sqlx::Error> {
    let known = sqlx::query_as!(
        Row,
        "SELECT id, time_zone, usage_days_zone, usage_retention_days, usage_kept_from
         FROM tenants WHERE id = ANY($1) ORDER BY id FOR KEY SHARE",
        named
    )
    .fetch_all(connection)
    .await?;
    known.into_iter().map(Row::read).collect()
}

pub(super) async fn select(connection: &mut PgConnection, tenant: TenantId) -> Result<Terms, sqlx::Error> {
    let row = sqlx::query_as!(
        Row,
        "SELECT id, time_zone, usage_days_zone, usage_retention_days, usage_kept_from FROM tenants WHERE id = $1",
        tenant.uuid()
    )
    .fetch_one(connection)
    .await?;
    row.read().map(|(_, terms)| terms)
}
