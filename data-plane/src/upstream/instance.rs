//! What is known of each instance: how many requests it runs, whether it answers, which era it speaks; and which one
//! new work goes to.
//!
//! Invariant: an [`InFlight`] counts for exactly as long as it lives.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tollgate_proto::InstanceId;

use super::health::{Condition, Failure, Health, Standing};
use crate::{
    mcp::version::{Era, ProtocolVersion},
    policy::Instance,
};

#[cfg(test)]
mod tests;

/// A server that was upgraded still answers in the old way, so only time shows it.
const LEGACY_VERDICT: Duration = Duration::from_secs(60);
/// How often a server that never fails is asked all the same which era it speaks: it may have been upgraded in place.
const PROBE_EVERY: Duration = Duration::from_secs(10 * 60);
/// A tenth of that, in milliseconds: not all servers are asked at once.
const PROBE_JITTER_MS: usize = 60_000;

/// All instances by id.
#[derive(Debug, Default)]
pub struct Instances {
    known: Mutex<HashMap<InstanceId, Arc<State>>>,
    dice: Dice,
}

#[derive(Debug)]
struct State {
    in_flight: AtomicUsize,
    observed: Mutex<Observed>,
}

#[derive(Debug)]
struct Observed {
    health: Health,
    modern: Option<(bool, Instant)>,
    /// How it failed last, while it has not been well since.
    failure: Option<Failure>,
    /// What it was heard to speak last.
    spoken: Option<(Era, Option<ProtocolVersion>)>,
    probe_at: Instant,
}

/// What people may want to know of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    /// How it does.
    pub condition: Condition,
    /// Which era it speaks, where that is known.
    pub era: Option<Era>,
    /// Which revision of it, where that is known.
    pub version: Option<ProtocolVersion>,
    /// Why it is not well.
    pub failure: Option<Failure>,
}

impl Sight {
    /// This one of a server that is registered with its era.
    #[must_use]
    pub fn registered_as(self, era: Option<Era>) -> Self {
        match era {
            None => self,
            // The one that it is asked in.
            Some(Era::Modern) => Self { era, version: Some(ProtocolVersion::NEWEST_MODERN), ..self },
            Some(Era::Legacy) => {
                Self { era, version: self.version.filter(|version| version.era() == Era::Legacy), ..self }
            }
        }
    }
}

