//! Failed sign-ins, counted per e-mail address and peer.
//!
//! Invariant: an attempt is counted before its password is looked at, so that many at once get no more tries than
//! one after the other; memory is bounded whatever addresses are tried.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::secret::Digest;

const ATTEMPTS_MAX: u32 = 10;
const WINDOW: Duration = Duration::from_secs(15 * 60);
const TRACKED_MAX: usize = 10_000;

/// Who is being guessed, by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Subject {
    account: [u8; 32],
    peer: IpAddr,
}

impl Subject {
    /// An account of a tenant, tried from one address.
    pub(super) fn new(tenant: &str, email: &str, peer: IpAddr) -> Self {
        let mut account = [0; 32];
        account.copy_from_slice(Digest::of(&format!("{tenant}|{}", email.to_lowercase())).as_bytes());
        Self { account, peer }
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
        if age >= WINDOW {
            *window = Window { opened: now, attempts: 0 };
        } else if window.attempts >= ATTEMPTS_MAX {
            return Err(WINDOW - age);
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
    windows.retain(|_, window| now.saturating_duration_since(window.opened) < WINDOW);
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
        Subject::new("default", email, Ipv4Addr::new(192, 0, 2, last).into())
    }

    #[test]
    fn the_eleventh_attempt_waits_for_the_window_to_end() {
        let attempts = Attempts::default();
        let start = Instant::now();
        for _ in 0..ATTEMPTS_MAX {
            assert_eq!(attempts.take(subject("ada@example.com", 1), start), Ok(()));
        }
        let later = start + Duration::from_secs(60);
        assert_eq!(attempts.take(subject("ADA@example.com", 1), later), Err(WINDOW - Duration::from_secs(60)));
        assert_eq!(attempts.take(subject("ada@example.com", 2), later), Ok(()), "another peer");
        assert_eq!(attempts.take(subject("bob@example.com", 1), later), Ok(()), "another account");
        assert_eq!(attempts.take(subject("ada@example.com", 1), start + WINDOW), Ok(()));
    }

    #[test]
    fn a_right_password_wipes_the_slate() {
        let attempts = Attempts::default();
        let now = Instant::now();
        for _ in 0..3 * ATTEMPTS_MAX {
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
