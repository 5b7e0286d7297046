//! Calendar periods, and the days that they have.
//!
//! Invariant: the periods of one kind divide the calendar: every day lies in exactly one, and each ends where the next
//! begins.

use chrono::{DateTime, Datelike as _, Days, Months, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use tollgate_proto::policy::v1 as wire;
use utoipa::ToSchema;

use crate::calendar::TimeZone;

/// How many calendar years a policy knows the periods of.
const YEARS: i32 = 3;

/// For how long a budget is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    /// A calendar day.
    Day,
    /// From Monday to Sunday.
    Week,
    /// A calendar month.
    Month,
    /// From January, April, July or October on.
    Quarter,
    /// A calendar year.
    Year,
}

/// The days of one period: from the first one to the one that is no longer in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from: NaiveDate,
    pub(crate) to: NaiveDate,
}

impl Period {
    /// All there are.
    pub const ALL: [Self; 5] = [Self::Day, Self::Week, Self::Month, Self::Quarter, Self::Year];

    /// As specs and the database write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Quarter => "quarter",
            Self::Year => "year",
        }
    }

    /// The one that is written so.
    pub(crate) fn read(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|period| period.as_str() == text)
    }

    /// As policies name it.
    pub(crate) const fn wire(self) -> wire::Period {
        match self {
            Self::Day => wire::Period::Day,
            Self::Week => wire::Period::Week,
            Self::Month => wire::Period::Month,
            Self::Quarter => wire::Period::Quarter,
            Self::Year => wire::Period::Year,
        }
    }

    /// The one that a policy names.
    pub(crate) fn of_wire(named: wire::Period) -> Option<Self> {
        Self::ALL.into_iter().find(|period| period.wire() == named)
    }

    /// The period that a day lies in.
    pub(crate) fn around(self, day: NaiveDate) -> Span {
        let month = |month0: u32| first_of(day.year(), month0 + 1);
        match self {
            Self::Day => Span { from: day, to: day + Days::new(1) },
            Self::Week => {
                let monday = day - Days::new(day.weekday().num_days_from_monday().into());
                Span { from: monday, to: monday + Days::new(7) }
            }
            Self::Month => months(month(day.month0()), 1),
            Self::Quarter => months(month(day.month0() / 3 * 3), 3),
            Self::Year => months(month(0), 12),
        }
    }

    /// When the periods of three calendar years begin, in Unix seconds; the first one is that in which the years begin.
    pub(crate) fn starts(self, zone: TimeZone, year: i32) -> Vec<i64> {
        let end = first_of(year + YEARS, 1);
        let first = self.around(first_of(year, 1));
        let spans = std::iter::successors(Some(first), |span| Some(self.around(span.to)));
        let mut starts: Vec<i64> =
            spans.take_while(|span| span.from < end).map(|span| span.start(zone).timestamp()).collect();
        // A day that a zone left out has no moment of its own.
        starts.dedup();
        starts
    }
}

impl Span {
    /// Its first moment.
    pub(crate) fn start(self, zone: TimeZone) -> DateTime<Utc> {
        zone.start_of(self.from)
    }

    /// The first moment that is no longer in it.
    pub(crate) fn end(self, zone: TimeZone) -> DateTime<Utc> {
        zone.start_of(self.to)
    }
}

fn months(from: NaiveDate, count: u32) -> Span {
    Span { from, to: from + Months::new(count) }
}

