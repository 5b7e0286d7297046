//! Keeps calls from waiting for a Redis that is away.
//!
//! Invariant: an open breaker lets one operation through per probe interval, and a probe that never reports back
//! (its caller went away) blocks nothing: the next interval has the next probe.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tollgate_proto::TenantId;

/// A cluster's shards fail one by one, and a tenant lives on one shard: one breaker for all would let one dead shard
/// refuse the calls of every tenant.
const BREAKERS: usize = 64;

/// One breaker for each share of the tenants.
#[derive(Debug)]
pub(super) struct Breakers(Vec<Breaker>);

#[derive(Debug)]
pub(super) struct Breaker {
    failures_max: u32,
    probe_every: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// Set while the breaker is open.
    probe_at: Option<Instant>,
}

impl Breakers {
    pub(super) fn new(failures_max: u32, probe_every: Duration) -> Self {
        Self((0..BREAKERS).map(|_| Breaker { failures_max, probe_every, state: Mutex::default() }).collect())
    }

    pub(super) fn of(&self, tenant: TenantId) -> &Breaker {
        // The low bits of a UUIDv7 are random.
        &self.0[tenant.uuid().as_u128() as usize % BREAKERS]
    }
}

impl Breaker {
    /// Whether an operation may try.
    pub(super) fn lets_through(&self) -> bool {
        let mut state = self.lock();
        let now = Instant::now();
        match state.probe_at {
            Some(probe_at) if now < probe_at => false,
            Some(_) => {
                state.probe_at = Some(now + self.probe_every);
                true
            }
            None => true,
        }
    }

    /// An operation succeeded.
    pub(super) fn close(&self) {
        *self.lock() = State::default();
    }

    /// An operation failed; true when that opened the breaker, or when it was a probe.
    pub(super) fn fail(&self) -> bool {
        let mut state = self.lock();
        state.failures = state.failures.saturating_add(1);
        if state.failures < self.failures_max {
            return false;
        }
        let opens_or_probes = state.failures == self.failures_max || state.probe_at.is_some();
        state.probe_at = Some(Instant::now() + self.probe_every);
        opens_or_probes
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
