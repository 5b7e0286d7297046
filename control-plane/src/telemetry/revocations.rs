//! What is measured of revocations: how fast data planes enforce them, and what they have not confirmed.

use std::{sync::atomic::AtomicU64, time::Duration};

use chrono::Utc;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::policy::{Connected, RevocationTimes};

/// 5 ms to a minute; the bound that is kept while everything is connected lies amid them.
const BUCKETS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0];
/// Every data plane together.
const ALL: &str = "_all";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PlaneLabels {
    data_plane: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QuantileLabels {
    data_plane: String,
    quantile: &'static str,
}

/// The series.
#[derive(Debug)]
pub(super) struct Revocations {
    enforced: Family<KindLabels, Histogram, fn() -> Histogram>,
    latest: Family<QuantileLabels, Gauge<f64, AtomicU64>>,
    unconfirmed: Family<PlaneLabels, Gauge>,
    unconfirmed_age: Family<PlaneLabels, Gauge<f64, AtomicU64>>,
}

impl Revocations {
    /// All empty.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let revocations = Self {
            enforced: Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram),
            latest: Family::default(),
            unconfirmed: Family::default(),
            unconfirmed_age: Family::default(),
        };
        let help = "Time from a revocation to a data plane's word that it is in force there, by what was revoked";
        let enforced = revocations.enforced.clone();
        registry.register_with_unit("tollgate_revocation_enforced", help, Unit::Seconds, enforced);
        let help =
            "The same over the latest 1000 of each connected data plane and of all (`_all`); quantile 1: the worst";
        let latest = revocations.latest.clone();
        registry.register_with_unit("tollgate_revocation_enforced_latest", help, Unit::Seconds, latest);
        let help = "Revocations that a connected data plane has not confirmed";
        registry.register("tollgate_revocations_unconfirmed", help, revocations.unconfirmed.clone());
        let help = "Age of the oldest revocation that a connected data plane has not confirmed";
        let age = revocations.unconfirmed_age.clone();
        registry.register_with_unit("tollgate_revocations_unconfirmed_age", help, Unit::Seconds, age);
        revocations
    }

    pub(super) fn enforced(&self, kind: &'static str, took: Duration) {
        self.enforced.get_or_create(&KindLabels { kind }).observe(took.as_secs_f64());
    }

    /// As it is now. Who is connected no more leaves no series.
    pub(super) fn set(&self, connected: &Connected) {
        self.latest.clear();
        self.unconfirmed.clear();
        self.unconfirmed_age.clear();
        self.set_of(ALL, &connected.revocation_times());
        for (data_plane, times) in connected.revocation_times_of_each() {
            self.set_of(&data_plane.to_string(), &times);
        }
    }

    fn set_of(&self, data_plane: &str, times: &RevocationTimes) {
        for (quantile, ms) in [("0.5", times.p50_ms), ("0.99", times.p99_ms), ("1", times.worst_ms)] {
            if let Some(ms) = ms {
                let labels = QuantileLabels { data_plane: data_plane.to_owned(), quantile };
                self.latest.get_or_create(&labels).set(ms / 1_000.0);
            }
        }
        let labels = PlaneLabels { data_plane: data_plane.to_owned() };
        let age = times.unconfirmed_since.and_then(|since| (Utc::now() - since).to_std().ok()).unwrap_or_default();
        self.unconfirmed.get_or_create(&labels).set(i64::try_from(times.unconfirmed).unwrap_or(i64::MAX));
        self.unconfirmed_age.get_or_create(&labels).set(age.as_secs_f64());
    }
}
