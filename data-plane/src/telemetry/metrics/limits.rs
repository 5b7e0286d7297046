//! What became of calls at the limits on them, and whether counters can be reached.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::{Gauges, Metrics};
use crate::store::Verdict;

/// Where a call was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CountedAt {
    /// In the store that all data planes share.
    Store,
    /// In a lease from there.
    Lease,
    /// Nowhere: the store has just refused as much, and is not asked again.
    Remembered,
    /// In this data plane alone, while the store was away.
    Here,
    /// Nowhere: the store was away, and the limits let that pass.
    Nowhere,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DecisionLabels {
    decision: &'static str,
    counted: &'static str,
}

#[derive(Debug)]
pub(super) struct Limits {
    decisions: Family<DecisionLabels, Counter>,
    is_degraded: Gauge<f64, AtomicU64>,
    data_planes: Gauge,
}

impl CountedAt {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Lease => "lease",
            Self::Remembered => "remembered",
            Self::Here => "here",
            Self::Nowhere => "nowhere",
        }
    }
}

impl Limits {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let (decisions, is_degraded, data_planes) = (Family::default(), Gauge::default(), Gauge::default());
        registry.register(
            "tollgate_ratelimit_decisions",
            "Messages that limits have judged or sessions belong to, by decision and by where they were counted",
            Family::clone(&decisions),
        );
        registry.register(
            "tollgate_degraded",
            "1 while the store of counters and sessions cannot be reached, else 0",
            Gauge::clone(&is_degraded),
        );
        registry.register(
            "tollgate_data_planes",
            "How many data planes there are, as the control plane said last: limits are shared by so many",
            Gauge::clone(&data_planes),
        );
        Self { decisions, is_degraded, data_planes }
    }

    pub(super) fn set(&self, gauges: &Gauges) {
        self.is_degraded.set(if gauges.is_store_away { 1.0 } else { 0.0 });
        self.data_planes.set(gauges.data_planes.into());
    }

    fn count(&self, decision: &'static str, counted: &'static str) {
        self.decisions.get_or_create(&DecisionLabels { decision, counted }).inc();
    }
}

impl Metrics {
    /// Limits have judged.
    pub fn limits_judged(&self, verdict: &Verdict, counted: CountedAt) {
        let decision = match verdict {
            Verdict::Admitted => "admitted",
            Verdict::Refused { .. } => "refused",
            Verdict::NotTested => "not_tested",
        };
        self.limits.count(decision, counted.as_str());
    }

    /// The store is away, and nobody else may judge.
    pub fn limits_not_judged(&self) {
        self.limits.count("unavailable", CountedAt::Nowhere.as_str());
    }
}
