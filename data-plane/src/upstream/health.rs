//! Whether an instance answers, as calls and checks saw it.
//!
//! An instance that cannot be reached, or fails [`FAILURES_MAX`] times in a row, is ejected for a while that doubles
//! each time; a check has to succeed before it comes back, and it comes back slowly.
//!
//! Invariant: no clock in here; a call that began before an ejection does not end it.

use std::time::{Duration, Instant};

/// Failures in a row after which an instance that can be reached is ejected all the same.
pub const FAILURES_MAX: u32 = 3;
/// How long the first ejection takes.
const EJECTED_FIRST: Duration = Duration::from_secs(5);
/// How long an ejection takes at most.
const EJECTED_MAX: Duration = Duration::from_secs(60);
/// How long an instance takes to come back to its full share.
const RETURN: Duration = Duration::from_secs(10);
/// The share that it begins with.
const FIRST_SHARE: f64 = 0.1;
/// An instance that nobody asked for this long is checked.
const QUIET_MAX: Duration = Duration::from_secs(30);

/// How an instance failed a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No connection, or it broke before an answer began: nobody is there.
    Unreachable,
    /// It is there, or was, but took too long.
    Timeout,
    /// It is there, but says that it cannot serve.
    Unable,
}

/// How an instance does, for people: where it stands, and more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It was not asked for anything yet.
    Unknown,
    /// It answers.
    Healthy,
    /// It failed what it was asked last, and is not ejected for that.
    Unhealthy,
    /// It gets nothing while another instance lives.
    Ejected,
    /// It gets a share that grows.
    Returning,
}

/// Where an instance stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It gets its full share.
    Healthy,
    /// It gets nothing while another instance lives.
    Ejected,
    /// It gets a share that grows.
    Returning,
}

/// What was seen of one instance.
#[derive(Debug)]
pub struct Health {
    phase: Phase,
    failures: u32,
    ejections: u32,
    asked: bool,
    heard_at: Instant,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Healthy,
    Ejected { until: Instant },
    Returning { since: Instant },
}

impl Failure {
    /// As operators see it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Unable => "unable",
        }
    }
}

impl Standing {
    /// As metrics have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Ejected => "ejected",
            Self::Returning => "returning",
        }
    }
}

