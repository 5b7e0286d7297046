//! What is known of each instance: how many calls it runs, whether it answered lately, which era it speaks.
//!
//! Invariant: an [`InFlight`] counts for exactly as long as it lives.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tollgate_proto::InstanceId;

use crate::policy::Instance;

/// How long an instance that could not be reached is passed over while another can be.
const PASSED_OVER: Duration = Duration::from_secs(5);
/// A server that was upgraded still answers in the old way, so only time shows it.
const LEGACY_VERDICT: Duration = Duration::from_secs(60);

/// All instances by id.
#[derive(Debug, Default)]
pub struct Instances {
    known: Mutex<HashMap<InstanceId, Arc<State>>>,
}

#[derive(Debug, Default)]
struct State {
    in_flight: AtomicUsize,
    observed: Mutex<Observed>,
}

#[derive(Debug, Default)]
struct Observed {
    failed_at: Option<Instant>,
    modern: Option<(bool, Instant)>,
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
    pub(super) fn least_loaded<'a>(&self, instances: &'a [Arc<Instance>]) -> &'a Arc<Instance> {
        instances
            .iter()
            .min_by_key(|instance| {
                let state = self.state(instance.id);
                (state.is_passed_over(), state.in_flight.load(Ordering::Relaxed))
            })
            .expect("a server has at least one instance, as its conversion checked")
    }

    pub(super) fn enter(&self, id: InstanceId) -> InFlight {
        let state = self.state(id);
        state.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(state)
    }

    pub(super) fn failed(&self, id: InstanceId) {
        self.state(id).observed().failed_at = Some(Instant::now());
    }

    pub(super) fn succeeded(&self, id: InstanceId) {
        self.state(id).observed().failed_at = None;
    }

    /// Whether the instance speaks the modern era, where that is known and fresh.
    #[must_use]
    pub fn modern(&self, id: InstanceId) -> Option<bool> {
        let (modern, at) = self.state(id).observed().modern?;
        (modern || at.elapsed() < LEGACY_VERDICT).then_some(modern)
    }

    /// What asking it showed.
    pub fn set_modern(&self, id: InstanceId, modern: bool) {
        self.state(id).observed().modern = Some((modern, Instant::now()));
    }

    fn state(&self, id: InstanceId) -> Arc<State> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(id).or_default())
    }
}

impl State {
    fn observed(&self) -> std::sync::MutexGuard<'_, Observed> {
        // Plain values, each written whole: a panic elsewhere leaves nothing half done.
        self.observed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_passed_over(&self) -> bool {
        self.observed().failed_at.is_some_and(|at| at.elapsed() < PASSED_OVER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instances(count: usize) -> Vec<Arc<Instance>> {
        let instance = || Instance { id: InstanceId::new(), url: http::Uri::from_static("http://h/mcp") };
        (0..count).map(|_| Arc::new(instance())).collect()
    }

    #[test]
    fn the_least_loaded_instance_is_picked() {
        let (known, list) = (Instances::default(), instances(2));
        let busy = known.enter(list[0].id);
        assert_eq!(known.least_loaded(&list).id, list[1].id);
        drop(busy);
        let _other = known.enter(list[1].id);
        assert_eq!(known.least_loaded(&list).id, list[0].id);
    }

    #[test]
    fn an_instance_that_failed_is_passed_over_while_another_lives() {
        let (known, list) = (Instances::default(), instances(2));
        known.failed(list[0].id);
        let _busy = known.enter(list[1].id);
        assert_eq!(known.least_loaded(&list).id, list[1].id);
        known.failed(list[1].id);
        assert_eq!(known.least_loaded(&list).id, list[0].id);
        known.succeeded(list[1].id);
        assert_eq!(known.least_loaded(&list).id, list[1].id);
    }
}
