//! Which calendar years a policy knows the periods of.
//!
//! Invariant: a policy knows the periods of the year that it is anywhere, and of a year more at least.

use chrono::{DateTime, Datelike as _, TimeDelta, Utc};
use tollgate_proto::TenantId;

use super::sql;
use crate::{app::App, policy};

/// No zone is in the old year any more, and no call of it is under way.
const MOVED_ON_AFTER: TimeDelta = TimeDelta::days(2);

/// Once a year: forgets the periods of the year that is over, and makes those of another one known.
///
/// # Errors
/// When Postgres is away.
pub async fn move_on(app: &App, tenant: TenantId) -> Result<(), sqlx::Error> {
    move_on_at(app, tenant, Utc::now()).await
}

pub(super) async fn move_on_at(app: &App, tenant: TenantId, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    let year = (now - MOVED_ON_AFTER).year();
    let mut tx = app.db.tenant(tenant).await?;
    if !sql::set_budget_year(&mut tx, year).await? {
        return Ok(());
    }
    // Who makes a budget meanwhile waits for the tenant's row, and knows the new year.
    if !sql::hard(&mut tx, tenant).await?.is_empty() {
        policy::bump(&mut tx).await?;
    }
    tx.commit().await
}
