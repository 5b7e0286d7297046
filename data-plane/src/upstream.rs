//! The servers behind: connections to their instances, which instance a call goes to, and which era it speaks.
//!
//! Invariant: what is known of an instance outlives a policy change; a connection is opened only to an address that
//! the tenant's egress permits; and no request leaves without what its server is to be presented with.

pub mod answer;
pub mod check;
mod connect;
pub mod credential;
mod health;
mod instance;
pub mod link;
pub mod observed;
pub mod offers;
pub mod report;
pub mod schemas;
pub mod spoken;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};

use crate::policy::{Egress, Instance, Server};
use credential::{CredentialFault, Credentials};
use health::Failure;
use offers::Offers;

pub use connect::{GuardedConnector, client_tls};
pub use health::Standing;
pub use instance::{InFlight, Instances};
pub use link::Links;
pub use observed::Observed;
pub use schemas::Schemas;

const IDLE_CONNECTION: Duration = Duration::from_secs(60);

type HttpClient = Client<HttpsConnector<GuardedConnector>, Full<Bytes>>;

/// Connections to every server of every tenant.
#[derive(Debug)]
pub struct Upstreams {
    tls: rustls::ClientConfig,
    /// One pool for each set of allowed networks, so that no pool hands a tenant a connection that its own egress
    /// would refuse.
    clients: Mutex<HashMap<Egress, HttpClient>>,
    instances: Instances,
    schemas: Schemas,
    links: Arc<Links>,
    credentials: Credentials,
    offers: Offers,
    observed: Arc<Observed>,
    timeout: Duration,
}

/// Why an instance gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No connection could be made: the instance saw nothing.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// The connection broke before the answer began.
    #[error("broke off: {0}")]
    Broken(String),
    /// The answer did not begin in time.
    #[error("did not answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// Tollgate has nothing to present to its server, so that it was not asked.
    #[error(transparent)]
    Credential(#[from] CredentialFault),
}

impl UpstreamError {
    /// What spans call it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        if matches!(self, Self::Credential(_)) { "credential" } else { "unreachable" }
    }
}

impl Upstreams {
    /// `timeout`: how long an answer may take to begin.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self {
            tls: client_tls(),
            clients: Mutex::default(),
            instances: Instances::default(),
            schemas: Schemas::default(),
            links: Arc::default(),
            credentials: Credentials::default(),
            offers: Offers::default(),
            observed: Arc::default(),
            timeout,
        }
    }

    /// How long an answer may take to begin.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// What is known of the instances.
    #[must_use]
    pub const fn instances(&self) -> &Instances {
        &self.instances
    }

    /// What is known of the schemas of the servers' tools.
    #[must_use]
    pub const fn schemas(&self) -> &Schemas {
        &self.schemas
    }

    /// The upstream sessions over separate event streams that are held here.
    #[must_use]
    pub const fn links(&self) -> &Arc<Links> {
        &self.links
    }

    /// What servers said of their offers.
    #[must_use]
    pub const fn offers(&self) -> &Offers {
        &self.offers
    }

    /// Which definitions servers were last seen to give.
    #[must_use]
    pub const fn observed(&self) -> &Arc<Observed> {
        &self.observed
    }

    /// The instance that a new call or session goes to.
    #[must_use]
    pub fn pick<'a>(&self, server: &'a Server) -> &'a Arc<Instance> {
        self.instances.draw(&server.instances)
    }

    /// Sends one request, with what its server is to be presented with, and waits for the answer's head. No redirect is
    /// followed. A request that the server turned away with a 401 for a token of ours is sent again with another one.
    ///
    /// # Errors
    /// When there is nothing to present, or no answer in time.
    pub async fn send(
        &self,
        egress: &Egress,
        instance: &Instance,
        method: Method,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<(Response<Incoming>, InFlight), UpstreamError> {
        instance.access.via.mark(&mut headers);
        let http = || self.client(egress);
        let Some(token) = self.credentials.present(http, instance, &mut headers).await? else {
            return self.send_once(egress, instance, method, headers, body).await;
        };
        let answered = self.send_once(egress, instance, method.clone(), headers.clone(), body.clone()).await?;
        if answered.0.status() != StatusCode::UNAUTHORIZED
            || !self.credentials.renew(http, instance, &token, &mut headers).await?
        {
            return Ok(answered);
        }
        drop(answered);
        self.send_once(egress, instance, method, headers, body).await
    }

    async fn send_once(
        &self,
        egress: &Egress,
        instance: &Instance,
        method: Method,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<(Response<Incoming>, InFlight), UpstreamError> {
        let in_flight = self.instances.enter(instance.id);
        let request = request(&instance.url, method, headers, body);
        let answer = tokio::time::timeout(self.timeout, self.client(egress).request(request)).await;
        match answer {
            Ok(Ok(response)) if is_unable(response.status()) => {
                self.instances.failed(instance.id, Failure::Unable);
                Ok((response, in_flight))
            }
            Ok(Ok(response)) => {
                self.instances.succeeded(instance.id);
                Ok((response, in_flight))
            }
            Ok(Err(error)) => {
                self.instances.failed(instance.id, Failure::Unreachable);
                let of = if error.is_connect() { UpstreamError::Unreachable } else { UpstreamError::Broken };
                Err(of(chain(&error)))
            }
            Err(_elapsed) => {
                self.instances.failed(instance.id, Failure::Timeout);
                Err(UpstreamError::Timeout(self.timeout))
            }
        }
    }

    fn client(&self, egress: &Egress) -> HttpClient {
        // A pool is only ever added, so one that a panic left behind is whole.
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.entry(egress.clone()).or_insert_with(|| self.build(egress)).clone()
    }

    fn build(&self, egress: &Egress) -> HttpClient {
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(self.tls.clone())
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .wrap_connector(GuardedConnector::new(egress.clone()));
        Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_CONNECTION)
            .pool_timer(TokioTimer::new())
            .build(connector)
    }
}

/// What proxies and servers answer that cannot serve at the moment. Other errors may be about one request.
fn is_unable(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
}

fn request(url: &Uri, method: Method, headers: HeaderMap, body: Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = url.clone();
    *request.headers_mut() = headers;
    request
}

/// The error with its causes, for logs only.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
