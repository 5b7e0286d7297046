//! A running data plane: started, drained, stopped.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::TcpListener, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    catalog::{self, Catalog},
    config::Config,
    counters::{Counters, keep_counters},
    gateway::Gateway,
    listener::{self, TlsError},
    membership::{Link, Membership, MembershipError},
    metering::{Meter, keep_places},
    ops,
    policy::{Policies, Shelf, freshness, stream},
    reaper,
    stage::{
        forward::Opening,
        identify::{Introspector, Tokens},
    },
    store::{Store, StoreError},
    telemetry::{Metrics, Tracing},
    upstream::{Upstreams, check, offers},
    usage::{Shipping, Spool, SpoolError},
};

/// How long the last records may take to be delivered.
const SHIPPED_WITHIN: Duration = Duration::from_secs(5);
/// How long what is beside the calls may take to end.
const SERVICES_END_WITHIN: Duration = Duration::from_secs(5);
/// How long the last spans may take.
const SPANS_SENT_WITHIN: Duration = Duration::from_secs(5);
/// How often it is said that calls are still running.
const SAID_EVERY: Duration = Duration::from_secs(10);

/// A data plane that serves until it is stopped.
#[derive(Debug)]
pub struct DataPlane {
    gateway: Arc<Gateway>,
    mcp_addr: SocketAddr,
    ops_addr: SocketAddr,
    /// Ends what accepts calls.
    stopping: CancellationToken,
    /// Ends what has to outlive the calls: the policy stream and the ops port.
    stopped: CancellationToken,
    calls: TaskTracker,
    services: TaskTracker,
    shipping: Shipping,
    drain_timeout: Duration,
}

/// Why a data plane could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address is taken or not ours.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// It cannot belong to an installation.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// The spool cannot be opened.
    #[error("cannot open the usage spool: {0}")]
    Spool(#[from] SpoolError),
    /// The last policies cannot be kept.
    #[error("cannot open the directory of the last policies: {0}")]
    Shelf(#[source] std::io::Error),
    /// The store's settings are wrong.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Certificate or key are unusable.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Opens spool and store, binds the listeners and begins to follow the control plane. Calls are refused with
/// `not_ready` until the first policy has arrived.
///
/// # Errors
/// When something local cannot be had; that the control plane or Redis is away is no error.
pub async fn start(config: Config) -> Result<DataPlane, StartError> {
    let (spool, id) = Spool::open(&config.state_dir.join("spool"))?;
    let tls = config.tls.as_ref().map(listener::acceptor).transpose()?;
    let (mcp, mcp_addr) = bind(config.mcp_addr).await?;
    let (ops, ops_addr) = bind(config.ops_addr).await?;
    let identity = config.state_dir.join("identity");
    let (membership, link) = Membership::open(&identity, id, &config.control_grpc_url, config.enrollment_token)?;
    let store = match config.redis_urls.as_slice() {
        [] => Store::memory(),
        urls => Store::redis(urls, config.store_timeout)?,
    };
    let shelf = Shelf::open(config.state_dir.join("policy"), identity).map_err(StartError::Shelf)?;
    let (stopping, calls) = (CancellationToken::new(), TaskTracker::new());
    let gateway = Arc::new(Gateway {
        link: link.clone(),
        policies: Arc::new(Policies::open(shelf, chrono::Utc::now().timestamp())),
        tokens: Tokens::new(Introspector::new(link.clone())),
        store,
        counters: Counters::default(),
        meter: Meter::new(config.token_count),
        upstreams: Arc::new(Upstreams::new(config.upstream_timeout)),
        catalog: Catalog::default(),
        opening: Opening::default(),
        spool,
        metrics: Metrics::new(),
        tracing: Tracing::from_environment(),
        trusted_proxies: config.trusted_proxies,
        stopping: stopping.clone(),
        calls: calls.clone(),
    });
    let shipping = Shipping::start(gateway.spool.clone(), id, link.clone());
    let (stopped, services) = (CancellationToken::new(), TaskTracker::new());
    services.spawn(membership.keep(stopped.clone()));
    services.spawn(withdraw_once_revoked(link.clone(), Arc::clone(&gateway.policies), stopped.clone()));
    let watcher = stream::Watcher { link, id };
    services.spawn(stream::follow(watcher, Arc::clone(&gateway), stopped.clone()));
    services.spawn(freshness::follow(Arc::clone(&gateway.policies), stopped.clone()));
    services.spawn(keep_counters(Arc::clone(&gateway), stopped.clone()));
    services.spawn(keep_places(Arc::clone(&gateway), stopped.clone()));
    services.spawn(reaper::reap(Arc::clone(&gateway), stopped.clone()));
    services.spawn(ops::serve(Arc::clone(&gateway), config.other_metrics, ops, stopped.clone()));
    services.spawn(check::follow(Arc::clone(&gateway), stopped.clone()));
    services.spawn(offers::follow(Arc::clone(&gateway), stopped.clone()));
    services.spawn(catalog::follow(Arc::clone(&gateway), stopped.clone()));
    calls.spawn(listener::serve(Arc::clone(&gateway), mcp, tls, stopping.clone()));
    let drain_timeout = config.drain_timeout;
    Ok(DataPlane { gateway, mcp_addr, ops_addr, stopping, stopped, calls, services, shipping, drain_timeout })
}

impl DataPlane {
    /// Where agents are served.
    #[must_use]
    pub const fn mcp_addr(&self) -> SocketAddr {
        self.mcp_addr
    }

    /// Where health and metrics answer.
    #[must_use]
    pub const fn ops_addr(&self) -> SocketAddr {
        self.ops_addr
    }

    /// Waits until every tenant's policy has arrived once, and the control plane was heard or does not answer.
    pub async fn ready(&self) {
        self.gateway.policies.ready().await;
    }

    /// Accepts no more, lets running calls end, delivers what is spooled. Takes the drain timeout, where calls go on for so
    /// long, and 15 seconds at most.
    pub async fn stop(self) {
        self.stopping.cancel();
        self.calls.close();
        if timeout(self.drain_timeout, self.drained()).await.is_err() {
            tracing::warn!(running = self.calls.len(), "calls were still running when the drain timeout ended");
        }
        let left = self.shipping.drain(SHIPPED_WITHIN).await;
        if left > 0 {
            tracing::info!(records = left, "usage stays spooled for the next start");
        }
        self.stopped.cancel();
        self.services.close();
        if timeout(SERVICES_END_WITHIN, self.services.wait()).await.is_err() {
            tracing::warn!(running = self.services.len(), "not everything came to its end");
        }
        if timeout(SPANS_SENT_WITHIN, self.gateway.tracing.shutdown()).await.is_err() {
            tracing::warn!("the last spans were not exported in time");
        }
    }

    /// Until no call runs any more; says now and then what it waits for.
    async fn drained(&self) {
        while timeout(SAID_EVERY, self.calls.wait()).await.is_err() {
            tracing::info!(running = self.calls.len(), "waiting for running calls");
        }
    }
}

/// A data plane that was revoked serves nobody: it is not ready from then on, and refuses every call with `not_ready`.
async fn withdraw_once_revoked(link: Link, policies: Arc<Policies>, stopped: CancellationToken) {
    if stopped.run_until_cancelled(link.revoked()).await.is_some() {
        tracing::error!("this data plane was revoked: it serves nobody any more, and has forgotten its policies");
        policies.withdraw();
    }
}

async fn bind(addr: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { addr, source };
    let listener = TcpListener::bind(addr).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}
