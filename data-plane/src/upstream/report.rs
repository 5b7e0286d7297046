//! What the control plane is told of instances: all of a tenant's at first, then those of which something changed.
//!
//! Invariant: nothing is told twice on one stream, and a condition has the time at which it began, however often the
//! stream is opened anew.

use std::collections::{HashMap, HashSet};

use tollgate_proto::{
    InstanceId, TenantId,
    policy::v1::{Era as WireEra, InstanceHealth, InstanceReport, InstanceState},
};

use super::{Instances, health::Condition, instance::Sight};
use crate::{mcp::version::Era, policy::Snapshot};

/// Instances in one message, and tenants.
const ENTRIES_MAX: usize = 1_000;

/// What was seen, and what of it was told.
#[derive(Debug, Default)]
pub struct Reporter {
    seen: HashMap<InstanceId, Seen>,
    told: HashSet<TenantId>,
}

#[derive(Debug)]
struct Seen {
    sight: Sight,
    since_ms: i64,
}

impl Reporter {
    /// Another stream was opened: whoever hears it knows nothing yet.
    pub fn begin(&mut self) {
        self.told.clear();
    }

    /// What is to be told at this moment, in unix milliseconds; messages of a bounded size, none when nothing changed.
    pub fn report(&mut self, instances: &Instances, snapshot: &Snapshot, now_ms: i64) -> Vec<InstanceReport> {
        let (mut reports, mut filling) = (Vec::new(), InstanceReport::default());
        let (mut known, mut tenants) = (HashSet::new(), HashSet::new());
        for tenant in snapshot.tenants() {
            tenants.insert(tenant.id);
            let anew = self.told.insert(tenant.id);
            if anew {
                // Before its instances, so that they add to it.
                filling.complete_tenant_ids.push(tenant.id.to_string());
            }
            for server in tenant.servers.values() {
                for instance in &server.instances {
                    known.insert(instance.id);
                    let sight = instances.sight(instance.id).registered_as(server.era);
                    if self.note(instance.id, sight, now_ms) || anew {
                        filling.instances.push(self.state(tenant.id, instance.id));
                    }
                    if filling.instances.len() >= ENTRIES_MAX {
                        reports.push(std::mem::take(&mut filling));
                    }
                }
            }
            if filling.complete_tenant_ids.len() >= ENTRIES_MAX {
                reports.push(std::mem::take(&mut filling));
            }
        }
        reports.extend(Some(filling).filter(|report| *report != InstanceReport::default()));
        self.seen.retain(|id, _| known.contains(id));
        self.told.retain(|id| tenants.contains(id));
        reports
    }

    /// Whether this is another sight than before.
    fn note(&mut self, id: InstanceId, sight: Sight, now_ms: i64) -> bool {
        match self.seen.get_mut(&id) {
            Some(seen) if seen.sight == sight => false,
            Some(seen) => {
                let since_ms = if seen.sight.condition == sight.condition { seen.since_ms } else { now_ms };
                *seen = Seen { sight, since_ms };
                true
            }
            None => {
                self.seen.insert(id, Seen { sight, since_ms: now_ms });
                true
            }
        }
    }

    fn state(&self, tenant: TenantId, id: InstanceId) -> InstanceState {
        let Seen { sight, since_ms } = &self.seen[&id];
        let health = match sight.condition {
            Condition::Unknown => InstanceHealth::Unknown,
            Condition::Healthy => InstanceHealth::Healthy,
            Condition::Unhealthy => InstanceHealth::Unhealthy,
            Condition::Ejected => InstanceHealth::Ejected,
            Condition::Returning => InstanceHealth::Returning,
        };
        let era = match sight.era {
            Some(Era::Legacy) => WireEra::Legacy,
            Some(Era::Modern) => WireEra::Modern,
            None => WireEra::Unspecified,
        };
        InstanceState {
            tenant_id: tenant.to_string(),
            instance_id: id.to_string(),
            health: health.into(),
            since_ms: *since_ms,
            era: era.into(),
            protocol_version: sight.version.map(|version| version.as_str().to_owned()).unwrap_or_default(),
            last_error: sight.failure.map(|failure| failure.as_str().to_owned()).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests;
