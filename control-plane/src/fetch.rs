//! Requests that the control plane makes to hosts that others name: metadata documents of clients, their keys, OpenID
//! providers, receivers of alerts.
//!
//! Invariant: a name is resolved once per request, and a connection is opened only to an address that came out of that
//! look-up and that the tenant's egress permits. A host that a client names is not asked at all when any of its addresses is
//! not permitted: whoever has a public name lead into a private network means no good. Redirects are not followed, nothing is decompressed, and no answer
//! is read beyond its limits.

use std::{
    fmt,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
};
use tokio::net::TcpStream;
use tollgate_proto::Egress;
use tower_service::Service;
use url::Url;

/// How much patience one request is given.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The longest body that is read, in bytes.
    pub body_bytes_max: usize,
    /// From the look-up of the name to the last byte.
    pub timeout: Duration,
}

/// Why there is no answer. The texts name no address, so that they may be shown to whoever named the host.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Neither `https`, nor `http` on this very machine; or a URL without a host.
    #[error("only `https` URLs are fetched")]
    Scheme,
    /// The host is in a network that the tenant does not allow.
    #[error("the host is in a network that the tenant's `egress_allow` does not name")]
    NotPermitted,
    /// The name does not resolve.
    #[error("the host's name cannot be resolved")]
    Unresolved,
    /// Nothing listens there, its certificate is not trusted, or it breaks off.
    #[error("the host cannot be reached, or breaks off")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It did not answer in full in time.
    #[error("the host did not answer in time")]
    TimedOut,
    /// The body is longer than the limit.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    /// Compressed, though nobody asked for that.
    #[error("the answer is compressed")]
    Encoded,
}

impl FetchError {
    /// Whether trying again later may help. What the host's owner or the tenant has to change does not pass by itself.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unresolved | Self::Unreachable(_) | Self::TimedOut)
    }
}

/// The addresses of a host; `Unresolved` in all its forms is an [`io::Error`].
type Addresses = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;
type Resolve = dyn Fn(String, u16) -> Addresses + Send + Sync;

/// Makes requests.
#[derive(Clone)]
pub struct Fetcher {
    tls: rustls::ClientConfig,
    resolve: Arc<Resolve>,
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetcher").finish_non_exhaustive()
    }
}

impl Default for Fetcher {
    fn default() -> Self {
        Self::new()
    }
}

impl Fetcher {
    /// One that trusts what the system trusts and asks the system's resolver.
    #[must_use]
    pub fn new() -> Self {
        Self { tls: client_tls(), resolve: Arc::new(|host, port| Box::pin(look_up(host, port))) }
    }

    /// The same with other answers to look-ups.
    #[cfg(test)]
    pub(crate) fn resolving(self, resolve: impl Fn(&str) -> Vec<IpAddr> + Send + Sync + 'static) -> Self {
        let resolve = move |host: String, port| -> Addresses {
            let addresses = resolve(&host).into_iter().map(|address| SocketAddr::new(address, port)).collect();
            Box::pin(std::future::ready(Ok(addresses)))
        };
        Self { resolve: Arc::new(resolve), ..self }
    }

    /// The same, trusting these certificates alone.
    #[cfg(test)]
    pub(crate) fn trusting(self, roots: rustls::RootCertStore) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has cipher suites for the default versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { tls, ..self }
    }

    /// `GET url`, for a document of this media type, at a host that a client names.
    ///
    /// # Errors
    /// [`FetchError`]; a status other than 200 is an answer.
    pub async fn get(
        &self,
        egress: &Egress,
        url: &Url,
        accept: &'static str,
        limits: Limits,
    ) -> Result<Response<Bytes>, FetchError> {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = url.as_str().parse().map_err(|_| FetchError::Scheme)?;
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static(accept));
        self.answer(egress, request, limits, NamedBy::Client).await
    }

    /// Any request, such as the `POST` of a form, to a host that an admin names.
    ///
    /// # Errors
    /// [`FetchError`]; a status other than 200 is an answer.
    pub async fn send(
        &self,
        egress: &Egress,
        request: Request<Bytes>,
        limits: Limits,
    ) -> Result<Response<Bytes>, FetchError> {
        self.answer(egress, request, limits, NamedBy::Admin).await
    }

    /// Any request to the receiver of a webhook, which may do without TLS in a network that the tenant allows by name.
    /// Answers with status and headers; what follows them is not read.
    ///
    /// # Errors
    /// [`FetchError`]; any status is an answer.
    pub async fn deliver(
        &self,
        egress: &Egress,
        request: Request<Bytes>,
        patience: Duration,
    ) -> Result<Response<()>, FetchError> {
        let asked = tokio::time::timeout(patience, self.ask(self.connector(egress, NamedBy::Webhook), request));
        asked.await.map_err(|_elapsed| FetchError::TimedOut)?.map(|answer| answer.map(drop))
    }

    async fn answer(
        &self,
        egress: &Egress,
        request: Request<Bytes>,
        limits: Limits,
        named_by: NamedBy,
    ) -> Result<Response<Bytes>, FetchError> {
        let connector = self.connector(egress, named_by);
        let exchange = async { read(self.ask(connector, request).await?, limits.body_bytes_max).await };
        tokio::time::timeout(limits.timeout, exchange).await.map_err(|_elapsed| FetchError::TimedOut)?
    }

    fn connector(&self, egress: &Egress, named_by: NamedBy) -> GuardedConnector {
        GuardedConnector { egress: Arc::new(egress.clone()), resolve: Arc::clone(&self.resolve), named_by }
    }

    /// The answer without its body.
    async fn ask(
        &self,
        connector: GuardedConnector,
        mut request: Request<Bytes>,
    ) -> Result<Response<Incoming>, FetchError> {
        if !matches!(request.uri().scheme_str(), Some("https" | "http")) || request.uri().host().is_none() {
            return Err(FetchError::Scheme);
        }
        let method = request.method().clone();
        prepare(&method, request.headers_mut());
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(self.tls.clone())
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        // A connection of its own for every request: what was checked is what is used.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        client.request(request.map(Full::new)).await.map_err(refusal)
    }
}

