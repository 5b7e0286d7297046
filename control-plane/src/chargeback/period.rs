//! Which calendar days a report is about.

use chrono::{Datelike as _, Months, NaiveDate};

/// Days, the last not included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// The first day.
    pub from: NaiveDate,
    /// The first day that no longer belongs to it.
    pub to: NaiveDate,
}

/// A text that names no period.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no period: write `2026-11`, `2026-Q4`, `2026`, `2026-11-23`, `2026-11-01..2026-11-15` (the last day is not in \
     it), `current` or `previous`"
)]
pub struct PeriodError(String);

/// No report goes over more: ten years.
const DAYS_MAX: i64 = 3_660;

impl Period {
    /// The period that `text` names, where `current` is the month of `today`.
    ///
    /// # Errors
    /// When it names none, or more than ten years.
    pub fn read(text: &str, today: NaiveDate) -> Result<Self, PeriodError> {
        let refuse = || PeriodError(text.chars().take(40).collect());
        let period = match text {
            "current" => Self::month(today),
            "previous" => today.with_day(1).and_then(|first| first.pred_opt()).and_then(Self::month),
            _ => Self::named(text),
        };
        period.filter(|period| (1..=DAYS_MAX).contains(&(period.to - period.from).num_days())).ok_or_else(refuse)
    }

    fn named(text: &str) -> Option<Self> {
        if let Some((from, to)) = text.split_once("..") {
            return Some(Self { from: day(from)?, to: day(to)? });
        }
        if let Some(from) = day(text) {
            return Some(Self { from, to: from.succ_opt()? });
        }
        if let Some((year, quarter)) = text.split_once("-Q") {
            let quarter = quarter.parse::<u32>().ok().filter(|number| (1..=4).contains(number))?;
            return Self::months(first(year, quarter * 3 - 2)?, 3);
        }
        match text.split_once('-') {
            Some((year, month)) if month.len() == 2 => Self::months(first(year, month.parse().ok()?)?, 1),
            Some(_) => None,
            None => Self::months(first(text, 1)?, 12),
        }
    }

    /// The month that a day lies in.
    #[must_use]
    pub fn month(day: NaiveDate) -> Option<Self> {
        Self::months(day.with_day(1)?, 1)
    }

    fn months(from: NaiveDate, count: u32) -> Option<Self> {
        Some(Self { from, to: from.checked_add_months(Months::new(count))? })
    }
}

fn day(text: &str) -> Option<NaiveDate> {
    // The parser takes more than is meant: `2026-1-1`, `+2026-01-01`.
    (text.len() == 10).then(|| text.parse().ok()).flatten()
}

fn first(year: &str, month: u32) -> Option<NaiveDate> {
    let digits = year.len() == 4 && year.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| NaiveDate::from_ymd_opt(year.parse().ok()?, month, 1)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_written_as_people_write_it() {
        let today = "2026-03-31".parse().expect("a day");
        for (text, from, to) in [
            ("2026", "2026-01-01", "2027-01-01"),
            ("2026-Q1", "2026-01-01", "2026-04-01"),
            ("2026-Q4", "2026-10-01", "2027-01-01"),
            ("2024-02", "2024-02-01", "2024-03-01"),
            ("2026-12-31", "2026-12-31", "2027-01-01"),
            ("2026-11-01..2026-11-15", "2026-11-01", "2026-11-15"),
            ("current", "2026-03-01", "2026-04-01"),
            ("previous", "2026-02-01", "2026-03-01"),
        ] {
            let period = Period::read(text, today).expect(text);
            assert_eq!((period.from.to_string(), period.to.to_string()), (from.to_owned(), to.to_owned()), "{text}");
        }
        for text in [
            "",
            "26",
            "2026-13",
            "2026-1",
            "2026-Q5",
            "2026-Q",
            "2026-02-30",
            "2026-11-15..2026-11-01",
            "+2026",
            "now",
            "2026-11-01..2026-11-01",
            "2000-01-01..2026-01-01",
            "2026-11-01..",
            "٢٠٢٦",
        ] {
            assert!(Period::read(text, today).is_err(), "{text}");
        }
    }
}
