//! How fast data planes enforce what is revoked: from the commit to the word of each that it is in force.
//!
//! The database says how long ago a revocation was made when it is read; from there on the clock is this process' own
//! and monotonic, so that no two clocks are compared. What counts is the beginning of the transaction that revoked: no
//! time is shorter than it really was.
//!
//! Invariant: of a tenant that a data plane hears of for the first time nothing is counted: it served none of its tokens
//! before. What it missed while it was away is counted in full.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Duration,
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tollgate_proto::{TenantId, policy::v1::revocation::What};
use utoipa::ToSchema;

/// Revocations of a tenant whose confirmation can still be timed, the newest ones.
const TIMED_MAX: usize = 10_000;
/// Confirmations that figures are of, the latest ones.
const WINDOW: usize = 1_000;

/// How fast what is revoked was enforced lately. All times count from the revocation's transaction.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RevocationTimes {
    /// How many confirmations the figures are of: the latest 1000 that its control plane has heard.
    pub confirmed: usize,
    /// Half of them took no longer, in milliseconds.
    pub p50_ms: Option<f64>,
    /// All but a hundredth took no longer, in milliseconds.
    pub p99_ms: Option<f64>,
    /// None took longer, in milliseconds.
    pub worst_ms: Option<f64>,
    /// Revocations that are not confirmed.
    pub unconfirmed: usize,
    /// When the oldest of them was made.
    pub unconfirmed_since: Option<DateTime<Utc>>,
}

/// A revocation that data planes are told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Committed {
    /// What kind of thing it revokes, as metrics name it.
    pub(super) kind: &'static str,
    pub(super) at: Instant,
}

/// Recent revocations of every tenant, by their number.
#[derive(Debug, Default)]
pub(super) struct Commits(HashMap<TenantId, BTreeMap<u64, Committed>>);

/// The latest times of one data plane, or of all.
#[derive(Debug, Clone, Default)]
pub(super) struct Times(VecDeque<Duration>);

/// What a data plane has not confirmed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Unconfirmed {
    pub(super) count: usize,
    pub(super) since: Option<Instant>,
}

/// The kind of a revocation, as metrics name it.
pub(super) const fn kind(what: &What) -> &'static str {
    match what {
        What::Token(_) => "token",
        What::GrantFamily(_) => "grant_family",
        What::Agent(_) => "agent",
        What::User(_) => "user",
        What::Tenant(_) => "tenant",
        What::Key(_) => "key",
    }
}

impl Commits {
    /// Notes what data planes will be told of next.
    pub(super) fn add(&mut self, tenant: TenantId, commits: impl IntoIterator<Item = (u64, Committed)>) {
        let of_tenant = self.0.entry(tenant).or_default();
        of_tenant.extend(commits);
        while of_tenant.len() > TIMED_MAX {
            of_tenant.pop_first();
        }
    }

    /// Forgets tenants, as when they are gone or their numbers are worth nothing any more.
    pub(super) fn retain(&mut self, keep: impl Fn(TenantId) -> bool) {
        self.0.retain(|tenant, _| keep(*tenant));
    }

    /// What is confirmed by who says that everything up to `to` is in force, after `from` was.
    pub(super) fn between(&self, tenant: TenantId, from: u64, to: u64) -> impl Iterator<Item = Committed> {
        let of_tenant = self.0.get(&tenant).filter(|_| from < to);
        of_tenant.into_iter().flat_map(move |commits| commits.range(from + 1..=to)).map(|(_, commit)| *commit)
    }

    /// What is not confirmed by who has applied so much, and listens since `listens_since`: of a tenant that it has
    /// said nothing of yet nothing counts as older than that.
    pub(super) fn unconfirmed(&self, applied: &HashMap<TenantId, u64>, listens_since: Instant) -> Unconfirmed {
        let mut all = Unconfirmed::default();
        for (tenant, commits) in &self.0 {
            let mark = applied.get(tenant);
            let mut missing = commits.range(mark.map_or(0, |mark| mark + 1)..);
            let Some((_, oldest)) = missing.next() else { continue };
            let since = if mark.is_some() { oldest.at } else { oldest.at.max(listens_since) };
            all.count += 1 + missing.count();
            all.since = Some(all.since.map_or(since, |before| before.min(since)));
        }
        all
    }
}