/// TLS that trusts what the system trusts.
fn client_tls() -> rustls::ClientConfig {
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has cipher suites for the default versions");
    match builder.clone().with_native_roots() {
        Ok(builder) => builder.with_no_client_auth(),
        Err(error) => {
            tracing::warn!(%error, "the system has no trusted certificates: no https host can be reached");
            builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth()
        }
    }
}

fn prepare(method: &Method, headers: &mut HeaderMap) {
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static(concat!("tollgate/", env!("CARGO_PKG_VERSION"))));
    if *method != Method::GET {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

/// The whole answer; given up as soon as it says or shows that it is too long.
async fn read(answer: Response<Incoming>, body_bytes_max: usize) -> Result<Response<Bytes>, FetchError> {
    let identity = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if !answer.headers().get_all(header::CONTENT_ENCODING).iter().all(identity) {
        return Err(FetchError::Encoded);
    }
    let (parts, body) = answer.into_parts();
    if usize::try_from(body.size_hint().lower()).is_ok_and(|announced| announced > body_bytes_max) {
        return Err(FetchError::TooLong(body_bytes_max));
    }
    match Limited::new(body, body_bytes_max).collect().await {
        Ok(body) => Ok(Response::from_parts(parts, body.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => Err(FetchError::TooLong(body_bytes_max)),
        Err(error) => Err(FetchError::Unreachable(error)),
    }
}

/// Finds in what the client reports what the connector below it said.
fn refusal(error: hyper_util::client::legacy::Error) -> FetchError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(error) = cause {
        // An `io::Error` shows the source of what it wraps, not that itself.
        let error = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref).map_or(error, |inner| inner);
        if let Some(refused) = error.downcast_ref::<Refused>() {
            return match refused {
                Refused::NotPermitted => FetchError::NotPermitted,
                Refused::Unresolved => FetchError::Unresolved,
                Refused::Cleartext => FetchError::Scheme,
            };
        }
        cause = error.source();
    }
    FetchError::Unreachable(error.into())
}

/// Why the connector did not even try.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("no address of the host is permitted")]
    NotPermitted,
    #[error("the host's name cannot be resolved")]
    Unresolved,
    #[error("http to another machine")]
    Cleartext,
}

/// Who named a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NamedBy {
    /// Somebody of the tenant: what of the host is permitted is used.
    Admin,
    /// A client, which is a stranger: all of the host has to be permitted.
    Client,
    /// An admin, for what is signed and asks for no secret: where the tenant allows a network by name, TLS can be done
    /// without.
    Webhook,
}

/// Connects where the egress permits.
#[derive(Clone)]
struct GuardedConnector {
    egress: Arc<Egress>,
    resolve: Arc<Resolve>,
    named_by: NamedBy,
}

impl Service<Uri> for GuardedConnector {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.connect(&url).await.map(TokioIo::new) })
    }
}

impl GuardedConnector {
    async fn connect(&self, url: &Uri) -> io::Result<TcpStream> {
        let host = url.host().unwrap_or_default();
        let encrypted = url.scheme_str() == Some("https");
        let port = url.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let addresses = match literal {
            Ok(address) => vec![SocketAddr::new(address, port)],
            Err(_) => (self.resolve)(host.to_owned(), port).await.unwrap_or_default(),
        };
        if addresses.is_empty() {
            return Err(io::Error::other(Refused::Unresolved));
        }
        let in_clear = |address: &SocketAddr| {
            address.ip().to_canonical().is_loopback()
                || (self.named_by == NamedBy::Webhook && self.egress.allows(address.ip()))
        };
        if !encrypted && !addresses.iter().any(in_clear) {
            return Err(io::Error::other(Refused::Cleartext));
        }
        let may_connect = |address: &SocketAddr| self.egress.permits(address.ip()) && (encrypted || in_clear(address));
        let (permitted, others): (Vec<SocketAddr>, Vec<SocketAddr>) = addresses.into_iter().partition(may_connect);
        if permitted.is_empty() || (self.named_by == NamedBy::Client && !others.is_empty()) {
            return Err(io::Error::other(Refused::NotPermitted));
        }
        TcpStream::connect(permitted.as_slice()).await
    }
}

async fn look_up(host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok(tokio::net::lookup_host((host, port)).await?.collect())
}

#[cfg(test)]
mod tests;
