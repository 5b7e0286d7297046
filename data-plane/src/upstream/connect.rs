//! Opening a connection to an address that the tenant's egress permits, and to no other.
//!
//! Invariant: a name is resolved here and the addresses that came out are the only ones connected to, so that a
//! name that resolves differently the second time gains nothing.

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_rustls::ConfigBuilderExt as _;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::policy::Egress;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Connects where the egress permits.
#[derive(Debug, Clone)]
pub struct GuardedConnector {
    egress: Arc<Egress>,
}

impl GuardedConnector {
    /// A connector for tenants that allow these networks.
    #[must_use]
    pub fn new(egress: Egress) -> Self {
        Self { egress: Arc::new(egress) }
    }
}

impl Service<Uri> for GuardedConnector {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        let egress = Arc::clone(&self.egress);
        Box::pin(async move {
            tokio::time::timeout(CONNECT_TIMEOUT, connect(&egress, &url))
                .await
                .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no connection in time"))?
                .map(TokioIo::new)
        })
    }
}

/// TLS towards servers, trusting what the system trusts.
#[must_use]
pub fn client_tls() -> rustls::ClientConfig {
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has cipher suites for the default versions");
    match builder.clone().with_native_roots() {
        Ok(builder) => builder.with_no_client_auth(),
        Err(error) => {
            tracing::warn!(%error, "the system has no trusted certificates: https servers cannot be reached");
            builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth()
        }
    }
}

async fn connect(egress: &Egress, url: &Uri) -> io::Result<TcpStream> {
    let host = url.host().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the URL names no host"))?;
    let port = url.port_u16().unwrap_or(if url.scheme_str() == Some("https") { 443 } else { 80 });
    let permitted: Vec<SocketAddr> =
        resolve(host, port).await?.into_iter().filter(|address| egress.permits(address.ip())).collect();
    if permitted.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "the server lives in a network that the tenant's `egress_allow` does not name",
        ));
    }
    let stream = TcpStream::connect(permitted.as_slice()).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    match literal {
        Ok(address) => Ok(vec![SocketAddr::new(address, port)]),
        Err(_) => Ok(tokio::net::lookup_host((host, port)).await?.collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_loopback_server_is_reached_only_where_the_tenant_allows_it() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url: Uri = format!("http://{}/mcp", listener.local_addr().expect("bound")).parse().expect("a URL");
        let refused = connect(&Egress::default(), &url).await.expect_err("not allowed");
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        let loopback = Egress::new(vec!["127.0.0.0/8".parse().expect("a network")]);
        assert!(connect(&loopback, &url).await.is_ok());
    }

    #[tokio::test]
    async fn a_name_that_leads_to_a_private_address_is_refused_too() {
        let url = Uri::from_static("http://localhost:9/mcp");
        let refused = connect(&Egress::default(), &url).await.expect_err("not allowed");
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
    }
}
