//! Counts a calendar day anew from its records, and a month from its days.
//!
//! What the records add up to and what the rollups hold is compared in one statement, which sees both as of one moment, and
//! the difference is added. Intakes add to both at once, so that the difference stays true whatever they do meanwhile: none
//! waits for a rebuild, and none is lost to it.
//!
//! Invariant: of a tenant one rebuild runs at a time; two at once would add the same difference twice.

mod sql;

use std::ops::Range;

use chrono::{DateTime, Months, NaiveDate, TimeDelta, Utc};
use sqlx::PgConnection;
use tollgate_proto::TenantId;

use super::{dimension_ids, hour_of, month_of, overhead};
use crate::{
    app::App,
    calendar::{Day, TimeZone},
    usage::terms,
};

/// Counts the day of this date anew, the hours that it touches and its month, in one transaction; answers how many sums were wrong.
/// Nothing when records of the day were removed already.
///
/// # Errors
/// When Postgres is away.
pub(in crate::usage) async fn day(app: &App, tenant: TenantId, date: NaiveDate) -> Result<u64, sqlx::Error> {
    let mut tx = app.db.tenant(tenant).await?;
    sql::take_turn(&mut tx, tenant).await?;
    let terms = terms::read(&mut tx).await?;
    if terms.countable_from().is_some_and(|first| date < first) {
        return Ok(0);
    }
    let Day { span, .. } = terms.zone.day(date);
    let hours = hour_of(span.start)..hour_of(span.end + TimeDelta::hours(1) - TimeDelta::nanoseconds(1));
    name_combinations(&mut tx, tenant, &hours).await?;
    let mut wrong = sql::mend_hours(&mut tx, tenant, &hours).await?;
    wrong += sql::mend_day(&mut tx, tenant, date, &span).await?;
    wrong += sql::mend_overhead(&mut tx, tenant, &hours, &overhead::bounds()).await?;
    wrong += mend_month(&mut tx, tenant, date).await?;
    tx.commit().await?;
    Ok(wrong)
}

/// Counts the month of this date anew, from its days; answers how many sums were wrong.
///
/// # Errors
/// When Postgres is away.
pub(in crate::usage) async fn month(app: &App, tenant: TenantId, date: NaiveDate) -> Result<u64, sqlx::Error> {
    let mut tx = app.db.tenant(tenant).await?;
    sql::take_turn(&mut tx, tenant).await?;
    let wrong = mend_month(&mut tx, tenant, date).await?;
    tx.commit().await?;
    Ok(wrong)
}

/// Makes a month what its days add up to.
async fn mend_month(connection: &mut PgConnection, tenant: TenantId, date: NaiveDate) -> Result<u64, sqlx::Error> {
    let first = month_of(date);
    sql::mend_month(connection, tenant, &(first..first + Months::new(1))).await
}

/// Waits until nobody else rebuilds the tenant's rollups or rates its records anew, and holds up who wants to.
///
/// # Errors
/// When Postgres is away.
pub(in crate::usage) async fn take_turn(connection: &mut PgConnection, tenant: TenantId) -> Result<(), sqlx::Error> {
    sql::take_turn(connection, tenant).await
}

/// Moves what a change of zones leaves between days that can be counted anew and days that cannot: the last of these
/// ends where the first of those begins, in the new zone rather than in the old one.
///
/// # Errors
/// When Postgres is away.
pub(in crate::usage) async fn move_boundary(
    connection: &mut PgConnection,
    tenant: TenantId,
    first: NaiveDate,
    (old, new): (TimeZone, TimeZone),
) -> Result<(), sqlx::Error> {
    let (before, after) = (old.start_of(first), new.start_of(first));
    let Some(last) = first.pred_opt() else { return Ok(()) };
    let (gained, sign) = if before < after { (before..after, 1) } else { (after..before, -1) };
    name_combinations(connection, tenant, &gained).await?;
    sql::add_to_day(connection, tenant, last, &gained, sign).await?;
    mend_month(connection, tenant, last).await.map(drop)
}

/// Makes sure that each combination of the records of a time has an id.
async fn name_combinations(
    connection: &mut PgConnection,
    tenant: TenantId,
    span: &Range<DateTime<Utc>>,
) -> Result<(), sqlx::Error> {
    let unnamed = sql::unnamed_combinations(connection, tenant, span).await?;
    if unnamed.is_empty() {
        return Ok(());
    }
    dimension_ids(connection, tenant, &unnamed.iter().collect::<Vec<_>>()).await.map(drop)
}
