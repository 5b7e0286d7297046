//! Queries of the round of jobs.

use sqlx::PgConnection;
use tollgate_proto::TenantId;

/// Of the advisory lock of the first lane: any number that nothing else in this database takes.
const LOCK: i64 = 0x746f_6c6c_6a6f_6273;

/// Whether no other control plane holds the lock; it is held until the transaction ends, which may be idle for as long
/// as the jobs take: nobody waits for this lock.
pub(super) async fn try_lock(connection: &mut PgConnection, lane: i64) -> Result<bool, sqlx::Error> {
    sqlx::query("SET LOCAL idle_in_transaction_session_timeout = 0").execute(&mut *connection).await?;
    sqlx::query_scalar!(r#"SELECT pg_try_advisory_xact_lock($1) AS "held!""#, LOCK + lane).fetch_one(connection).await
}

pub(super) async fn tenants(connection: &mut PgConnection) -> Result<Vec<TenantId>, sqlx::Error> {
    let ids = sqlx::query_scalar!("SELECT id FROM tenants ORDER BY id").fetch_all(connection).await?;
    Ok(ids.into_iter().map(TenantId::from).collect())
}
