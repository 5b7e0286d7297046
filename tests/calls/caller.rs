//! An agent that keeps its connections, and always calls the same.

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::json;

const ARGUMENT_BYTES: usize = 500;

/// An agent.
#[derive(Clone)]
pub(crate) struct Caller {
    http: Client<HttpConnector, Full<Bytes>>,
    url: String,
    authorization: String,
    body: Bytes,
}

impl Caller {
    /// One of the modern era, with this token.
    pub(crate) fn new(url: &str, token: &str) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let arguments = json!({"path": "a".repeat(ARGUMENT_BYTES)});
        let params = json!({"name": "read", "arguments": arguments, "_meta": meta});
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        Self {
            http: Client::builder(TokioExecutor::new()).build(connector),
            url: url.to_owned(),
            authorization: format!("Bearer {token}"),
            body: Bytes::from(message.to_string()),
        }
    }

    /// Calls, and reads the whole answer.
    pub(crate) async fn call(&self) {
        let request = Request::post(&self.url)
            .header(header::AUTHORIZATION, &self.authorization)
            .header(header::ACCEPT, "application/json, text/event-stream")
            .header(header::CONTENT_TYPE, "application/json")
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", "tools/call")
            .header("mcp-name", "read")
            .body(Full::from(self.body.clone()))
            .expect("a request");
        let answer = self.http.request(request).await.expect("the data plane answers");
        let status = answer.status();
        let body = answer.into_body().collect().await.expect("a whole body").to_bytes();
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    }
}
