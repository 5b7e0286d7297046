//! A span of time, cut along what is stored as sums: whole days, whole hours, and what is left of hours at its ends.
//!
//! Invariant: the pieces of a span are disjoint and together they are the span.

use std::ops::Range;

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};

use crate::{calendar::TimeZone, usage::rollup::hour_of};

/// Before the first call that could have been.
const BEGINNING: NaiveDate = NaiveDate::from_ymd_opt(1969, 12, 1).expect("a date");
/// After the last call that could have been: none is taken from the future.
const END: NaiveDate = NaiveDate::from_ymd_opt(9999, 12, 31).expect("a date");
const HOUR: TimeDelta = TimeDelta::hours(1);

/// What a span consists of.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pieces {
    /// Empty, or one range.
    pub(super) days: Range<NaiveDate>,
    /// Of whole hours (UTC), beside the days.
    pub(super) hours: Vec<Range<DateTime<Utc>>>,
    /// Each shorter than an hour.
    pub(super) moments: Vec<Range<DateTime<Utc>>>,
}

impl Pieces {
    /// Cuts `from..to`; an end that is absent is open. With days where there are sums of the days of a `zone`.
    pub(super) fn of(from: Option<DateTime<Utc>>, to: Option<DateTime<Utc>>, zone: Option<TimeZone>) -> Self {
        let mut pieces = Self::default();
        let earliest = BEGINNING.and_time(chrono::NaiveTime::MIN).and_utc();
        let latest = END.and_time(chrono::NaiveTime::MIN).and_utc();
        let span = from.unwrap_or(earliest).max(earliest)..to.unwrap_or(latest).min(latest);
        if span.is_empty() {
            return pieces;
        }
        let days = zone.map(|zone| (zone, whole_days(zone, &span))).filter(|(_, days)| !days.is_empty());
        let Some((zone, days)) = days else {
            pieces.cut(span);
            return pieces;
        };
        pieces.cut(span.start..zone.start_of(days.start));
        pieces.cut(zone.start_of(days.end)..span.end);
        pieces.days = days;
        pieces
    }

    /// Adds a span that has no days.
    fn cut(&mut self, span: Range<DateTime<Utc>>) {
        let first = hour_of(span.start + HOUR - TimeDelta::nanoseconds(1));
        let hours = first..hour_of(span.end).max(first);
        // Within one hour there is one piece, which ends before the next hour begins.
        for moments in [span.start..first.min(span.end), hours.end.max(span.start)..span.end] {
            if !moments.is_empty() && !self.moments.contains(&moments) {
                self.moments.push(moments);
            }
        }
        if !hours.is_empty() {
            self.hours.push(hours);
        }
    }
}

/// The days that lie wholly in the span.
fn whole_days(zone: TimeZone, span: &Range<DateTime<Utc>>) -> Range<NaiveDate> {
    let first = zone.day_at(span.start);
    let first = if first.span.start < span.start { first.date + Days::new(1) } else { first.date };
    first..zone.day_at(span.end).date.max(first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn moment(text: &str) -> DateTime<Utc> {
        text.parse().expect("a moment")
    }

    fn date(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    #[test]
    fn a_month_is_its_days() {
        let berlin: TimeZone = "Europe/Berlin".parse().expect("a zone");
        let (from, to) = (moment("2026-09-30T22:00:00Z"), moment("2026-10-31T23:00:00Z"));
        let pieces = Pieces::of(Some(from), Some(to), Some(berlin));
        assert_eq!(pieces, Pieces { days: date("2026-10-01")..date("2026-11-01"), ..Pieces::default() });
    }

    #[test]
    fn open_ends_are_days() {
        let pieces = Pieces::of(None, None, Some(TimeZone::UTC));
        assert_eq!((pieces.hours, pieces.moments), (Vec::new(), Vec::new()));
        assert!(pieces.days.contains(&date("2026-11-23")));
    }

    #[test]
    fn within_an_hour_there_is_one_piece() {
        let (from, to) = (moment("2026-11-23T10:10:00Z"), moment("2026-11-23T10:20:00Z"));
        let pieces = Pieces::of(Some(from), Some(to), Some(TimeZone::UTC));
        assert_eq!(pieces, Pieces { moments: vec![from..to], ..Pieces::default() });
    }

    fn seconds(range: &Range<DateTime<Utc>>) -> Range<i64> {
        range.start.timestamp()..range.end.timestamp()
    }

    proptest! {
        #[test]
        fn the_pieces_of_a_span_are_the_span(
            zone in prop::sample::select(vec![None, Some("UTC"), Some("Asia/Kolkata"), Some("America/St_Johns"), Some("Europe/Berlin")]),
            from in 1_790_000_000_i64..1_800_000_000,
            length in 0_i64..1_000_000,
        ) {
            let zone = zone.map(|name| name.parse::<TimeZone>().expect("a zone"));
            let at = |seconds| DateTime::from_timestamp(seconds, 0).expect("in range");
            let pieces = Pieces::of(Some(at(from)), Some(at(from + length)), zone);
            let mut ranges: Vec<_> = pieces.hours.iter().chain(&pieces.moments).map(seconds).collect();
            if let Some(zone) = zone && !pieces.days.is_empty() {
                ranges.push(seconds(&(zone.start_of(pieces.days.start)..zone.start_of(pieces.days.end))));
            }
            ranges.sort_by_key(|range| range.start);
            let mut until = from;
            for range in ranges {
                prop_assert_eq!(range.start, until);
                until = range.end;
            }
            prop_assert_eq!(until, from + length);
            for hours in &pieces.hours {
                prop_assert_eq!((hours.start, hours.end), (hour_of(hours.start), hour_of(hours.end)));
            }
            prop_assert!(pieces.moments.iter().all(|moments| moments.end - moments.start < HOUR));
        }
    }
}
