//! Stage 1, listen: connections, TLS by rustls, the protocol chosen by ALPN, deadlines and caps.
//!
//! Invariant: a connection that says nothing is closed; when the gateway stops, running requests end first.

use std::{convert::Infallible, io, net::IpAddr, sync::Arc, time::Duration};

use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{config::TlsFiles, front, gateway::Gateway};

const CONNECTIONS_MAX: usize = 10_000;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// From a connection's start, or the last answer, to the end of the next request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
const HEAD_BYTES_MAX: usize = 64 * 1024;
const H2_STREAMS_MAX: u32 = 100;
const H2_HEADER_LIST_MAX: u32 = 16 * 1024;
const H2_PENDING_RESETS_MAX: usize = 20;
const H2_PING_EVERY: Duration = Duration::from_secs(20);

/// Why TLS cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that is not there or no PEM.
    #[error("cannot read {file}: {reason}")]
    File {
        /// Which one.
        file: String,
        /// Why not.
        reason: String,
    },
    /// Key and certificate do not fit.
    #[error("the certificate cannot be served: {0}")]
    Certificate(#[from] rustls::Error),
}

/// What TLS needs, from its files.
///
/// # Errors
/// When they cannot be read or do not fit.
pub fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, TlsError> {
    let unreadable = |path: &std::path::Path, error: rustls::pki_types::pem::Error| TlsError::File {
        file: path.display().to_string(),
        reason: error.to_string(),
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect)
        .map_err(|error| unreadable(&files.cert, error))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| unreadable(&files.key, error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Accepts until `stopping`, then waits until every connection has ended its running requests.
pub async fn serve(
    gateway: Arc<Gateway>,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    stopping: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let connections = TaskTracker::new();
    loop {
        // Past the cap nothing is accepted: the kernel's queue is the place to wait.
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopping.cancelled() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (gateway, tls, stopping) = (Arc::clone(&gateway), tls.clone(), stopping.clone());
        connections.spawn(async move {
            if let Err(error) = connection(gateway, peer.ip(), stream, tls, stopping).await {
                tracing::debug!(%peer, %error, "the connection ended");
            }
            drop(permit);
        });
    }
    connections.close();
    connections.wait().await;
}

async fn connection(
    gateway: Arc<Gateway>,
    peer: IpAddr,
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    stopping: CancellationToken,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let Some(tls) = tls else {
        return http1(gateway, peer, stream, stopping).await;
    };
    let stream = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await??;
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        http2(gateway, peer, stream, stopping).await
    } else {
        http1(gateway, peer, stream, stopping).await
    }
}

async fn http1<S>(gateway: Arc<Gateway>, peer: IpAddr, stream: S, stopping: CancellationToken) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| handle(Arc::clone(&gateway), peer, request));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    ended.map_err(io::Error::other)
}

async fn http2<S>(gateway: Arc<Gateway>, peer: IpAddr, stream: S, stopping: CancellationToken) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| handle(Arc::clone(&gateway), peer, request));
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(H2_STREAMS_MAX)
        .max_header_list_size(H2_HEADER_LIST_MAX)
        .max_pending_accept_reset_streams(H2_PENDING_RESETS_MAX)
        .keep_alive_interval(H2_PING_EVERY)
        .keep_alive_timeout(H2_PING_EVERY)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    ended.map_err(io::Error::other)
}

async fn handle(
    gateway: Arc<Gateway>,
    peer: IpAddr,
    request: http::Request<Incoming>,
) -> Result<http::Response<front::AnswerBody>, Infallible> {
    Ok(front::answer(&gateway, peer, request).await)
}
