//! A running data plane: started, drained, stopped.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::TcpListener, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{metadata::MetadataValue, transport::Endpoint as GrpcEndpoint};

use crate::{
    config::Config,
    gateway::Gateway,
    listener::{self, TlsError},
    ops,
    policy::{Policies, Shelf, stream},
    reaper,
    stage::{
        forward::Opening,
        identify::{Introspector, Tokens},
    },
    store::{Store, StoreError},
    telemetry::{Metrics, Tracing},
    upstream::{Upstreams, check, offers},
    usage::{ShipError, Shipping, Spool, SpoolError},
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
    /// The control plane's URL or token cannot be used.
    #[error("the control plane's address or the enrollment token is unusable: {0}")]
    ControlPlane(String),
    /// The spool cannot be opened.
    #[error("cannot open the usage spool: {0}")]
    Spool(#[from] SpoolError),
    /// The last policies cannot be kept.
    #[error("cannot open the directory of the last policies: {0}")]
    Shelf(#[source] std::io::Error),
    /// Records could never be delivered.
    #[error("cannot deliver usage: {0}")]
    Ship(#[from] ShipError),
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
    let unusable = |error: &dyn std::fmt::Display| StartError::ControlPlane(error.to_string());
    let channel =
        GrpcEndpoint::from_shared(config.control_grpc_url.clone()).map_err(|error| unusable(&error))?.connect_lazy();
    let authorization =
        MetadataValue::try_from(format!("Bearer {}", config.enrollment_token)).map_err(|error| unusable(&error))?;
    let store = match config.redis_urls.as_slice() {
        [] => Store::memory(),
        urls => Store::redis(urls, config.store_timeout)?,
    };
    let shelf = Shelf::open(config.state_dir.join("policy"), &config.enrollment_token).map_err(StartError::Shelf)?;
    let (stopping, calls) = (CancellationToken::new(), TaskTracker::new());
    let gateway = Arc::new(Gateway {
        policies: Arc::new(Policies::open(shelf, chrono::Utc::now().timestamp())),
        tokens: Tokens::new(Introspector::new(channel.clone(), authorization.clone())),
        store,
        upstreams: Arc::new(Upstreams::new(config.upstream_timeout)),
        opening: Opening::default(),
        spool,
        metrics: Metrics::new(),
        tracing: Tracing::from_environment(),
        trusted_proxies: config.trusted_proxies,
        stopping: stopping.clone(),
        calls: calls.clone(),
    });
    let shipping = Shipping::start(gateway.spool.clone(), id, channel.clone(), &config.enrollment_token)?;
    let (stopped, services) = (CancellationToken::new(), TaskTracker::new());
    let watcher = stream::Watcher { channel, authorization, id };
    services.spawn(stream::follow(watcher, Arc::clone(&gateway), stopped.clone()));
    services.spawn(reaper::reap(Arc::clone(&gateway), stopped.clone()));
    services.spawn(ops::serve(Arc::clone(&gateway), config.other_metrics, ops, stopped.clone()));
    services.spawn(check::follow(Arc::clone(&gateway), stopped.clone()));
    services.spawn(offers::follow(Arc::clone(&gateway), stopped.clone()));
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

    /// Waits until every tenant's policy has arrived once.
    pub async fn ready(&self) {
        self.gateway.policies.synced().await;
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

async fn bind(addr: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { addr, source };
    let listener = TcpListener::bind(addr).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}
