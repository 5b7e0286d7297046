//! How long a server that failed is left alone.
//!
//! Invariant: longer each time, up to a bound, and not for the same time by everybody.

use std::time::{Duration, Instant};

use uuid::Uuid;

/// At first; twice as long each time.
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// The pauses between attempts at something that is to hold for long.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
    held_since: Option<Instant>,
}

impl Backoff {
    /// It holds from now on. Only what has held for a while begins with short pauses again.
    pub fn holds(&mut self) {
        self.held_since = Some(Instant::now());
    }

    /// How long to wait, now that it failed.
    pub fn pause(&mut self) -> Duration {
        if self.held_since.take().is_some_and(|since| since.elapsed() > PAUSE_MAX) {
            self.failures = 0;
        }
        let longest = PAUSE.saturating_mul(1 << self.failures.min(7)).min(PAUSE_MAX);
        self.failures = self.failures.saturating_add(1);
        let [random, ..] = *Uuid::new_v4().as_bytes();
        longest.mul_f64(0.5 + f64::from(random) / 512.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound() {
        let mut backoff = Backoff::default();
        let pauses: Vec<Duration> = (0..12).map(|_| backoff.pause()).collect();
        assert!(pauses[0] <= PAUSE, "{pauses:?}");
        assert!(pauses[11] >= PAUSE_MAX / 2 && pauses.iter().all(|pause| *pause <= PAUSE_MAX), "{pauses:?}");
    }

    #[test]
    fn what_held_for_a_moment_only_is_left_alone_longer() {
        let mut backoff = Backoff::default();
        for _ in 0..12 {
            backoff.pause();
        }
        backoff.holds();
        assert!(backoff.pause() >= PAUSE_MAX / 2);
    }
}
