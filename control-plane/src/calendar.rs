//! Calendar days in a tenant's time zone.
//!
//! The rules of the zones are compiled in rather than Postgres' own, so that every control plane agrees on a day
//! whichever Postgres it uses, and a zone that an operating system no longer ships does not stop the intake.
//!
//! Invariant: the days of a zone divide time. Every moment lies in exactly one day, however clocks were changed.

use std::{fmt, ops::Range, str::FromStr};

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use chrono_tz::Tz;

/// A time zone by its IANA name; UTC unless told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeZone(Tz);

/// The name is no IANA name of a time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write the IANA name of a time zone, as `Europe/Berlin` or `UTC`")]
pub struct UnknownTimeZone;

/// A calendar day and the moments that belong to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Day {
    /// What the calendar calls it.
    pub date: NaiveDate,
    /// From its first moment to that of the next day. Empty for a day that the zone left out.
    pub span: Range<DateTime<Utc>>,
}

/// No local time is further from UTC.
const OFFSET_MAX: TimeDelta = TimeDelta::hours(16);

impl TimeZone {
    /// The zone that tenants have unless they say another one.
    pub const UTC: Self = Self(Tz::UTC);

    /// The day that a moment belongs to.
    #[must_use]
    pub fn day_at(self, at: DateTime<Utc>) -> Day {
        let shown = self.shown(at);
        // Where clocks went back over midnight a date was shown twice; the day is the one that began last.
        let begun = [next(shown), shown].into_iter().find(|date| self.start_of(*date) <= at);
        self.day(begun.unwrap_or_else(|| shown.pred_opt().unwrap_or(shown)))
    }

    /// The day of this date.
    #[must_use]
    pub fn day(self, date: NaiveDate) -> Day {
        Day { date, span: self.start_of(date)..self.start_of(next(date)) }
    }

    /// The first moment of a date: midnight, or when the clocks left midnight out, the moment after.
    #[must_use]
    pub fn start_of(self, date: NaiveDate) -> DateTime<Utc> {
        let midnight = date.and_time(NaiveTime::MIN).and_utc();
        let (mut before, mut from) = (midnight - OFFSET_MAX, midnight + OFFSET_MAX);
        // The zone shows an earlier date at `before`, and not at `from`; clocks change at whole seconds.
        while from - before > TimeDelta::seconds(1) {
            let middle = before + TimeDelta::seconds((from - before).num_seconds() / 2);
            if self.shown(middle) < date { before = middle } else { from = middle }
        }
        from
    }

    fn shown(self, at: DateTime<Utc>) -> NaiveDate {
        at.with_timezone(&self.0).date_naive()
    }
}

/// The last day that there is has no next one.
fn next(date: NaiveDate) -> NaiveDate {
    date.checked_add_days(Days::new(1)).unwrap_or(date)
}

impl FromStr for TimeZone {
    type Err = UnknownTimeZone;

    fn from_str(name: &str) -> Result<Self, UnknownTimeZone> {
        name.parse().map(Self).map_err(|_| UnknownTimeZone)
    }
}

impl fmt::Display for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

impl Default for TimeZone {
    fn default() -> Self {
        Self::UTC
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn zone(name: &str) -> TimeZone {
        name.parse().expect("a time zone")
    }

    fn date(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    fn moment(text: &str) -> DateTime<Utc> {
        text.parse().expect("a moment")
    }

    #[test]
    fn a_day_begins_at_midnight_where_the_zone_has_it() {
        for (name, day, begins_at) in [
            ("UTC", "2026-11-23", "2026-11-23T00:00:00Z"),
            ("Asia/Kolkata", "2026-11-23", "2026-11-22T18:30:00Z"),
            ("Asia/Kathmandu", "2026-11-23", "2026-11-22T18:15:00Z"),
            ("America/Los_Angeles", "2026-11-23", "2026-11-23T08:00:00Z"),
            ("Pacific/Kiritimati", "2026-11-23", "2026-11-22T10:00:00Z"),
            // At midnight the clocks went on to one.
            ("Asia/Beirut", "2026-03-29", "2026-03-28T22:00:00Z"),
            // At one they went back to midnight.
            ("America/Havana", "2026-11-01", "2026-11-01T04:00:00Z"),
        ] {
            assert_eq!(zone(name).start_of(date(day)), moment(begins_at), "{name}");
        }
    }

    #[test]
    fn days_are_as_long_as_clocks_make_them() {
        for (name, day, hours) in [
            ("Europe/Berlin", "2026-03-29", 23),
            ("Europe/Berlin", "2026-10-25", 25),
            ("Europe/Berlin", "2026-11-23", 24),
            // Samoa moved over the date line and had no such day.
            ("Pacific/Apia", "2011-12-30", 0),
        ] {
            let span = zone(name).day(date(day)).span;
            assert_eq!((span.end - span.start).num_hours(), hours, "{name} {day}");
        }
    }

    #[test]
    fn what_is_no_zone_is_refused() {
        for name in ["", "Mars/Olympus", "+01:00", "europe/berlin", "../UTC"] {
            assert_eq!(name.parse::<TimeZone>(), Err(UnknownTimeZone), "{name}");
        }
        assert_eq!(zone("Europe/Berlin").to_string(), "Europe/Berlin");
    }

    proptest! {
        #[test]
        fn every_moment_lies_in_its_day_and_days_meet(zone in 0..chrono_tz::TZ_VARIANTS.len(), seconds in 0_i64..4_102_444_800) {
            let zone = TimeZone(chrono_tz::TZ_VARIANTS[zone]);
            let at = DateTime::from_timestamp(seconds, 0).expect("in range");
            let day = zone.day_at(at);
            prop_assert!(day.span.contains(&at), "{zone} {at} {day:?}");
            prop_assert_eq!(zone.day(next(day.date)).span.start, day.span.end);
        }
    }
}
