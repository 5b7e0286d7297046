//! The partitions of the records, one for each day (UTC): made ahead of time, dropped when no tenant keeps their records.
//!
//! Invariant: nothing waits for them. A day that has none yet is stored in the default partition, and stays there.

mod sql;

use chrono::{Days, Utc};

use crate::app::App;

/// How many days after today have a partition, in case that no job runs for a while.
const DAYS_AHEAD: u64 = 7;

/// Makes those that are missing up to a week from now. Each in a transaction of its own: one that cannot have its lock
/// gives way, and the next round tries again.
///
/// # Errors
/// When Postgres is away, or somebody keeps the records locked.
pub async fn make(app: &App) -> Result<(), sqlx::Error> {
    let today = Utc::now().date_naive();
    for day in (0..=DAYS_AHEAD).map(|ahead| today + Days::new(ahead)) {
        let mut tx = app.db.platform().await?;
        if sql::make(&mut tx, day).await? {
            tracing::info!(%day, "made a partition for usage records");
        }
        tx.commit().await?;
    }
    Ok(())
}

/// Drops those that nobody needs, the oldest first.
///
/// # Errors
/// When Postgres is away, or somebody keeps the records locked.
pub async fn drop_old(app: &App) -> Result<(), sqlx::Error> {
    loop {
        let mut tx = app.db.platform().await?;
        let Some(day) = sql::drop_oldest(&mut tx).await? else { return Ok(()) };
        tx.commit().await?;
        tracing::info!(%day, "dropped a partition of usage records");
    }
}

#[cfg(test)]
mod tests;