fn first_of(year: i32, month: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, 1).expect("a month of a calendar year that people live in")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    fn zone(name: &str) -> TimeZone {
        name.parse().expect("a time zone")
    }

    #[test]
    fn a_day_lies_in_the_periods_of_the_calendar() {
        for (period, day, from, to) in [
            (Period::Day, "2026-02-28", "2026-02-28", "2026-03-01"),
            (Period::Week, "2026-11-23", "2026-11-23", "2026-11-30"),
            (Period::Week, "2027-01-01", "2026-12-28", "2027-01-04"),
            (Period::Month, "2028-02-29", "2028-02-01", "2028-03-01"),
            (Period::Month, "2026-12-31", "2026-12-01", "2027-01-01"),
            (Period::Quarter, "2026-11-23", "2026-10-01", "2027-01-01"),
            (Period::Quarter, "2026-06-30", "2026-04-01", "2026-07-01"),
            (Period::Year, "2026-01-01", "2026-01-01", "2027-01-01"),
        ] {
            let expected = Span { from: date(from), to: date(to) };
            assert_eq!(period.around(date(day)), expected, "{period:?} {day}");
        }
    }

    #[test]
    fn periods_are_as_long_as_the_clocks_of_their_zone_make_them() {
        for (name, period, day, hours) in [
            // March has the hour that is left out, October the one that comes twice.
            ("Europe/Berlin", Period::Month, "2026-03-15", 31 * 24 - 1),
            ("Europe/Berlin", Period::Month, "2026-10-15", 31 * 24 + 1),
            ("Europe/Berlin", Period::Day, "2026-03-29", 23),
            ("Europe/Berlin", Period::Quarter, "2026-11-01", 92 * 24 + 1),
            ("America/New_York", Period::Week, "2026-03-08", 7 * 24 - 1),
            ("America/New_York", Period::Month, "2026-11-30", 30 * 24 + 1),
            ("America/New_York", Period::Year, "2026-05-05", 365 * 24),
            ("Asia/Kathmandu", Period::Month, "2028-02-10", 29 * 24),
        ] {
            let (zone, span) = (zone(name), period.around(date(day)));
            assert_eq!((span.end(zone) - span.start(zone)).num_hours(), hours, "{name} {period:?} {day}");
        }
        let november = Period::Month.around(date("2026-11-23"));
        assert_eq!(november.start(zone("Asia/Kathmandu")).to_rfc3339(), "2026-10-31T18:15:00+00:00");
    }

    #[test]
    fn three_years_have_every_start_and_that_of_the_week_in_which_they_begin() {
        let counts = Period::ALL.map(|period| period.starts(TimeZone::UTC, 2026).len());
        // 2028 is a leap year; of the weeks the first began in 2025, and the last Monday is 2028-12-25.
        assert_eq!(counts, [365 + 365 + 366, 157, 36, 12, 3]);
        let weeks = Period::Week.starts(zone("Europe/Berlin"), 2026);
        assert_eq!(weeks[0], zone("Europe/Berlin").start_of(date("2025-12-29")).timestamp());
        // Samoa had no 2011-12-30.
        assert_eq!(Period::Day.starts(zone("Pacific/Apia"), 2011).len(), 365 + 366 + 365 - 1);
    }

    proptest! {
        #[test]
        fn every_day_lies_in_its_period_and_periods_meet(days in 0_u64..40_000, kind in 0..Period::ALL.len()) {
            let day = date("1990-01-01") + Days::new(days);
            let (period, span) = (Period::ALL[kind], Period::ALL[kind].around(day));
            prop_assert!(span.from <= day && day < span.to);
            prop_assert_eq!(period.around(span.from), span);
            prop_assert_eq!(period.around(span.to).from, span.to);
        }

        #[test]
        fn what_is_known_of_three_years_is_what_each_day_says(days in 0_u64..1_095, kind in 0..Period::ALL.len(), at in 0..3_usize) {
            let zone = zone(["Europe/Berlin", "America/New_York", "Asia/Kathmandu"][at]);
            let (period, day) = (Period::ALL[kind], date("2026-01-01") + Days::new(days));
            let moment = zone.start_of(day).timestamp();
            let starts = period.starts(zone, 2026);
            let latest = starts.iter().rev().find(|start| **start <= moment).expect("the first one is before");
            prop_assert_eq!(*latest, period.around(day).start(zone).timestamp());
        }
    }
}
