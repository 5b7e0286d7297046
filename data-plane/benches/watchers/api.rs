//! The REST API of the control plane, as an administrator.

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};

/// Tenant `default`.
pub(crate) struct Api {
    client: Client<HttpConnector, Full<Bytes>>,
    tenant: String,
    bearer: String,
}

impl Api {
    pub(crate) fn new(url: &str, token: &str) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { client, tenant: format!("{url}/api/v1/tenants/default"), bearer: format!("Bearer {token}") }
    }

    /// Makes an object.
    pub(crate) async fn put(&self, path: &str, spec: Value) {
        self.send(Method::PUT, &format!("/{path}"), json!({ "spec": spec }).to_string()).await;
    }

    /// The newest revision of the policy.
    pub(crate) async fn revision(&self) -> u64 {
        let tenant = self.send(Method::GET, "", String::new()).await;
        tenant["status"]["policy"]["revision"].as_u64().expect("a tenant has a revision")
    }

    async fn send(&self, method: Method, path: &str, body: String) -> Value {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.tenant))
            .header(header::AUTHORIZATION, &self.bearer)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body.into()));
        let answer = self.client.request(request.expect("a request")).await.expect("the control plane answers");
        let status = answer.status();
        let body = answer.into_body().collect().await.expect("the control plane answers to the end").to_bytes();
        assert!(status.is_success(), "{path}: {status} {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).expect("JSON")
    }
}