/// One request that an instance is busy with.
#[derive(Debug)]
pub struct InFlight(Arc<State>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Instances {
    /// The instance for new work: of two that are drawn from those that answer and do not drain, the one with fewer
    /// requests for its share. When none answers, all are tried; when all drain, they share the work.
    pub(super) fn draw<'a>(&self, instances: &'a [Arc<Instance>]) -> &'a Arc<Instance> {
        let now = Instant::now();
        let is_open = |instance: &Instance| !instance.draining;
        let answers = |instance: &Instance| self.state(instance.id).observed().health.share(now) > 0.0;
        let candidates = [
            subset(instances, |instance| is_open(instance) && answers(instance)),
            subset(instances, is_open),
            subset(instances, answers),
            instances.iter().collect(),
        ];
        let candidates = candidates.into_iter().find(|set| !set.is_empty());
        let candidates = candidates.expect("a server has at least one instance, as its conversion checked");
        let (first, second) = self.dice.two_of(candidates.len());
        let (first, second) = (candidates[first], candidates[second]);
        if self.load(second, now) < self.load(first, now) { second } else { first }
    }

    pub(super) fn enter(&self, id: InstanceId) -> InFlight {
        let state = self.state(id);
        state.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(state)
    }

    pub(super) fn failed(&self, id: InstanceId, failure: Failure) {
        self.changed(id, Some(failure), |health, now| health.failed(failure, now));
    }

    pub(super) fn succeeded(&self, id: InstanceId) {
        self.changed(id, None, Health::succeeded);
    }

    pub(super) fn checked(&self, id: InstanceId, failure: Option<Failure>) {
        self.changed(id, failure, |health, now| health.checked(failure.is_none(), now));
    }

    pub(super) fn is_check_due(&self, id: InstanceId) -> bool {
        self.state(id).observed().health.is_check_due(Instant::now())
    }

    /// Whether it is time to ask which era the instance speaks; whoever is told so asks. One that is ejected has its own
    /// time to be asked.
    pub(super) fn take_probe(&self, id: InstanceId) -> bool {
        let (state, now) = (self.state(id), Instant::now());
        let mut observed = state.observed();
        let due = now >= observed.probe_at && observed.health.standing(now) != Standing::Ejected;
        if due {
            observed.probe_at = self.next_probe(now);
        }
        due
    }

    /// Time goes by until it is asked.
    #[cfg(test)]
    pub(super) fn let_pass(&self, id: InstanceId) {
        self.state(id).observed().probe_at -= PROBE_EVERY;
    }

    /// What people may want to know of the instance.
    #[must_use]
    pub fn sight(&self, id: InstanceId) -> Sight {
        let (state, now) = (self.state(id), Instant::now());
        let observed = state.observed();
        let condition = observed.health.condition(now);
        let failure = observed.failure.filter(|_| condition != Condition::Healthy);
        let (era, version) = observed.spoken.unzip();
        Sight { condition, era, version: version.flatten(), failure }
    }

    /// Where the instance stands.
    #[must_use]
    pub fn standing(&self, id: InstanceId) -> Standing {
        self.state(id).observed().health.standing(Instant::now())
    }

    /// Whether the instance speaks the modern era, where that is known and fresh.
    #[must_use]
    pub fn modern(&self, id: InstanceId) -> Option<bool> {
        let (modern, at) = self.state(id).observed().modern?;
        (modern || at.elapsed() < LEGACY_VERDICT).then_some(modern)
    }

    /// What asking it showed.
    pub fn set_modern(&self, id: InstanceId, modern: bool) {
        let (state, now) = (self.state(id), Instant::now());
        let mut observed = state.observed();
        observed.modern = Some((modern, now));
        observed.probe_at = self.next_probe(now);
        observed.spoken = match (modern, observed.spoken) {
            (true, _) => Some((Era::Modern, Some(ProtocolVersion::NEWEST_MODERN))),
            (false, Some((Era::Legacy, version))) => Some((Era::Legacy, version)),
            (false, _) => Some((Era::Legacy, None)),
        };
    }

    /// The revision that a legacy server chose at `initialize`.
    pub fn met(&self, id: InstanceId, version: ProtocolVersion) {
        self.state(id).observed().spoken = Some((version.era(), Some(version)));
    }

    /// It answered as no server of its era does: the next request asks which one it speaks.
    pub fn forget_era(&self, id: InstanceId) {
        self.state(id).observed().modern = None;
    }

    /// Forgets every instance for which `stays` says no.
    pub(super) fn retain(&self, stays: impl Fn(InstanceId) -> bool) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| stays(*id));
    }

    /// Requests for its share of the work, of which this would be one more.
    #[allow(clippy::cast_precision_loss, reason = "requests that run at once are few")]
    fn load(&self, instance: &Instance, now: Instant) -> f64 {
        let state = self.state(instance.id);
        let in_flight = state.in_flight.load(Ordering::Relaxed) + 1;
        let share = state.observed().health.share(now);
        in_flight as f64 / if share > 0.0 { share } else { 1.0 }
    }

    /// Notes what was seen, and says so where the standing changed. What is known of the era goes with an instance
    /// that went away: another version may come back.
    fn changed(&self, id: InstanceId, failure: Option<Failure>, note: impl FnOnce(&mut Health, Instant)) {
        let (state, now) = (self.state(id), Instant::now());
        let mut observed = state.observed();
        let before = observed.health.standing(now);
        note(&mut observed.health, now);
        observed.failure = failure.or(observed.failure);
        let after = observed.health.standing(now);
        if before != after {
            if after == Standing::Ejected {
                observed.modern = None;
            }
            tracing::info!(instance = %id, standing = ?after, "the standing of an instance changed");
        }
    }

    fn state(&self, id: InstanceId) -> Arc<State> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(id).or_insert_with(|| Arc::new(State::new(self.next_probe(Instant::now())))))
    }

    fn next_probe(&self, now: Instant) -> Instant {
        now + PROBE_EVERY - Duration::from_millis(self.dice.below(PROBE_JITTER_MS) as u64)
    }
}

impl State {
    fn new(probe_at: Instant) -> Self {
        let health = Health::new(Instant::now());
        let observed = Observed { health, modern: None, failure: None, spoken: None, probe_at };
        Self { in_flight: AtomicUsize::new(0), observed: Mutex::new(observed) }
    }

    fn observed(&self) -> MutexGuard<'_, Observed> {
        // Plain values, each written whole: a panic elsewhere leaves nothing half done.
        self.observed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn subset(instances: &[Arc<Instance>], fits: impl Fn(&Instance) -> bool) -> Vec<&Arc<Instance>> {
    instances.iter().filter(|instance| fits(instance)).collect()
}

/// Draws that need not be unpredictable: a Weyl sequence through the finaliser of SplitMix64.
#[derive(Debug, Default)]
struct Dice(AtomicU64);

impl Dice {
    /// Two different numbers below `count`; twice the same where there is only one.
    fn two_of(&self, count: usize) -> (usize, usize) {
        let first = self.below(count);
        let second = if count > 1 { (first + 1 + self.below(count - 1)) % count } else { first };
        (first, second)
    }

    fn below(&self, count: usize) -> usize {
        let step = self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        let mixed = (step ^ (step >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % count.max(1) as u64).unwrap_or_default()
    }
}
