//! A plain HTTP client: what it is told is what goes over the wire.
//!
//! Invariant: it adds no header of its own but `Host` and `Content-Length`, follows no redirect and repeats nothing.

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;

/// The client.
#[derive(Debug, Clone)]
pub struct Http(Client<HttpConnector, Full<Bytes>>);

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Every header.
    pub headers: HeaderMap,
    /// The body, to its end.
    pub body: Bytes,
}

impl Default for Http {
    fn default() -> Self {
        // A connection is not kept: a process that was restarted must not be met through its predecessor's.
        Self(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http())
    }
}

impl Http {
    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// When the peer cannot be reached or breaks off.
    pub async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> anyhow::Result<Answer> {
        let response = self.open(method, url, headers, body).await?;
        let (head, body) = response.into_parts();
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: body.collect().await?.to_bytes() })
    }

    /// Sends a GET request without a body.
    ///
    /// # Panics
    /// When the peer cannot be reached.
    pub async fn get(&self, url: &str) -> Answer {
        self.send(Method::GET, url, &[], "").await.unwrap_or_else(|error| panic!("GET {url}: {error:#}"))
    }

    /// Sends a request and returns as soon as the answer's head is there.
    ///
    /// # Errors
    /// When the peer cannot be reached or breaks off.
    pub async fn open(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> anyhow::Result<http::Response<Incoming>> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Ok(self.0.request(request.body(Full::new(body.into()))?).await?)
    }
}

impl Answer {
    /// A header's value, or nothing when it is absent or no text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{} with no JSON ({error}): {}", self.status, self.text()))
    }
}
