//! From when on a book may say something.
//!
//! Invariant: nothing is published that changes which price a call of the past would have had, where it had one; and no
//! two books begin at one moment for one team.

use chrono::{DateTime, SecondsFormat, Utc};
use tollgate_proto::Name;

use super::Published;
use crate::{calendar::TimeZone, error::Faults, request};

const POINTER: &str = "/spec/effective_from";

/// The moment that a spec names: RFC 3339, or the first of a day in UTC.
pub(super) fn read(text: &str, faults: &mut Faults) -> Option<DateTime<Utc>> {
    // As fine as Postgres keeps it: two books must not begin at one moment and look as if they did not.
    let read =
        request::moment_of(TimeZone::UTC, text).and_then(|at| DateTime::from_timestamp_micros(at.timestamp_micros()));
    if read.is_none() {
        faults.add(POINTER, "moment", "write a day in UTC or a moment, as in `2027-01-01` or `2027-01-01T08:00:00Z`");
    }
    read
}

/// Whether what begins at `from` for these teams goes with everything else that is published.
pub(super) fn check(
    from: DateTime<Utc>,
    teams: Option<&[Name]>,
    now: DateTime<Utc>,
    others: &[Published],
    faults: &mut Faults,
) {
    // Of the book itself, what is not in force yet is replaced.
    let mut standing = others.iter().filter(|other| !(other.own && other.from > now));
    if let Some(other) = standing.clone().find(|other| from < now && other.decided_since(from, now, teams)) {
        faults.add(POINTER, "in_the_past", past(other, from, now));
    } else if let Some(other) = standing.find(|other| other.from == from && other.is_rival(teams)) {
        let detail = format!(
            "price book `{}` begins at that moment too, for the same teams: which one would count?",
            other.book
        );
        faults.add(POINTER, "overlap", detail);
    }
}

fn past(other: &Published, from: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let text = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let whose = if other.own { "this price book".to_owned() } else { format!("price book `{}`", other.book) };
    format!(
        "calls since {} have had prices of {whose}, and those never change: begin at {} or later",
        text(from.max(other.from)),
        text(now),
    )
}

impl Published {
    /// Whether calls that what begins at `from` would decide had prices of this.
    fn decided_since(&self, from: DateTime<Utc>, now: DateTime<Utc>, teams: Option<&[Name]>) -> bool {
        let was_in_force = self.from < now && self.until.is_none_or(|until| until > from);
        // A book for everyone takes nothing from a team that has one of its own; a book that changes ends what it said.
        was_in_force && (self.own || self.teams.is_none() || self.is_rival(teams))
    }

    /// Whether both decide for the same teams, with the same precedence.
    fn is_rival(&self, teams: Option<&[Name]>) -> bool {
        match (&self.teams, teams) {
            (None, None) => true,
            (Some(own), Some(teams)) => teams.iter().any(|team| own.iter().any(|name| name == team.as_str())),
            _ => false,
        }
    }
}
