//! How many instances of each server answer.

use std::sync::atomic::AtomicI64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};
use tollgate_proto::Name;

use crate::upstream::Standing;

/// One instance, when somebody asks.
#[derive(Debug)]
pub struct InstanceGauge {
    /// Whose server it is.
    pub tenant: Name,
    /// The server.
    pub server: Name,
    /// Where the instance stands.
    pub standing: Standing,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InstanceLabels {
    tenant: String,
    tollgate_mcp_server_name: String,
    standing: &'static str,
}

/// The series.
#[derive(Debug)]
pub(super) struct Instances(Family<InstanceLabels, Gauge<i64, AtomicI64>>);

impl Instances {
    /// None yet.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let instances = Family::default();
        registry.register("tollgate_instances", "Instances of servers, by where they stand", instances.clone());
        Self(instances)
    }

    /// As they are now. Servers that are gone leave no series.
    pub(super) fn set(&self, gauges: &[InstanceGauge]) {
        self.0.clear();
        for InstanceGauge { tenant, server, standing } in gauges {
            let labels = |standing| InstanceLabels {
                tenant: tenant.to_string(),
                tollgate_mcp_server_name: server.to_string(),
                standing,
            };
            for named in [Standing::Healthy, Standing::Ejected, Standing::Returning] {
                // Also those of which there is none, so that an alert sees a zero.
                self.0.get_or_create(&labels(named.as_str())).inc_by(i64::from(named == *standing));
            }
        }
    }
}
