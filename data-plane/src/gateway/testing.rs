//! A gateway in a directory of its own, with nothing around it.
//!
//! Invariant: it reaches nobody: its control plane is away, and its store is in the process.

use std::{path::Path, sync::Arc, time::Duration};

use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tollgate_proto::TrustedProxies;
use tonic::transport::Endpoint;

use super::Gateway;
use crate::{
    catalog::Catalog,
    counters::Counters,
    membership::Link,
    metering::Meter,
    policy::{Policies, Shelf},
    stage::{
        forward::Opening,
        identify::{Introspector, Tokens},
    },
    store::Store,
    telemetry::{Metrics, Tracing},
    upstream::Upstreams,
    usage::Spool,
};

/// How long it waits for a server.
pub(crate) const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(30);

/// One that keeps its things here.
pub(crate) fn gateway_in(dir: &Path, meter: Meter) -> Arc<Gateway> {
    let (spool, _) = Spool::open(&dir.join("spool")).expect("a directory of its own");
    let link = Link::over(Endpoint::from_static("http://127.0.0.1:1").connect_lazy());
    let shelf = Shelf::open(dir.join("policy"), dir.join("vault")).expect("a directory of its own");
    Arc::new(Gateway {
        link: link.clone(),
        policies: Arc::new(Policies::open(shelf, 0)),
        tokens: Tokens::new(Introspector::new(link)),
        store: Store::memory(),
        counters: Counters::default(),
        meter,
        upstreams: Arc::new(Upstreams::new(UPSTREAM_TIMEOUT)),
        catalog: Catalog::default(),
        opening: Opening::default(),
        spool,
        metrics: Metrics::new(),
        tracing: Tracing::from_environment(),
        trusted_proxies: TrustedProxies::default(),
        stopping: CancellationToken::new(),
        calls: TaskTracker::new(),
    })
}
