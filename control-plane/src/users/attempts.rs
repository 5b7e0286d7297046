//! Attempts to sign in, counted per account and peer, and per peer.
//!
//! Invariant: an attempt is counted before its password is looked at, so that many at once get no more tries than
//! one after the other; memory is bounded whatever addresses are tried.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::secret::Digest;

const ACCOUNT_ATTEMPTS_MAX: u32 = 10;
const ACCOUNT_WINDOW: Duration = Duration::from_secs(15 * 60);
const PEER_ATTEMPTS_MAX: u32 = 30;
const PEER_WINDOW: Duration = Duration::from_secs(60);
const TRACKED_MAX: usize = 10_000;
/// An IPv6 host has all addresses of one such network.
const IPV6_NETWORK: u128 = !(u64::MAX as u128);

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    /// Who is being guessed, by whom.
    Account { account: [u8; 32], peer: IpAddr },
    /// Who tries whatever accounts.
    Peer(IpAddr),
}

impl Subject {
    /// An account of a tenant, tried from one address.
    pub(super) fn account(tenant: &str, email: &str, peer: IpAddr) -> Self {
        let mut account = [0; 32];
        account.copy_from_slice(Digest::of(&format!("{tenant}|{}", email.to_lowercase())).as_bytes());
        Self::Account { account, peer }
    }

    /// Everything tried from one IPv4 address or one IPv6 network of 64 bits.
    pub(super) fn peer(peer: IpAddr) -> Self {
        Self::Peer(match peer.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & IPV6_NETWORK).into(),
            address => address,
        })
    }

    const fn attempts_max(&self) -> u32 {
        match self {
            Self::Account { .. } => ACCOUNT_ATTEMPTS_MAX,
            Self::Peer(_) => PEER_ATTEMPTS_MAX,
        }
    }

    const fn window(&self) -> Duration {
        match self {
            Self::Account { .. } => ACCOUNT_WINDOW,
            Self::Peer(_) => PEER_WINDOW,
        }
    }
}

#[derive(Debug)]
struct Window {
    opened: Instant,
    attempts: u32,
}

/// The attempts of the last quarter of an hour, in this process.
#[derive(Debug, Default)]
pub(super) struct Attempts(Mutex<HashMap<Subject, Window>>);

impl Attempts {
    /// Takes one attempt.
    ///
    /// # Errors
    /// How long to wait, when none is left.
    pub(super) fn take(&self, subject: Subject, now: Instant) -> Result<(), Duration> {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.len() >= TRACKED_MAX && !windows.contains_key(&subject) {
            make_room(&mut windows, now);
        }
        let window = windows.entry(subject).or_insert(Window { opened: now, attempts: 0 });
        let age = now.saturating_duration_since(window.opened);
        if age >= subject.window() {
            *window = Window { opened: now, attempts: 0 };
        } else if window.attempts >= subject.attempts_max() {
            return Err(subject.window() - age);
        }
        window.attempts += 1;
        Ok(())
    }

    /// Forgets the attempts of one who proved to be right.
    pub(super) fn forgive(&self, subject: &Subject) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(subject);
    }
}

fn make_room(windows: &mut HashMap<Subject, Window>, now: Instant) {
    windows.retain(|subject, window| now.saturating_duration_since(window.opened) < subject.window());
    if windows.len() >= TRACKED_MAX
        && let Some(oldest) = windows.iter().min_by_key(|(_, window)| window.opened).map(|(subject, _)| *subject)
    {
        windows.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn subject(email: &str, last: u8) -> Subject {
        Subject::account("default", email, Ipv4Addr::new(192, 0, 2, last).into())
    }

    #[test]
    fn the_eleventh_attempt_waits_for_the_window_to_end() {
        let attempts = Attempts::default();
        let start = Instant::now();
        for _ in 0..ACCOUNT_ATTEMPTS_MAX {
            assert_eq!(attempts.take(subject("ada@example.com", 1), start), Ok(()));
        }
        let later = start + Duration::from_secs(60);
        assert_eq!(attempts.take(subject("ADA@example.com", 1), later), Err(ACCOUNT_WINDOW - Duration::from_secs(60)));
        assert_eq!(attempts.take(subject("ada@example.com", 2), later), Ok(()), "another peer");
        assert_eq!(attempts.take(subject("bob@example.com", 1), later), Ok(()), "another account");
        assert_eq!(attempts.take(subject("ada@example.com", 1), start + ACCOUNT_WINDOW), Ok(()));
    }

    #[test]
    fn the_thirty_first_attempt_of_a_peer_waits_for_the_minute_to_end() {
        let attempts = Attempts::default();
        let now = Instant::now();
        let peer = |text: &str| Subject::peer(text.parse().expect("an address"));
        for number in 0..PEER_ATTEMPTS_MAX {
            // Every address of the network counts.
            assert_eq!(attempts.take(peer(&format!("2001:db8:0:1::{number}")), now), Ok(()));
        }
        assert_eq!(attempts.take(peer("2001:db8:0:1:ffff::"), now), Err(PEER_WINDOW));
        assert_eq!(attempts.take(peer("2001:db8:0:2::"), now), Ok(()), "another network");
        assert_eq!(attempts.take(peer("192.0.2.1"), now), Ok(()));
        assert_eq!(peer("::ffff:192.0.2.1"), peer("192.0.2.1"));
        assert_eq!(attempts.take(peer("2001:db8:0:1::"), now + PEER_WINDOW), Ok(()));
    }

    #[test]
    fn a_right_password_wipes_the_slate() {
        let attempts = Attempts::default();
        let now = Instant::now();
        for _ in 0..3 * ACCOUNT_ATTEMPTS_MAX {
            attempts.take(subject("ada@example.com", 1), now).expect("forgiven each time");
            attempts.forgive(&subject("ada@example.com", 1));
        }
    }

    #[test]
    fn memory_is_bounded() {
        let attempts = Attempts::default();
        let now = Instant::now();
        for number in 0..TRACKED_MAX + 50 {
            attempts.take(subject(&format!("{number}@example.com"), 1), now).expect("first attempt");
        }
        assert_eq!(attempts.0.lock().expect("sound").len(), TRACKED_MAX);
    }
}
