//! A running data plane: started, drained, stopped.

use std::{net::SocketAddr, sync::Arc};

use tokio::net::TcpListener;
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
    drain_timeout: std::time::Duration,
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
    let stopping = CancellationToken::new();
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
    });
    let shipping = Shipping::start(gateway.spool.clone(), id, channel.clone(), &config.enrollment_token)?;
    let (stopped, calls, services) = (CancellationToken::new(), TaskTracker::new(), TaskTracker::new());
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

    /// Accepts no more, lets running calls end, delivers what is spooled.
    pub async fn stop(self) {
        self.stopping.cancel();
        self.calls.close();
        if tokio::time::timeout(self.drain_timeout, self.calls.wait()).await.is_err() {
            tracing::warn!("calls were still running when the drain timeout ended");
        }
        self.shipping.drain(std::time::Duration::from_secs(5)).await;
        self.stopped.cancel();
        self.services.close();
        self.services.wait().await;
        self.gateway.tracing.shutdown().await;
    }
}

async fn bind(addr: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { addr, source };
    let listener = TcpListener::bind(addr).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}
