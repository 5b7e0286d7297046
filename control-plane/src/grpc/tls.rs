//! Connections from data planes: TLS 1.3, and who is at the other end.
//!
//! Invariant: a [`Peer`] has a certificate only if one of the installation's authorities has signed it for a data plane
//! and it was good at the handshake. No session is resumed, so that a handshake looks at the certificate always.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use chrono::{DateTime, Utc};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::CertificateDer,
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
    version::TLS13,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tollgate_proto::DataPlaneId;
use tonic::transport::server::Connected;
use x509_parser::parse_x509_certificate;

use crate::{
    app::App,
    authority::{Authority, AuthorityError},
};

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// More who have not shown yet who they are wait at the door.
const HANDSHAKES_MAX: usize = 256;
/// After an accept that failed, as when there are no more file descriptors.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// What this control plane shows data planes, and what it wants to see of them.
#[derive(Debug)]
pub struct Certificates {
    own: (Arc<CertifiedKey>, DateTime<Utc>),
    trusted: RootCertStore,
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer {
    /// Absent for who has shown none.
    pub(super) certificate: Option<PeerCertificate>,
}

/// What a data plane's certificate says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PeerCertificate {
    pub(super) data_plane: DataPlaneId,
    pub(super) expires_at: DateTime<Utc>,
}

impl Certificates {
    /// A certificate of its own for this process.
    ///
    /// # Errors
    /// When the authority cannot sign.
    pub fn new(authority: &Authority) -> Result<Self, AuthorityError> {
        let (key, renew_at) = authority.certify_control_plane(Utc::now())?;
        Ok(Self { own: (Arc::new(key), renew_at), trusted: authority.roots()? })
    }

    /// How connections are accepted with them.
    pub(super) fn config(self, app: Arc<App>) -> Arc<ServerConfig> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(self.trusted.into(), Arc::clone(&provider))
            .allow_unauthenticated()
            .build();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .expect("the provider has the suites of TLS 1.3")
            .with_client_cert_verifier(clients.expect("an installation has an authority"))
            .with_cert_resolver(Arc::new(Renewing { app, own: Mutex::new(self.own) }));
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Arc::new(config)
    }
}

/// The certificate of this process, made anew when half of its life has passed.
#[derive(Debug)]
struct Renewing {
    app: Arc<App>,
    own: Mutex<(Arc<CertifiedKey>, DateTime<Utc>)>,
}

impl ResolvesServerCert for Renewing {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Utc::now();
        if own.1 <= now
            && let Some(authority) = self.app.authority.get()
        {
            match authority.certify_control_plane(now) {
                Ok((key, renew_at)) => *own = (Arc::new(key), renew_at),
                Err(error) => tracing::error!(%error, "the control plane's own certificate cannot be renewed"),
            }
        }
        Some(Arc::clone(&own.0))
    }
}

/// Accepts connections until `stopping`. Each shakes hands by itself, so that a slow one holds up nobody.
pub(super) fn accept(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    stopping: CancellationToken,
) -> ReceiverStream<io::Result<Connection>> {
    let (accepted, connections) = mpsc::channel(1);
    tokio::spawn(async move {
        let (acceptor, waiting) = (TlsAcceptor::from(config), Arc::new(Semaphore::new(HANDSHAKES_MAX)));
        let accept_all = async {
            loop {
                let Ok(place) = Arc::clone(&waiting).acquire_owned().await else { return };
                let stream = match listener.accept().await {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection from a data plane");
                        sleep(ACCEPT_AGAIN_AFTER).await;
                        continue;
                    }
                };
                let (acceptor, accepted) = (acceptor.clone(), accepted.clone());
                tokio::spawn(async move {
                    let shaken = timeout(HANDSHAKE_TIMEOUT, shake_hands(&acceptor, stream)).await;
                    drop(place);
                    match shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                        // Nobody is there to take it when the listener has stopped.
                        Ok(connection) => drop(accepted.send(Ok(connection)).await),
                        Err(error) => tracing::debug!(%error, "a connection to the gRPC listener came to nothing"),
                    }
                });
            }
        };
        stopping.run_until_cancelled(accept_all).await;
    });
    ReceiverStream::new(connections)
}

async fn shake_hands(acceptor: &TlsAcceptor, stream: TcpStream) -> io::Result<Connection> {
    stream.set_nodelay(true)?;
    let stream = acceptor.accept(stream).await?;
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let certificate = match shown {
        Some(shown) => Some(read(shown).ok_or_else(|| io::Error::other("the certificate names no data plane"))?),
        None => None,
    };
    Ok(Connection { stream, peer: Peer { certificate } })
}

fn read(certificate: &CertificateDer<'_>) -> Option<PeerCertificate> {
    let (_, certificate) = parse_x509_certificate(certificate).ok()?;
    let data_plane = certificate.subject().iter_common_name().next()?.as_str().ok()?.parse().ok()?;
    let expires_at = DateTime::from_timestamp(certificate.validity().not_after.timestamp(), 0)?;
    Some(PeerCertificate { data_plane, expires_at })
}

/// A connection with a data plane, or with who wants to become one.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TlsStream<TcpStream>,
    peer: Peer,
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
