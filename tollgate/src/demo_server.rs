//! The built-in MCP server: a small toolbox to try Tollgate with, speaking both eras on one endpoint.
//!
//! Invariant: it knows nothing of Tollgate. It is a plain MCP server, so that what works with it works with others.

use std::{net::SocketAddr, sync::Arc};

use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    failure::{Failure, OrFail as _},
    shutdown,
};

mod counters;
mod order;
mod toolbox;

use counters::Counters;
use toolbox::Toolbox;

const EXAMPLES: &str = "\
Examples:
  tollgate demo-server
  tollgate demo-server --addr 127.0.0.1:9000

Tools: add, confirm_order, countdown, counter_increment, counter_read, echo, reset_counter, slow.
There is no authorization in front of it: keep it on a loopback address and let Tollgate be the way in.";

/// Run the demo MCP server on its own.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Where to listen; the endpoint is /mcp
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7404")]
    addr: SocketAddr,
}

/// Serves until Ctrl-C.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let server = DemoServer::start(args.addr).await?;
    eprintln!("demo MCP server on {} (Ctrl-C stops it)", server.url());
    shutdown::requested().await;
    server.stop().await;
    Ok(())
}

/// A running demo server.
#[derive(Debug)]
pub(crate) struct DemoServer {
    addr: SocketAddr,
    stopping: CancellationToken,
    serving: JoinHandle<std::io::Result<()>>,
}

impl DemoServer {
    /// Listens on `addr` (port 0: any free one) and serves in the background.
    pub(crate) async fn start(addr: SocketAddr) -> Result<Self, Failure> {
        let listener = TcpListener::bind(addr)
            .await
            .or_fail(format!("the demo server cannot listen on {addr}"))
            .map_err(|failure| failure.cure("choose another address with --addr"))?;
        let addr = listener.local_addr().or_fail("the demo server has no address")?;
        let stopping = CancellationToken::new();
        let router = axum::Router::new().route_service("/mcp", endpoint(stopping.child_token()));
        let stopped = stopping.clone().cancelled_owned();
        let serving = tokio::spawn(async move { axum::serve(listener, router).with_graceful_shutdown(stopped).await });
        Ok(Self { addr, stopping, serving })
    }

    /// Where it listens.
    pub(crate) const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its MCP endpoint.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/mcp", self.addr)
    }

    /// Ends its sessions and streams, then its listener.
    pub(crate) async fn stop(self) {
        self.stopping.cancel();
        match self.serving.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the demo server's listener failed"),
            Err(error) => tracing::warn!(%error, "the demo server ended unexpectedly"),
        }
    }
}

/// Legacy clients get a session with a toolbox of its own; modern requests get a fresh toolbox each. Both share the
/// counters that are named by a handle.
fn endpoint(stopping: CancellationToken) -> StreamableHttpService<Toolbox, LocalSessionManager> {
    let counters = Arc::new(Counters::default());
    StreamableHttpService::new(
        move || Ok(Toolbox::new(Arc::clone(&counters))),
        Arc::new(LocalSessionManager::default()),
        StreamableHttpServerConfig::default().with_json_response(true).with_cancellation_token(stopping),
    )
}
