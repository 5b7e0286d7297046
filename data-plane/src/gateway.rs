//! What all calls share.
//!
//! Invariant: it is built once, when the data plane starts, and nothing else reads settings.

#[cfg(test)]
pub(crate) mod testing;

use std::sync::Arc;

use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tollgate_proto::TrustedProxies;

use crate::{
    catalog::Catalog,
    counters::Counters,
    membership::Link,
    metering::Meter,
    policy::{Policies, Snapshot},
    refusal::Refusal,
    stage::{forward::Opening, identify::Tokens},
    store::Store,
    telemetry::{Metrics, Tracing},
    upstream::Upstreams,
    usage::Spool,
};

/// What all calls share.
#[derive(Debug)]
pub struct Gateway {
    pub(crate) link: Link,
    pub(crate) policies: Arc<Policies>,
    pub(crate) tokens: Tokens,
    pub(crate) store: Store,
    pub(crate) counters: Counters,
    pub(crate) meter: Meter,
    pub(crate) upstreams: Arc<Upstreams>,
    pub(crate) catalog: Catalog,
    pub(crate) opening: Opening,
    pub(crate) spool: Spool,
    pub(crate) metrics: Metrics,
    pub(crate) tracing: Tracing,
    pub(crate) trusted_proxies: TrustedProxies,
    pub(crate) stopping: CancellationToken,
    /// Calls that run, with what ends them: they are waited for when the gateway stops.
    pub(crate) calls: TaskTracker,
}

impl Gateway {
    /// Whether calls should be sent here: a policy has arrived, the control plane was heard or does not answer, and nothing
    /// is being stopped.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.policies.is_ready() && !self.stopping.is_cancelled()
    }

    /// The policy in force.
    ///
    /// # Errors
    /// [`Refusal::NotReady`] before the first one.
    pub fn snapshot(&self) -> Result<Arc<Snapshot>, Refusal> {
        if self.policies.is_synced() { Ok(self.policies.load()) } else { Err(Refusal::NotReady) }
    }

    /// Unix seconds.
    #[must_use]
    pub fn now(&self) -> i64 {
        chrono::Utc::now().timestamp()
    }
}
