//! When an agent is told that a list has changed.
//!
//! Invariant: of one list of one server the agent is told at most once in an interval, and after the last change that
//! was heard of at least once. A change of which several streams hear is told once.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::{Duration, Instant};
use tollgate_proto::ServerId;

use crate::store::ChangedList;

/// Between two times that an agent is told of one list.
const INTERVAL: Duration = Duration::from_secs(1);
/// How far apart several streams hear of one change.
const ECHO: Duration = Duration::from_millis(500);

/// Where it was heard that a list changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// From the server, on the agent's own behalf.
    Server,
    /// From the policy, or because something may have been missed.
    Policy,
    /// From the server, on behalf of somebody else.
    Elsewhere,
}

/// What an agent was told, and when it is told again.
#[derive(Debug, Default)]
pub struct Pace {
    lists: BTreeMap<(ServerId, ChangedList), Told>,
}

#[derive(Debug, Default)]
struct Told {
    /// When the server said it on the agent's own behalf.
    heard_at: Option<Instant>,
    /// When the agent was told.
    told_at: Option<Instant>,
    /// When it is to be told.
    due_at: Option<Instant>,
}

impl Pace {
    /// A list has changed.
    pub fn heard(&mut self, from: From, server: ServerId, list: ChangedList, now: Instant) {
        let told = self.lists.entry((server, list)).or_default();
        let earliest = told.told_at.map_or(now, |at| now.max(at + INTERVAL));
        match from {
            From::Server | From::Policy => {
                told.due_at = Some(told.due_at.map_or(earliest, |due| due.min(earliest)));
                if from == From::Server {
                    told.heard_at = Some(now);
                }
            }
            // The server has just said the same here.
            From::Elsewhere if told.heard_at.is_some_and(|at| now < at + ECHO) => {}
            // The server may be about to say it here, too.
            From::Elsewhere if told.due_at.is_none() => told.due_at = Some(earliest.max(now + ECHO)),
            From::Elsewhere => {}
        }
    }

    /// The server has told the agent itself.
    pub fn passed(&mut self, server: ServerId, list: ChangedList, now: Instant) {
        self.lists.insert((server, list), Told { heard_at: Some(now), told_at: Some(now), due_at: None });
    }

    /// The lists of which the agent is told now.
    pub fn due(&mut self, now: Instant) -> BTreeSet<ChangedList> {
        let mut due = BTreeSet::new();
        for ((_, list), told) in &mut self.lists {
            if told.due_at.is_some_and(|at| at <= now) {
                (told.told_at, told.due_at) = (Some(now), None);
                due.insert(*list);
            }
        }
        due
    }

    /// When it is to be told something next.
    pub fn next(&self) -> Option<Instant> {
        self.lists.values().filter_map(|told| told.due_at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOLS: ChangedList = ChangedList::Tools;

    /// Tells until nothing is due any more; answers with how long after `start` the agent was told each time.
    fn told(pace: &mut Pace, start: Instant) -> Vec<Duration> {
        let mut times = Vec::new();
        while let Some(next) = pace.next() {
            assert_eq!(pace.due(next), BTreeSet::from([TOOLS]));
            times.push(next - start);
        }
        times
    }

    #[test]
    fn a_flood_is_told_at_once_and_once_more_at_the_end() {
        let (mut pace, server, start) = (Pace::default(), ServerId::new(), Instant::now());
        pace.heard(From::Server, server, TOOLS, start);
        assert_eq!(pace.due(start), BTreeSet::from([TOOLS]));
        for ms in 1..900 {
            pace.heard(From::Server, server, TOOLS, start + Duration::from_millis(ms));
        }
        assert_eq!(told(&mut pace, start), [INTERVAL]);
    }

    #[test]
    fn a_change_that_others_hear_of_too_is_told_once() {
        let (server, start) = (ServerId::new(), Instant::now());
        let later = start + ECHO / 2;
        for (first, second) in [(From::Server, From::Elsewhere), (From::Elsewhere, From::Server)] {
            let mut pace = Pace::default();
            pace.heard(first, server, TOOLS, start);
            pace.due(start);
            pace.heard(second, server, TOOLS, later);
            pace.due(later);
            assert_eq!(pace.next(), None, "{first:?}, then {second:?}");
        }
        let mut pace = Pace::default();
        pace.heard(From::Elsewhere, server, TOOLS, start);
        pace.passed(server, TOOLS, later);
        pace.heard(From::Elsewhere, server, TOOLS, later);
        assert_eq!(pace.next(), None);
    }

    #[test]
    fn a_change_that_only_others_hear_of_is_told() {
        let (mut pace, server, start) = (Pace::default(), ServerId::new(), Instant::now());
        pace.heard(From::Elsewhere, server, TOOLS, start);
        pace.heard(From::Elsewhere, server, TOOLS, start + ECHO / 2);
        assert_eq!(told(&mut pace, start), [ECHO]);
        pace.heard(From::Elsewhere, server, TOOLS, start + ECHO);
        assert_eq!(told(&mut pace, start), [ECHO + INTERVAL]);
    }

    #[test]
    fn several_servers_that_change_at_once_are_told_of_together() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        for server in [ServerId::new(), ServerId::new()] {
            pace.heard(From::Server, server, TOOLS, start);
        }
        assert_eq!(pace.due(start), BTreeSet::from([TOOLS]));
        assert_eq!(pace.next(), None);
    }
}