impl Health {
    /// Of an instance that nothing is known of: it is taken for healthy.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self { phase: Phase::Healthy, failures: 0, ejections: 0, asked: false, heard_at: now }
    }

    /// A request was answered.
    pub fn succeeded(&mut self, now: Instant) {
        self.heard(now);
        self.failures = 0;
        if self.standing(now) == Standing::Healthy {
            self.phase = Phase::Healthy;
            self.ejections = 0;
        }
    }

    /// A request failed.
    pub fn failed(&mut self, failure: Failure, now: Instant) {
        self.heard(now);
        self.failures += 1;
        let is_ejected = matches!(self.phase, Phase::Ejected { .. });
        if !is_ejected && (failure == Failure::Unreachable || self.failures >= FAILURES_MAX) {
            self.eject(now);
        }
    }

    /// A check that was due had this result.
    pub fn checked(&mut self, alive: bool, now: Instant) {
        self.heard(now);
        match (self.phase, alive) {
            (Phase::Ejected { .. }, true) => {
                self.failures = 0;
                self.phase = Phase::Returning { since: now };
            }
            (Phase::Ejected { .. }, false) => self.eject(now),
            (_, true) => self.succeeded(now),
            (_, false) => self.failed(Failure::Unreachable, now),
        }
    }

    /// Whether the instance should be asked if it lives: its ejection is over, or nobody asked it for long.
    #[must_use]
    pub fn is_check_due(&self, now: Instant) -> bool {
        match self.phase {
            Phase::Ejected { until } => now >= until,
            Phase::Healthy | Phase::Returning { .. } => now.saturating_duration_since(self.heard_at) >= QUIET_MAX,
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn standing(&self, now: Instant) -> Standing {
        match self.phase {
            Phase::Healthy => Standing::Healthy,
            Phase::Ejected { .. } => Standing::Ejected,
            Phase::Returning { since } if now.saturating_duration_since(since) < RETURN => Standing::Returning,
            Phase::Returning { .. } => Standing::Healthy,
        }
    }

    /// How it does.
    #[must_use]
    pub fn condition(&self, now: Instant) -> Condition {
        match self.standing(now) {
            Standing::Ejected => Condition::Ejected,
            Standing::Returning => Condition::Returning,
            Standing::Healthy if !self.asked => Condition::Unknown,
            Standing::Healthy if self.failures > 0 => Condition::Unhealthy,
            Standing::Healthy => Condition::Healthy,
        }
    }

    /// Which part of its full share it gets, from 0 to 1.
    #[must_use]
    pub fn share(&self, now: Instant) -> f64 {
        match self.phase {
            Phase::Healthy => 1.0,
            Phase::Ejected { .. } => 0.0,
            Phase::Returning { since } => {
                let back = now.saturating_duration_since(since).as_secs_f64() / RETURN.as_secs_f64();
                (FIRST_SHARE + (1.0 - FIRST_SHARE) * back).min(1.0)
            }
        }
    }

    const fn heard(&mut self, now: Instant) {
        (self.asked, self.heard_at) = (true, now);
    }

    fn eject(&mut self, now: Instant) {
        let doubled = EJECTED_FIRST.saturating_mul(1 << self.ejections.min(4));
        self.ejections += 1;
        self.phase = Phase::Ejected { until: now + doubled.min(EJECTED_MAX) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn an_instance_that_nobody_reaches_is_ejected_at_once_and_returns_slowly() {
        let start = Instant::now();
        let mut health = Health::new(start);
        health.failed(Failure::Unreachable, start);
        assert_eq!(health.standing(start), Standing::Ejected);
        assert!(!health.is_check_due(after(start, 4)));
        assert!(health.is_check_due(after(start, 5)));
        health.checked(true, after(start, 5));
        assert_eq!(health.standing(after(start, 5)), Standing::Returning);
        let shares: Vec<f64> = [5, 10, 15].into_iter().map(|second| health.share(after(start, second))).collect();
        assert!(shares.is_sorted() && shares[0] < 0.2 && shares[2] >= 1.0, "{shares:?}");
        assert_eq!(health.standing(after(start, 15)), Standing::Healthy);
    }

    #[test]
    fn people_are_told_of_what_was_not_asked_yet_and_of_a_failure_that_ejects_nothing() {
        let start = Instant::now();
        let mut health = Health::new(start);
        assert_eq!(health.condition(start), Condition::Unknown);
        health.succeeded(start);
        assert_eq!(health.condition(start), Condition::Healthy);
        health.failed(Failure::Timeout, start);
        assert_eq!((health.condition(start), health.standing(start)), (Condition::Unhealthy, Standing::Healthy));
        health.failed(Failure::Unreachable, start);
        assert_eq!(health.condition(start), Condition::Ejected);
        health.checked(true, after(start, 5));
        assert_eq!(health.condition(after(start, 5)), Condition::Returning);
        assert_eq!(health.condition(after(start, 15)), Condition::Healthy);
    }

    #[test]
    fn failures_in_a_row_eject_and_a_success_between_them_does_not() {
        let start = Instant::now();
        let mut health = Health::new(start);
        for _ in 0..FAILURES_MAX * 2 {
            health.failed(Failure::Unable, start);
            health.succeeded(start);
        }
        assert_eq!(health.standing(start), Standing::Healthy);
        (0..FAILURES_MAX).for_each(|_| health.failed(Failure::Unable, start));
        assert_eq!(health.standing(start), Standing::Ejected);
    }

    #[test]
    fn each_failed_check_doubles_the_wait_up_to_a_minute() {
        let mut now = Instant::now();
        let mut health = Health::new(now);
        health.failed(Failure::Unreachable, now);
        for wait in [5, 10, 20, 40, 60, 60] {
            assert!(!health.is_check_due(after(now, wait - 1)), "{wait}");
            now = after(now, wait);
            assert!(health.is_check_due(now), "{wait}");
            health.checked(false, now);
        }
    }

    #[test]
    fn a_late_answer_does_not_end_an_ejection() {
        let start = Instant::now();
        let mut health = Health::new(start);
        health.failed(Failure::Unreachable, start);
        health.succeeded(start);
        assert_eq!(health.standing(start), Standing::Ejected);
    }

    #[test]
    fn a_failure_while_returning_ejects_for_longer() {
        let start = Instant::now();
        let mut health = Health::new(start);
        health.failed(Failure::Unreachable, start);
        health.checked(true, after(start, 5));
        health.failed(Failure::Unreachable, after(start, 6));
        assert!(!health.is_check_due(after(start, 15)));
        assert!(health.is_check_due(after(start, 16)));
    }

    #[test]
    fn a_quiet_instance_is_checked_and_a_busy_one_is_not() {
        let start = Instant::now();
        let mut health = Health::new(start);
        assert!(!health.is_check_due(after(start, 29)));
        assert!(health.is_check_due(after(start, 30)));
        health.succeeded(after(start, 30));
        assert!(!health.is_check_due(after(start, 31)));
    }
}
