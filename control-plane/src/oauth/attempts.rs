//! Wrong secrets, counted per client and address, so that nobody can go on guessing (RFC 6749 section 2.3.1).
//!
//! Invariant: it holds a bounded number of entries, and a request that succeeds is never counted.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tollgate_proto::TenantId;

use super::client::ClientId;
use crate::secret::Digest;

const FAILURES_MAX: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);
const ENTRIES_MAX: usize = 10_000;
/// One network's worth of IPv6: whoever has one address has the whole /64.
const IPV6_NETWORK: u128 = !0 << 64;

/// Who is guessing at what. Texts that can be no `client_id` share one entry per address: none of them can be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Guesser {
    tenant: TenantId,
    /// SHA-256 of the `client_id`, so that every entry is of one size.
    client: Option<Digest>,
    peer: Option<IpAddr>,
}

impl Guesser {
    /// `peer` is absent where the transport has no addresses.
    pub(super) fn new(tenant: TenantId, client_id: &str, peer: Option<IpAddr>) -> Self {
        let network = |address: IpAddr| match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & IPV6_NETWORK)),
        };
        let client = (ClientId::of(client_id) != ClientId::Nobody).then(|| Digest::of(client_id));
        Self { tenant, client, peer: peer.map(network) }
    }
}

#[derive(Debug, Clone, Copy)]
struct Count {
    failures: u32,
    ends_at: Instant,
}

/// Failed attempts of the last minute. In memory and per process: against 256 random bits a few processes' worth of
/// guesses do not matter, and a shared counter would be one more thing that can be away.
#[derive(Debug)]
pub struct Failures {
    at_most: u32,
    counts: Mutex<HashMap<Guesser, Count>>,
}

impl Default for Failures {
    fn default() -> Self {
        Self::at_most(FAILURES_MAX)
    }
}

impl Failures {
    /// One that takes so many within a minute.
    pub(super) fn at_most(failures: u32) -> Self {
        Self { at_most: failures, counts: Mutex::default() }
    }

    /// How long this one has to wait, if it must.
    pub(super) fn wait(&self, guesser: &Guesser, now: Instant) -> Option<Duration> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.get(guesser).filter(|count| count.failures >= self.at_most)?;
        count.ends_at.checked_duration_since(now).filter(|left| !left.is_zero())
    }

    /// Counts a failure.
    pub(super) fn note(&self, guesser: Guesser, now: Instant) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= ENTRIES_MAX && !counts.contains_key(&guesser) {
            make_room(&mut counts, now);
        }
        let count = counts.entry(guesser).or_insert(Count { failures: 0, ends_at: now + WINDOW });
        if count.ends_at <= now {
            *count = Count { failures: 0, ends_at: now + WINDOW };
        }
        count.failures += 1;
    }
}

/// Drops what has ended, or else the entry that would end first.
fn make_room(counts: &mut HashMap<Guesser, Count>, now: Instant) {
    counts.retain(|_, count| count.ends_at > now);
    if counts.len() >= ENTRIES_MAX
        && let Some(first) = counts.iter().min_by_key(|(_, count)| count.ends_at).map(|(guesser, _)| *guesser)
    {
        counts.remove(&first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(peer: &str) -> Guesser {
        let peer = peer.parse().expect("an address");
        Guesser::new(uuid::Uuid::nil().into(), "https://client.example/", Some(peer))
    }

    #[test]
    fn ten_failures_close_the_door_until_the_window_ends() {
        let (failures, start, guesser) = (Failures::default(), Instant::now(), from("192.0.2.1"));
        for _ in 0..FAILURES_MAX {
            assert_eq!(failures.wait(&guesser, start), None);
            failures.note(guesser, start);
        }
        assert_eq!(failures.wait(&guesser, start), Some(WINDOW));
        assert_eq!(failures.wait(&from("192.0.2.2"), start), None, "another address");
        assert_eq!(failures.wait(&guesser, start + WINDOW), None);
        failures.note(guesser, start + WINDOW);
        assert_eq!(failures.wait(&guesser, start + WINDOW), None, "a new window counts from one");
    }

    #[test]
    fn texts_that_can_be_no_client_are_one() {
        let guess = |client_id: &str| Guesser::new(uuid::Uuid::nil().into(), client_id, None);
        assert_eq!(guess("a"), guess("b"));
        assert_ne!(guess("https://a.example/"), guess("https://b.example/"));
        assert_ne!(guess("a"), guess("https://a.example/"));
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one() {
        assert_eq!(from("2001:db8::1"), from("2001:db8::ffff:1:2:3"));
        assert_ne!(from("2001:db8::1"), from("2001:db8:0:1::1"));
        assert_eq!(from("::ffff:192.0.2.1"), from("192.0.2.1"));
    }

    #[test]
    fn the_table_does_not_grow_without_bound() {
        let (failures, start) = (Failures::default(), Instant::now());
        for client in 0..ENTRIES_MAX + 50 {
            let client_id = format!("https://client.example/{client}");
            failures.note(Guesser::new(uuid::Uuid::nil().into(), &client_id, None), start);
        }
        assert_eq!(failures.counts.lock().expect("not poisoned").len(), ENTRIES_MAX);
    }
}
