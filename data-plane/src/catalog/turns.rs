//! When servers are read that may have changed: at once, but not again before a while has passed.
//!
//! Invariant: whoever wants a server to be read gets a reading that begins after that, and however often it is wanted,
//! no server is read more often than once in [`REST`].

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;
use tollgate_proto::ServerId;

/// How long a server that was read is left alone.
pub(super) const REST: Duration = Duration::from_secs(5);

/// Whose turn it is, and when.
#[derive(Debug, Default)]
pub(super) struct Turns {
    wanted: HashMap<ServerId, Instant>,
    /// Until when those that were read are left alone.
    resting: HashMap<ServerId, Instant>,
}

impl Turns {
    /// The server is to be read as soon as it may be.
    pub(super) fn want(&mut self, server: ServerId, now: Instant) {
        self.resting.retain(|_, until| *until > now);
        let from = self.resting.get(&server).copied().unwrap_or(now);
        self.wanted.entry(server).or_insert(from);
    }

    /// Those that are to be read now, the longest wanted first and so many at most.
    pub(super) fn take(&mut self, now: Instant, count: usize) -> Vec<ServerId> {
        let mut due: Vec<_> =
            self.wanted.iter().filter(|(_, from)| **from <= now).map(|(id, from)| (*from, *id)).collect();
        due.sort_unstable();
        due.truncate(count);
        let taken = due.into_iter().map(|(_, server)| server);
        taken
            .inspect(|server| {
                self.wanted.remove(server);
                self.resting.insert(*server, now + REST);
            })
            .collect()
    }

    /// When the next one is to be read.
    pub(super) fn next(&self) -> Option<Instant> {
        self.wanted.values().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_read_at_once_and_then_left_alone_for_a_while() {
        let (mut turns, server, now) = (Turns::default(), ServerId::new(), Instant::now());
        turns.want(server, now);
        turns.want(server, now);
        assert_eq!(turns.take(now, 9), [server]);
        assert_eq!(turns.next(), None);
        turns.want(server, now + REST / 2);
        assert_eq!(turns.take(now + REST / 2, 9), [], "it rests");
        assert_eq!(turns.next(), Some(now + REST), "what was wanted meanwhile is not forgotten");
        assert_eq!(turns.take(now + REST, 9), [server]);
    }

    #[test]
    fn who_has_waited_longest_comes_first() {
        let (mut turns, now) = (Turns::default(), Instant::now());
        let servers: Vec<_> = (0..3).map(|_| ServerId::new()).collect();
        for (at, server) in servers.iter().enumerate() {
            turns.want(*server, now + Duration::from_millis(at as u64));
        }
        let later = now + Duration::from_secs(1);
        assert_eq!(turns.take(later, 2), servers[..2]);
        assert_eq!(turns.take(later, 2), servers[2..]);
    }
}
