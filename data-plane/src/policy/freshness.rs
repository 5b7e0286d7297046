//! How current the policy is: the lease of the last heartbeat, and what each tenant wants once that has run out.
//!
//! A heartbeat says that the database was seen a moment ago, that what was revoked by then has been sent, and that what
//! else changed is on its way; the first one of a stream, that all of it has come. Until its lease has run out the policy
//! counts as current; then it is stale, and the tenant's [`Staleness`] says what is served still.
//!
//! Invariant: only a heartbeat makes a policy current: one from disk is stale from the start, and no restart makes it
//! younger. Time is the monotonic clock's, but for the time between two runs of the process.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tollgate_proto::policy::v1 as wire;

use super::Policies;

/// How long a data plane that has a policy on disk waits for its control plane before it says that it is ready: where
/// that answers, nothing is refused for a stale policy because a data plane was restarted.
const HEARD_WITHIN: Duration = Duration::from_secs(1);

/// What the last heartbeat gave.
#[derive(Debug, Clone, Copy)]
pub struct Lease {
    /// When it was given, or when this process began.
    since: Instant,
    /// How long ago the last heartbeat was then; `None`: nobody knows.
    age: Option<Duration>,
    length: Duration,
}

/// How current the policy is at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// Since the last heartbeat; `None`: since longer than anybody knows.
    pub age: Option<Duration>,
    /// What is left of the lease; zero: it has run out.
    pub rest: Duration,
}

/// What a policy is still good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Currency {
    /// Everything.
    Current,
    /// The lease has run out: what may destroy is refused, unless the tenant allows it.
    Stale,
    /// Nothing: it is older than the tenant allows.
    Expired,
}

/// What a tenant wants once the lease has run out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Staleness {
    allow_destructive: bool,
    max_stale: Option<Duration>,
}

/// What is refused because the policy is stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub struct Stale {
    /// Since the last heartbeat; `None`: since longer than anybody knows.
    pub age: Option<Duration>,
    /// Not only what may destroy, but everything.
    pub is_expired: bool,
}

impl Lease {
    /// Of a process that has heard nothing yet. `age` is the time since the last heartbeat before it began.
    #[must_use]
    pub const fn none(age: Option<Duration>, now: Instant) -> Self {
        Self { since: now, age, length: Duration::ZERO }
    }

    /// Of a heartbeat.
    #[must_use]
    pub const fn given(length: Duration, now: Instant) -> Self {
        Self { since: now, age: Some(Duration::ZERO), length }
    }

    /// When the first heartbeat need not be waited for any more; `None`: it was heard.
    pub(super) fn heard_until(&self) -> Option<Instant> {
        self.length.is_zero().then(|| self.since + HEARD_WITHIN)
    }

    /// How current the policy is at `now`.
    #[must_use]
    pub fn at(&self, now: Instant) -> Freshness {
        let elapsed = now.saturating_duration_since(self.since);
        let age = self.age.map(|age| age.saturating_add(elapsed));
        Freshness { age, rest: self.length.saturating_sub(elapsed) }
    }
}

impl Freshness {
    /// Whether the lease has not run out.
    #[must_use]
    pub const fn is_current(&self) -> bool {
        !self.rest.is_zero()
    }

    /// The time until something changes for one of these tenants, if nothing is heard until then; `None`: nothing ever
    /// does.
    pub(super) fn changes_in<'a>(&self, tenants: impl Iterator<Item = &'a Staleness>) -> Option<Duration> {
        if self.is_current() {
            return Some(self.rest);
        }
        let age = self.age?;
        tenants.filter_map(|tenant| tenant.max_stale?.checked_sub(age)).filter(|left| !left.is_zero()).min()
    }
}

impl Staleness {
    /// As the policy says. One of a control plane that says nothing is served for ever, but for what may destroy.
    #[must_use]
    pub fn read(sent: Option<wire::Staleness>) -> Self {
        let wire::Staleness { allow_destructive, max_stale_s } = sent.unwrap_or_default();
        Self { allow_destructive, max_stale: max_stale_s.map(Duration::from_secs) }
    }

    /// What the policy is good for.
    #[must_use]
    pub fn currency(&self, freshness: Freshness) -> Currency {
        let young = |max| freshness.age.is_some_and(|age| age < max);
        if freshness.is_current() {
            Currency::Current
        } else if self.max_stale.is_none_or(young) {
            Currency::Stale
        } else {
            Currency::Expired
        }
    }

    /// Whether something may be done; `may_destroy` says what it is.
    ///
    /// # Errors
    /// When it has to wait for the control plane.
    pub fn permits(&self, freshness: Freshness, may_destroy: bool) -> Result<(), Stale> {
        let stale = |is_expired| Err(Stale { age: freshness.age, is_expired });
        match self.currency(freshness) {
            Currency::Expired => stale(true),
            Currency::Stale if may_destroy && !self.allow_destructive => stale(false),
            Currency::Stale | Currency::Current => Ok(()),
        }
    }
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this data plane has heard nothing of its control plane ")?;
        match self.age {
            Some(age) => write!(f, "for {} s: ", age.as_secs())?,
            None => f.write_str("since it started: ")?,
        }
        let refused =
            if self.is_expired { "nothing is served" } else { "no tool that may destroy something is called" };
        write!(f, "{refused} until it does")
    }
}

/// Says when the policy becomes stale and when it is current again, and has open streams looked at when nothing is served
/// any more, until `stopping`.
pub async fn follow(policies: Arc<Policies>, stopping: CancellationToken) {
    let (mut lease, mut changes) = (policies.leases(), policies.changes());
    let mut was_current = false;
    loop {
        let freshness = policies.freshness();
        if was_current != freshness.is_current() {
            was_current = freshness.is_current();
            note(freshness);
        }
        let snapshot = policies.load();
        let next = freshness.changes_in(snapshot.tenants().map(|tenant| &tenant.staleness));
        tokio::select! {
            () = stopping.cancelled() => return,
            // The senders live as long as the policies, so waiting cannot fail.
            _ = lease.changed() => {}
            _ = changes.changed() => {}
            () = sleep(next.unwrap_or_default()), if next.is_some() => policies.tell(),
        }
    }
}

fn note(freshness: Freshness) {
    if freshness.is_current() {
        tracing::info!("the control plane is heard: the policy is current");
    } else {
        let age_s = freshness.age.map(|age| age.as_secs());
        tracing::warn!(age_s, "the lease of the policy has run out: it is stale until the control plane is heard");
    }
}

#[cfg(test)]
mod tests;