impl Times {
    /// Notes one more.
    pub(super) fn add(&mut self, took: Duration) {
        if self.0.len() == WINDOW {
            self.0.pop_front();
        }
        self.0.push_back(took);
    }

    /// What they come to.
    pub(super) fn figures(&self, unconfirmed: Unconfirmed, now: Instant) -> RevocationTimes {
        let mut sorted: Vec<Duration> = self.0.iter().copied().collect();
        sorted.sort_unstable();
        // The nearest rank: a time that was measured, of which so much of a hundred is no longer.
        let at = |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100).checked_sub(1)?).map(milliseconds);
        RevocationTimes {
            confirmed: sorted.len(),
            p50_ms: at(50),
            p99_ms: at(99),
            worst_ms: at(100),
            unconfirmed: unconfirmed.count,
            unconfirmed_since: unconfirmed.since.map(|since| Utc::now() - now.saturating_duration_since(since)),
        }
    }
}

/// To the microsecond.
fn milliseconds(time: &Duration) -> f64 {
    f64::from(u32::try_from(time.as_micros()).unwrap_or(u32::MAX)) / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commits(tenant: TenantId, revisions: std::ops::RangeInclusive<u64>, first: Instant) -> Commits {
        let mut commits = Commits::default();
        let at = |revision| first + Duration::from_secs(revision);
        commits.add(tenant, revisions.map(|revision| (revision, Committed { kind: "token", at: at(revision) })));
        commits
    }

    #[test]
    fn percentiles_are_times_that_were_measured_over_the_latest_of_them() {
        let (mut times, now) = (Times::default(), Instant::now());
        assert_eq!(times.figures(Unconfirmed::default(), now), RevocationTimes::default());
        times.add(Duration::from_millis(7));
        let one = times.figures(Unconfirmed::default(), now);
        assert_eq!((one.p50_ms, one.p99_ms, one.worst_ms), (Some(7.0), Some(7.0), Some(7.0)));
        for took in (1..=1_000).rev() {
            times.add(Duration::from_millis(took));
        }
        let many = times.figures(Unconfirmed::default(), now);
        assert_eq!(many.confirmed, 1_000);
        assert_eq!((many.p50_ms, many.p99_ms, many.worst_ms), (Some(500.0), Some(990.0), Some(1_000.0)));
    }

    #[test]
    fn one_word_confirms_everything_since_the_last_one() {
        let (tenant, first) = (TenantId::new(), Instant::now());
        let commits = commits(tenant, 1..=5, first);
        let confirmed: Vec<_> = commits.between(tenant, 2, 4).map(|commit| commit.at - first).collect();
        assert_eq!(confirmed, [Duration::from_secs(3), Duration::from_secs(4)]);
        assert_eq!(commits.between(tenant, 4, 4).count(), 0);
        assert_eq!(commits.between(tenant, 7, 4).count(), 0, "after a restore of the database");
        assert_eq!(commits.between(TenantId::new(), 0, 9).count(), 0);
    }

    #[test]
    fn what_is_unconfirmed_is_as_old_as_the_oldest_of_it() {
        let (tenant, first) = (TenantId::new(), Instant::now());
        let commits = commits(tenant, 1..=5, first);
        let at = |seconds| Some(first + Duration::from_secs(seconds));
        let of = |applied: &[(TenantId, u64)]| {
            commits.unconfirmed(&applied.iter().copied().collect(), first + Duration::from_secs(60))
        };
        assert_eq!(of(&[(tenant, 5)]), Unconfirmed::default());
        assert_eq!(of(&[(tenant, 2)]), Unconfirmed { count: 3, since: at(3) });
        assert_eq!(of(&[]), Unconfirmed { count: 5, since: at(60) }, "it was told of all of them just now");
    }

    #[test]
    fn only_the_newest_are_timed_however_many_there_are() {
        let tenant = TenantId::new();
        let most = u64::try_from(TIMED_MAX).unwrap();
        let mut commits = commits(tenant, 1..=most + 5, Instant::now());
        assert_eq!(commits.between(tenant, 0, u64::MAX - 1).count(), TIMED_MAX);
        commits.retain(|_| false);
        assert_eq!(commits.between(tenant, 0, u64::MAX - 1).count(), 0);
    }
}
