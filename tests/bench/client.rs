//! A client that keeps its connections, as agents do.

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;

/// Posts forms to one issuer.
pub(crate) struct Client {
    http: legacy::Client<HttpConnector, Full<Bytes>>,
    issuer: String,
}

impl Client {
    /// With no connection yet.
    pub(crate) fn new(issuer: &str) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self { http: legacy::Client::builder(TokioExecutor::new()).build(connector), issuer: issuer.to_owned() }
    }

    /// The JSON of a 200.
    pub(crate) async fn post(&self, endpoint: &str, form: &str) -> Value {
        let request = Request::post(format!("{}/oauth/{endpoint}", self.issuer))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::from(form.to_owned()))
            .expect("a request");
        let answer = self.http.request(request).await.expect("the control plane answers");
        let status = answer.status();
        let body = answer.into_body().collect().await.expect("a whole body").to_bytes();
        assert_eq!(status, 200, "{endpoint}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).expect("JSON")
    }
}
