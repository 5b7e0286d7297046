//! How a tenant's usage is counted and for how long it is kept.
//!
//! Invariant: a tenant's terms change under a lock that every intake shares, so that no intake counts a record in a zone,
//! or takes one of a time, that was the tenant's before.

mod sql;

use std::collections::HashMap;

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use sqlx::PgConnection;
use tollgate_proto::TenantId;
use uuid::Uuid;

use crate::{calendar::TimeZone, db::TenantTx};

/// How far ahead of the control plane's clock that of a data plane may be.
const AHEAD_MAX: TimeDelta = TimeDelta::hours(1);

/// The terms of one tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    /// Whose days are counted.
    pub(super) zone: TimeZone,
    /// In which the days are counted that were counted before; `None` before the first time.
    pub(super) days_zone: Option<TimeZone>,
    /// How many days before today (UTC) records are kept.
    retention: Days,
    /// The first day (UTC) of which no records were removed; `None` when none ever were.
    pub(super) kept_from: Option<NaiveDate>,
}

/// Where the time of a record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timeliness {
    /// Where it can be stored.
    Good,
    /// Too far ahead of the clock.
    Future,
    /// Among records that are no longer kept, so that nobody can tell whether it was stored before.
    Expired,
}

impl Terms {
    /// Whether a record of this time can be stored now.
    pub(super) fn timeliness(&self, at: DateTime<Utc>, now: DateTime<Utc>) -> Timeliness {
        let first = self.kept_from.into_iter().fold(self.keeps_from(now), NaiveDate::max);
        if at.date_naive() < first {
            Timeliness::Expired
        } else if at > now + AHEAD_MAX {
            Timeliness::Future
        } else {
            Timeliness::Good
        }
    }

    /// The first day whose records are to be kept.
    pub(super) fn keeps_from(&self, now: DateTime<Utc>) -> NaiveDate {
        now.date_naive() - self.retention
    }

    /// Whether the sums of days are those of the tenant's zone.
    pub(super) fn days_are_counted(&self) -> bool {
        self.days_zone == Some(self.zone)
    }

    /// The first calendar day that can be counted anew: all its records are kept, whichever zone it is a day of.
    pub(super) fn countable_from(&self) -> Option<NaiveDate> {
        self.kept_from.map(|day| day + Days::new(1))
    }
}

/// The terms of those of the tenants that exist; neither they nor the tenants change until the transaction ends.
///
/// # Errors
/// When Postgres is away, or a zone is not known here: that is an older control plane than the one that took it.
pub(super) async fn hold(
    connection: &mut PgConnection,
    tenants: impl Iterator<Item = TenantId>,
) -> Result<HashMap<TenantId, Terms>, sqlx::Error> {
    let tenants: Vec<Uuid> = tenants.map(|tenant| tenant.uuid()).collect();
    sql::share_locks(connection, &tenants.iter().map(lock_of).collect::<Vec<_>>()).await?;
    sql::lock_tenants(connection, &tenants).await
}

/// Waits for the intakes that are under way, and holds up the others until the transaction ends: it changes the terms.
///
/// # Errors
/// When Postgres is away.
pub async fn change(tx: &mut TenantTx) -> Result<(), sqlx::Error> {
    let lock = lock_of(&tx.tenant().uuid());
    sql::take_lock(tx, lock).await
}

/// The terms of the transaction's tenant.
///
/// # Errors
/// When Postgres is away, or the zone is not known here.
pub(super) async fn read(tx: &mut TenantTx) -> Result<Terms, sqlx::Error> {
    let tenant = tx.tenant();
    sql::select(tx, tenant).await
}

/// Two tenants that share a lock wait for each other now and then, no more.
fn lock_of(tenant: &Uuid) -> i64 {
    /// Tells these locks from the other advisory locks of this database.
    const TERMS: u64 = 0x7465_726d << 32;
    let (_, random) = tenant.as_u64_pair();
    (TERMS | (random & u64::from(u32::MAX))).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_taken_from_the_first_day_that_is_kept_to_an_hour_from_now() {
        let moment = |text: &str| text.parse::<DateTime<Utc>>().expect("a moment");
        let now = moment("2026-11-23T12:00:00Z");
        let terms = Terms { zone: TimeZone::UTC, days_zone: None, retention: Days::new(2), kept_from: None };
        for (at, timeliness) in [
            ("2026-11-20T23:59:59.999Z", Timeliness::Expired),
            ("2026-11-21T00:00:00Z", Timeliness::Good),
            ("2026-11-23T13:00:00Z", Timeliness::Good),
            ("2026-11-23T13:00:00.001Z", Timeliness::Future),
        ] {
            assert_eq!(terms.timeliness(moment(at), now), timeliness, "{at}");
        }
        // Kept for longer now, but what was removed before stays unknown.
        let longer = Terms { retention: Days::new(90), kept_from: "2026-11-22".parse().ok(), ..terms };
        assert_eq!(longer.timeliness(moment("2026-11-21T12:00:00Z"), now), Timeliness::Expired);
        assert_eq!(longer.timeliness(moment("2026-11-22T00:00:00Z"), now), Timeliness::Good);
        assert_eq!(longer.countable_from(), "2026-11-23".parse().ok());
    }
}
