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
            tokio::time::timeout(CONNECT_TIMEOUT, connect(&egress, &url, resolve))
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

/// Asks `resolve` once, and connects to nothing but what it answers.
async fn connect<R, F>(egress: &Egress, url: &Uri, resolve: R) -> io::Result<TcpStream>
where
    R: FnOnce(String, u16) -> F,
    F: Future<Output = io::Result<Vec<SocketAddr>>>,
{
    let host = url.host().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the URL names no host"))?;
    let port = url.port_u16().unwrap_or(if url.scheme_str() == Some("https") { 443 } else { 80 });
    let permitted: Vec<SocketAddr> =
        resolve(host.to_owned(), port).await?.into_iter().filter(|address| egress.permits(address.ip())).collect();
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

async fn resolve(host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
    let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    match literal {
        Ok(address) => Ok(vec![SocketAddr::new(address, port)]),
        Err(_) => Ok(tokio::net::lookup_host((host.as_str(), port)).await?.collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_loopback_server_is_reached_only_where_the_tenant_allows_it() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url: Uri = format!("http://{}/mcp", listener.local_addr().expect("bound")).parse().expect("a URL");
        let refused = connect(&Egress::default(), &url, resolve).await.expect_err("not allowed");
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        let loopback = Egress::new(vec!["127.0.0.0/8".parse().expect("a network")]);
        assert!(connect(&loopback, &url, resolve).await.is_ok());
    }

    #[tokio::test]
    async fn a_name_that_leads_to_a_private_address_is_refused_too() {
        let url = Uri::from_static("http://localhost:9/mcp");
        let refused = connect(&Egress::default(), &url, resolve).await.expect_err("not allowed");
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
    }

    #[tokio::test]
    async fn a_name_that_resolves_differently_the_second_time_leads_nowhere_else() {
        let allowed = tokio::net::TcpListener::bind("127.0.0.2:0").await.expect("a port");
        let port = allowed.local_addr().expect("bound").port();
        let forbidden = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.expect("the same port elsewhere");
        let url: Uri = format!("http://flips.example:{port}/mcp").parse().expect("a URL");
        let egress = Egress::new(vec!["127.0.0.2/32".parse().expect("a network")]);
        let asked = std::sync::atomic::AtomicUsize::new(0);
        let flipping = |_: String, port: u16| {
            let first = asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
            let address = if first { [127, 0, 0, 2] } else { [127, 0, 0, 1] };
            async move { Ok(vec![SocketAddr::from((address, port))]) }
        };
        let stream = connect(&egress, &url, flipping).await.expect("it was looked at and connected to in one");
        assert_eq!(stream.peer_addr().expect("connected"), allowed.local_addr().expect("bound"));
        let refused = connect(&egress, &url, flipping).await.expect_err("it leads elsewhere now");
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 2, "once for each connection");

        let both = |_: String, port: u16| async move {
            Ok(vec![SocketAddr::from(([127, 0, 0, 1], port)), SocketAddr::from(([127, 0, 0, 2], port))])
        };
        let stream = connect(&egress, &url, both).await.expect("one of them is allowed");
        assert_eq!(stream.peer_addr().expect("connected"), allowed.local_addr().expect("bound"));
        drop(forbidden);
    }
}
