//! Counting a tenant's days anew: when its time zone has changed, by the word of an owner, or for the first time.
//!
//! Invariant: after a change of zone every record that is kept is in exactly one day of the new zone, but for those of the
//! first kept day, which together with the days before it hold exactly what they held. Days whose records are gone stay
//! days of the zone that they were counted in.

mod sql;

use std::ops::Range;

use chrono::{Datelike as _, Days, NaiveDate, Utc};
use serde_json::json;
use tollgate_proto::TenantId;

use super::{
    rollup::rebuild,
    terms::{self, Terms},
};
use crate::{
    app::App,
    audit,
    caller::{Caller, Role},
    db::TenantTx,
    error::ApiError,
    resource::Kind as _,
    tenants::TenantSpec,
};

/// How many days one request counts anew at most.
const DAYS_MAX: i64 = 366;

/// What a rebuild did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rebuilt {
    /// Days that were counted anew.
    pub(super) days: u64,
    /// Sums of an hour, a day, a month or a bucket that were wrong.
    pub(super) mended: u64,
}

/// Counts the days `from..=to` anew, each in a transaction of its own, as far as their records are kept; then their months.
///
/// # Errors
/// [`ApiError::Forbidden`], [`ApiError::Invalid`] for too many days; or when Postgres is away: then days are done, and
/// may be done again.
pub(super) async fn rebuild(app: &App, caller: &Caller, from: NaiveDate, to: NaiveDate) -> Result<Rebuilt, ApiError> {
    caller.require(Role::Owner)?;
    if !(0..DAYS_MAX).contains(&(to - from).num_days()) {
        return Err(ApiError::fault(
            "/to",
            "out_of_range",
            format!("`from` or a later day, at most {DAYS_MAX} days in all"),
        ));
    }
    let tenant = caller.tenant;
    let mut rebuilt = Rebuilt { days: 0, mended: 0 };
    if let Some((first, last)) = countable(app, tenant).await? {
        for day in from.max(first).iter_days().take_while(|day| *day <= to.min(last)) {
            rebuilt.mended += rebuild::day(app, tenant, day).await?;
            rebuilt.days += 1;
        }
    }
    // Also those months whose records are gone: they are counted from their days.
    for day in from.iter_days().take_while(|day| *day <= to).filter(|day| *day == from || day.day() == 1) {
        rebuilt.mended += rebuild::month(app, tenant, day).await?;
    }
    let mut tx = app.db.tenant(tenant).await?;
    let event = audit::Event {
        actor: &caller.actor,
        action: "usage.rebuild",
        object_kind: TenantSpec::NOUN,
        object_id: &tenant.to_string(),
        object_name: &caller.tenant_name,
        detail: json!({ "from": from, "to": to, "days": rebuilt.days, "mended": rebuilt.mended }),
    };
    audit::record(&mut tx, event).await?;
    tx.commit().await?;
    Ok(rebuilt)
}

/// Counts all days of a tenant anew whose days are not those of its time zone.
///
/// # Errors
/// When Postgres is away: the next time begins from the start.
pub async fn follow_zone(app: &App, tenant: TenantId) -> Result<(), sqlx::Error> {
    let terms = terms::read(&mut app.db.tenant(tenant).await?).await?;
    if terms.days_are_counted() {
        return Ok(());
    }
    if let Some((first, last)) = countable(app, tenant).await? {
        for day in first.iter_days().take_while(|day| *day <= last) {
            rebuild::day(app, tenant, day).await?;
        }
    }
    settle_zone(app, tenant, terms).await
}

/// Makes sure that the sums of days are those of the tenant's time zone, and stay so until the transaction ends.
///
/// # Errors
/// [`ApiError::DaysBeingCounted`]; or when Postgres is away.
pub(crate) async fn hold_days(tx: &mut TenantTx) -> Result<(), ApiError> {
    let tenant = tx.tenant();
    let held = terms::hold(tx, std::iter::once(tenant)).await?;
    if held.get(&tenant).is_some_and(Terms::days_are_counted) { Ok(()) } else { Err(ApiError::DaysBeingCounted) }
}

/// Makes sure that the sums of these days, the last one not included, are those of the tenant's time zone, as far as the
/// transaction sees. Where there are none nothing is wrong.
///
/// # Errors
/// [`ApiError::DaysBeingCounted`]; or when Postgres is away.
pub(crate) async fn require_days(tx: &mut TenantTx, days: Range<NaiveDate>) -> Result<(), ApiError> {
    let tenant = tx.tenant();
    // Another zone's day is at most one away.
    let (first, last) = (days.start - Days::new(1), days.end + Days::new(1));
    if terms::read(tx).await?.days_are_counted() || !sql::any_sums(tx, tenant, first, last).await? {
        return Ok(());
    }
    Err(ApiError::DaysBeingCounted)
}

/// The days are those of the zone now, unless that has changed again.
async fn settle_zone(app: &App, tenant: TenantId, counted: Terms) -> Result<(), sqlx::Error> {
    let mut tx = app.db.tenant(tenant).await?;
    terms::change(&mut tx).await?;
    if terms::read(&mut tx).await? != counted {
        return Ok(());
    }
    if let (Some(first), Some(old)) = (counted.countable_from(), counted.days_zone) {
        rebuild::move_boundary(&mut tx, tenant, first, (old, counted.zone)).await?;
    }
    sql::set_days_zone(&mut tx, tenant, counted.zone).await?;
    tx.commit().await?;
    tracing::info!(%tenant, zone = %counted.zone, "counted the days of usage anew");
    Ok(())
}

/// The first and the last day that can be counted anew; `None` when there are no records.
async fn countable(app: &App, tenant: TenantId) -> Result<Option<(NaiveDate, NaiveDate)>, sqlx::Error> {
    let mut tx = app.db.tenant(tenant).await?;
    let terms = terms::read(&mut tx).await?;
    let earliest = match terms.countable_from() {
        Some(first) => Some(first),
        // The first record's day may be the one before or after in another zone.
        None => sql::first_record_at(&mut tx, tenant).await?.map(|at| at.date_naive() - Days::new(1)),
    };
    Ok(earliest.map(|first| (first, Utc::now().date_naive() + Days::new(2))))
}

#[cfg(test)]
mod tests;
