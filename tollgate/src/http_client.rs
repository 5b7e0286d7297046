//! HTTP for the client commands: one request at a time, plain or over TLS with this system's certificates.
//!
//! Invariant: every wait has an end: five seconds to connect, and the caller's bound for an answer.

use std::{
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{DATE, HeaderMap},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use url::Url;

use crate::failure::{Exit, Failure, chain};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A request whose body is in memory.
pub(crate) type Call = Request<Full<Bytes>>;

/// Sends requests; clones share their connections.
#[derive(Debug, Clone)]
pub(crate) struct HttpClient {
    plain: Client<HttpConnector, Full<Bytes>>,
    /// Made at the first `https` request: reading all certificates takes a while.
    tls: OnceLock<Client<HttpsConnector<HttpConnector>, Full<Bytes>>>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("cannot load this system's certificates")]
    Certificates(#[source] std::io::Error),
    #[error("cannot reach {authority}")]
    Unreachable {
        authority: String,
        #[source]
        source: hyper_util::client::legacy::Error,
    },
    #[error("{authority} did not answer within {} s", within.as_secs())]
    Timeout { authority: String, within: Duration },
    #[error("the answer of {authority} broke off: {reason}")]
    Broken { authority: String, reason: String },
}

impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Self {
        Self::new(chain(&error)).exit(Exit::Unavailable)
    }
}

impl HttpClient {
    pub(crate) fn new() -> Self {
        let plain = Client::builder(TokioExecutor::new()).build(connector());
        Self { plain, tls: OnceLock::new() }
    }

    /// Sends a request and waits for the head of the answer; its body may stream on.
    pub(crate) async fn send(&self, request: Call, within: Duration) -> Result<Response<Incoming>, HttpError> {
        let authority = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        let answer = if request.uri().scheme_str() == Some("https") {
            self.tls()?.request(request)
        } else {
            self.plain.request(request)
        };
        match tokio::time::timeout(within, answer).await {
            Ok(answer) => answer.map_err(|source| HttpError::Unreachable { authority, source }),
            Err(_) => Err(HttpError::Timeout { authority, within }),
        }
    }

    /// Sends a request and reads the whole answer, within the bound each.
    pub(crate) async fn fetch(&self, request: Call, within: Duration) -> Result<Answer, HttpError> {
        let authority = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        let (head, body) = self.send(request, within).await?.into_parts();
        let body = Limited::new(body, BODY_BYTES_MAX).collect();
        match tokio::time::timeout(within, body).await {
            Ok(Ok(body)) => Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() }),
            Ok(Err(error)) => Err(HttpError::Broken { authority, reason: error.to_string() }),
            Err(_) => Err(HttpError::Timeout { authority, within }),
        }
    }

    /// Reads a URL.
    pub(crate) async fn get(&self, url: &Url, within: Duration) -> Result<Answer, HttpError> {
        self.fetch(to(hyper::Method::GET, url).body(Full::default()).expect("a URL makes a request"), within).await
    }

    fn tls(&self) -> Result<&Client<HttpsConnector<HttpConnector>, Full<Bytes>>, HttpError> {
        if let Some(client) = self.tls.get() {
            return Ok(client);
        }
        let mut plain = connector();
        plain.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_native_roots()
            .map_err(HttpError::Certificates)?
            .https_only()
            .enable_http1()
            .wrap_connector(plain);
        Ok(self.tls.get_or_init(|| Client::builder(TokioExecutor::new()).build(connector)))
    }
}

impl Answer {
    /// A header, when it is there and is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON, or null.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// How far the sender's clock is ahead of ours, by its `Date` header (whole seconds, RFC 9110 section 6.6.1).
    pub(crate) fn clock_ahead(&self) -> Option<chrono::TimeDelta> {
        let theirs = chrono::DateTime::parse_from_rfc2822(self.header(DATE.as_str())?).ok()?;
        Some(theirs.to_utc() - chrono::DateTime::<chrono::Utc>::from(SystemTime::now()))
    }
}

/// Begins a request to a URL.
pub(crate) fn to(method: hyper::Method, url: &Url) -> hyper::http::request::Builder {
    Request::builder().method(method).uri(url.as_str())
}

fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector
}
