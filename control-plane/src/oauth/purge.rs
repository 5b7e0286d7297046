//! Removing what has expired: codes, refresh tokens, opaque tokens, assertions, grant families.
//!
//! Invariant: nothing goes that could still be used, or whose reuse would still have to be noticed.

use tollgate_proto::TenantId;

use crate::app::App;

mod sql;
#[cfg(test)]
mod tests;

/// Rows of one table that one transaction removes.
const BATCH: i64 = 5_000;

/// Removes what has expired in one tenant; answers how many rows went.
///
/// # Errors
/// When Postgres is away; what was removed before stays removed.
pub async fn purge(app: &App, tenant: TenantId) -> Result<u64, sqlx::Error> {
    let mut removed = 0;
    loop {
        let mut tx = app.db.tenant(tenant).await?;
        let batch = [
            sql::codes(&mut tx, BATCH).await?,
            sql::refresh_tokens(&mut tx, BATCH).await?,
            sql::access_tokens(&mut tx, BATCH).await?,
            sql::assertions(&mut tx, BATCH).await?,
            sql::families(&mut tx, BATCH).await?,
        ];
        tx.commit().await?;
        removed += batch.iter().sum::<u64>();
        if batch.iter().all(|rows| rows.cast_signed() < BATCH) {
            return Ok(removed);
        }
    }
}
