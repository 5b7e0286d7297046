//! An MCP client that hides nothing: every header and every byte of a request can be chosen, every one of an answer
//! can be looked at.
//!
//! Invariant: a client sends what the specification of its era asks for, unless the story uses [`McpClient::post`].

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use url::Url;

use crate::http::Http;

mod answer;

pub use answer::{McpAnswer, McpStream};

/// Revision that a modern client speaks.
pub(crate) const MODERN: &str = "2026-07-28";
const ACCEPT: (&str, &str) = ("accept", "application/json, text/event-stream");
const JSON: (&str, &str) = ("content-type", "application/json");

/// How a client or a server speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Era {
    /// 2026-07-28: every request stands alone.
    Modern,
    /// Up to 2025-11-25: `initialize`, then a session.
    Legacy,
}

/// A client of one endpoint.
#[derive(Debug, Clone)]
pub struct McpClient {
    http: Http,
    url: String,
    connect_to: Option<Url>,
    token: Option<String>,
    /// Revision and id of the session, in the legacy era.
    session: Option<(String, Option<String>)>,
    /// What it says that it can be asked, where that is not the usual.
    capabilities: Option<Value>,
    next_id: Arc<AtomicU64>,
}

impl McpClient {
    /// A modern client without a token.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self {
            http: Http::default(),
            url: url.to_owned(),
            connect_to: None,
            token: None,
            session: None,
            capabilities: None,
            next_id: Arc::new(AtomicU64::new(1)),
        }
    }

    /// Presents a bearer token with every request.
    #[must_use]
    pub fn with_token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// Presents none.
    #[must_use]
    pub fn without_token(mut self) -> Self {
        self.token = None;
        self
    }

    /// Says that it can be asked this: the `capabilities` of a client.
    #[must_use]
    pub fn declaring(mut self, capabilities: Value) -> Self {
        self.capabilities = Some(capabilities);
        self
    }

    /// Connects to another process than the URL names, as a load balancer would: the `Host` stays.
    #[must_use]
    pub fn through(mut self, base: &str) -> Self {
        self.connect_to = Some(Url::parse(base).expect("a base URL is a URL"));
        self
    }

    /// Claims a legacy session that it did not open.
    #[must_use]
    pub fn with_session(mut self, version: &str, id: &str) -> Self {
        self.session = Some((version.to_owned(), Some(id.to_owned())));
        self
    }

    /// The endpoint's URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The id of the legacy session, when the server gave one.
    #[must_use]
    pub fn session_id(&self) -> Option<&str> {
        self.session.as_ref()?.1.as_deref()
    }

    /// Opens a legacy session: `initialize` and `notifications/initialized`.
    ///
    /// # Panics
    /// When the server does not accept it.
    pub async fn initialize(&self, version: &str) -> Self {
        let answer = self.try_initialize(version).await;
        assert_eq!(answer.status, 200, "initialize: {}", answer.body);
        let negotiated = answer.result()["protocolVersion"].as_str().expect("a version is negotiated").to_owned();
        let id = answer.header("mcp-session-id").map(str::to_owned);
        let session = Self { session: Some((negotiated, id)), ..self.clone() };
        let ready = session.notify("notifications/initialized").await;
        assert_eq!(ready.status, 202, "notifications/initialized: {}", ready.body);
        session
    }

    /// `initialize` alone, whatever comes of it.
    pub async fn try_initialize(&self, version: &str) -> McpAnswer {
        let params = json!({
            "protocolVersion": version,
            "capabilities": self.capabilities.clone().unwrap_or_else(|| json!({"elicitation": {}})),
            "clientInfo": {"name": "story", "version": "1"},
        });
        let message = json!({"jsonrpc": "2.0", "id": self.id(), "method": "initialize", "params": params});
        self.post(&[ACCEPT, JSON], message.to_string()).await
    }

    /// Calls a tool.
    pub async fn call(&self, tool: &str, arguments: Value) -> McpAnswer {
        self.request("tools/call", json!({"name": tool, "arguments": arguments})).await
    }

    /// Calls a tool while processes come and go.
    ///
    /// # Errors
    /// When the gateway cannot be reached or breaks off.
    pub async fn try_call(&self, tool: &str, arguments: Value) -> anyhow::Result<McpAnswer> {
        self.try_open("tools/call", json!({"name": tool, "arguments": arguments})).await?.try_finish().await
    }

    /// The names in the first page of `tools/list`.
    ///
    /// # Panics
    /// When the list is refused.
    pub async fn tool_names(&self) -> Vec<String> {
        let answer = self.request("tools/list", json!({})).await;
        assert_eq!(answer.status, 200, "tools/list: {}", answer.body);
        let tools = answer.result()["tools"].as_array().expect("a list of tools").clone();
        tools.iter().map(|tool| tool["name"].as_str().expect("a tool has a name").to_owned()).collect()
    }

    /// Sends a request and reads the answer to its end.
    pub async fn request(&self, method: &str, params: Value) -> McpAnswer {
        self.open(method, params).await.finish().await
    }

    /// Sends a request and returns as soon as the answer's head is there.
    ///
    /// # Panics
    /// When the endpoint cannot be reached.
    pub async fn open(&self, method: &str, params: Value) -> McpStream {
        self.try_open(method, params).await.unwrap_or_else(|error| panic!("{method} at {}: {error:#}", self.url))
    }

    async fn try_open(&self, method: &str, mut params: Value) -> anyhow::Result<McpStream> {
        let name = ["name", "uri", "taskId"].iter().find_map(|key| params[key].as_str()).map(str::to_owned);
        let mut headers = vec![ACCEPT, JSON];
        if let Some((version, id)) = &self.session {
            headers.push(("mcp-protocol-version", version));
            headers.extend(id.as_deref().map(|id| ("mcp-session-id", id)));
        } else {
            let meta = params["_meta"].take();
            params["_meta"] = modern_meta(self.capabilities.as_ref(), meta);
            headers.extend([("mcp-protocol-version", MODERN), ("mcp-method", method)]);
            headers.extend(name.as_deref().map(|name| ("mcp-name", name)));
        }
        let message = json!({"jsonrpc": "2.0", "id": self.id(), "method": method, "params": params});
        self.try_open_raw(Method::POST, &headers, message.to_string()).await
    }

    /// Sends a legacy notification.
    pub async fn notify(&self, method: &str) -> McpAnswer {
        self.send_message(&json!({"jsonrpc": "2.0", "method": method})).await
    }

    /// Sends any message in the legacy session, for instance the answer to a request of the server.
    pub async fn send_message(&self, message: &Value) -> McpAnswer {
        let mut headers = vec![ACCEPT, JSON];
        if let Some((version, id)) = &self.session {
            headers.push(("mcp-protocol-version", version));
            headers.extend(id.as_deref().map(|id| ("mcp-session-id", id)));
        }
        self.post(&headers, message.to_string()).await
    }

    /// Opens the event stream of the legacy session, or resumes one.
    ///
    /// # Panics
    /// When the endpoint cannot be reached.
    pub async fn stream(&self, last_event_id: Option<&str>) -> McpStream {
        let (version, id) = self.session.as_ref().expect("a session is open");
        let mut headers = vec![("accept", "text/event-stream"), ("mcp-protocol-version", version.as_str())];
        headers.push(("mcp-session-id", id.as_deref().unwrap_or_default()));
        headers.extend(last_event_id.map(|id| ("last-event-id", id)));
        self.open_raw(Method::GET, &headers, "").await
    }

    /// Ends the legacy session.
    pub async fn terminate(&self) -> McpAnswer {
        let (version, id) = self.session.as_ref().expect("a session is open");
        let headers =
            [("mcp-protocol-version", version.as_str()), ("mcp-session-id", id.as_deref().unwrap_or_default())];
        self.open_raw(Method::DELETE, &headers, "").await.finish().await
    }

    /// Posts exactly these headers (and the token) and this body.
    pub async fn post(&self, headers: &[(&str, &str)], body: impl Into<Bytes>) -> McpAnswer {
        self.open_raw(Method::POST, headers, body).await.finish().await
    }

    /// Posts a body with the headers that a modern `tools/call` of `tool` has.
    pub async fn post_as_call(&self, tool: &str, body: impl Into<Bytes>) -> McpAnswer {
        self.post_as_call_with(&[], tool, body).await
    }

    /// The same, with further headers.
    pub async fn post_as_call_with(&self, more: &[(&str, &str)], tool: &str, body: impl Into<Bytes>) -> McpAnswer {
        let call = [("mcp-protocol-version", MODERN), ("mcp-method", "tools/call"), ("mcp-name", tool)];
        self.post(&[&[ACCEPT, JSON], &call[..], more].concat(), body).await
    }

    /// Sends exactly this request (and the token).
    ///
    /// # Panics
    /// When the endpoint cannot be reached.
    pub async fn open_raw(&self, method: Method, headers: &[(&str, &str)], body: impl Into<Bytes>) -> McpStream {
        let answer = self.try_open_raw(method, headers, body).await;
        answer.unwrap_or_else(|error| panic!("no answer from {}: {error:#}", self.url))
    }

    async fn try_open_raw(
        &self,
        method: Method,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> anyhow::Result<McpStream> {
        let bearer = self.token.as_ref().map(|token| format!("Bearer {token}"));
        let mut headers = headers.to_vec();
        headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
        let url = Url::parse(&self.url).expect("an endpoint is a URL");
        let host = url.authority().to_owned();
        let mut target = url;
        if let Some(other) = &self.connect_to {
            target.set_port(other.port()).expect("an HTTP URL takes a port");
            headers.push(("host", &host));
        }
        Ok(McpStream::new(self.http.open(method, target.as_str(), &headers, body).await?))
    }

    fn id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }
}

/// What a modern request carries in `_meta`, and what the story adds.
#[must_use]
pub(crate) fn modern_meta(capabilities: Option<&Value>, more: Value) -> Value {
    let usual = json!({"elicitation": {"form": {}}});
    let mut meta = json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": capabilities.unwrap_or(&usual),
        "io.modelcontextprotocol/clientInfo": {"name": "story", "version": "1"},
    });
    if let (Value::Object(meta), Value::Object(more)) = (&mut meta, more) {
        meta.extend(more);
    }
    meta
}
