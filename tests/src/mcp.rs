//! An MCP client that hides nothing: every header and every byte of a request can be chosen, every one of an answer
//! can be looked at.
//!
//! Invariant: a client sends what the specification of its era asks for, unless the story uses [`McpClient::post`].

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};
use url::Url;

use crate::http::Http;

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
    next_id: Arc<AtomicU64>,
}

/// A whole answer to one POST.
#[derive(Debug, Clone)]
pub struct McpAnswer {
    /// HTTP status.
    pub status: u16,
    /// Every header.
    pub headers: HeaderMap,
    /// The messages, whether they came as JSON or as events.
    pub messages: Vec<Value>,
    /// The body as it came.
    pub body: String,
}

/// An answer that is still arriving.
#[derive(Debug)]
pub struct McpStream {
    /// HTTP status.
    pub status: u16,
    /// Every header.
    pub headers: HeaderMap,
    body: Incoming,
    pending: BytesMut,
    raw: BytesMut,
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
            "capabilities": {"elicitation": {}},
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
        let name = params["name"].as_str().or(params["uri"].as_str()).map(str::to_owned);
        let mut headers = vec![ACCEPT, JSON];
        if let Some((version, id)) = &self.session {
            headers.push(("mcp-protocol-version", version));
            headers.extend(id.as_deref().map(|id| ("mcp-session-id", id)));
        } else {
            let meta = params["_meta"].take();
            params["_meta"] = modern_meta(meta);
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
        let call = [("mcp-protocol-version", MODERN), ("mcp-method", "tools/call"), ("mcp-name", tool)];
        self.post(&[&[ACCEPT, JSON], &call[..]].concat(), body).await
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
        let (head, body) = self.http.open(method, target.as_str(), &headers, body).await?.into_parts();
        Ok(McpStream {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
            pending: BytesMut::new(),
            raw: BytesMut::new(),
        })
    }

    fn id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }
}

/// What a modern request carries in `_meta`, and what the story adds.
#[must_use]
pub(crate) fn modern_meta(more: Value) -> Value {
    let mut meta = json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}},
        "io.modelcontextprotocol/clientInfo": {"name": "story", "version": "1"},
    });
    if let (Value::Object(meta), Value::Object(more)) = (&mut meta, more) {
        meta.extend(more);
    }
    meta
}

impl McpStream {
    /// The next message; nothing at the end.
    ///
    /// # Panics
    /// When the connection breaks or a message is no JSON.
    pub async fn next(&mut self) -> Option<Value> {
        self.try_next().await.expect("the gateway ends an answer in an orderly way")
    }

    /// Reads the rest.
    ///
    /// # Panics
    /// As [`McpStream::next`].
    pub async fn finish(self) -> McpAnswer {
        self.try_finish().await.expect("the gateway ends an answer in an orderly way")
    }

    async fn try_next(&mut self) -> anyhow::Result<Option<Value>> {
        loop {
            while let Some(event) = self.take_event() {
                let data: Vec<&str> =
                    event.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim).collect();
                if !data.concat().is_empty() {
                    return Ok(Some(serde_json::from_str(&data.join("\n"))?));
                }
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            if let Ok(data) = frame?.into_data() {
                self.pending.extend_from_slice(&data);
                self.raw.extend_from_slice(&data);
            }
        }
    }

    async fn try_finish(mut self) -> anyhow::Result<McpAnswer> {
        let mut messages = Vec::new();
        while let Some(message) = self.try_next().await? {
            messages.push(message);
        }
        let body = String::from_utf8_lossy(&self.raw).into_owned();
        if messages.is_empty() {
            messages.extend(serde_json::from_str::<Value>(&body));
        }
        Ok(McpAnswer { status: self.status, headers: self.headers, messages, body })
    }

    fn take_event(&mut self) -> Option<String> {
        let is_events =
            self.headers.get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        let text = std::str::from_utf8(&self.pending).ok().filter(|_| is_events)?.replace("\r\n", "\n");
        let end = text.find("\n\n")?;
        self.pending = BytesMut::from(&text.as_bytes()[end + 2..]);
        Some(text[..end].to_owned())
    }
}

impl McpAnswer {
    /// A header's value, or nothing when it is absent or no text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The call id that every answer carries.
    ///
    /// # Panics
    /// When it is missing.
    #[must_use]
    pub fn call_id(&self) -> &str {
        self.header("tollgate-call-id").unwrap_or_else(|| panic!("no Tollgate-Call-Id: {} {}", self.status, self.body))
    }

    /// The last message's result.
    ///
    /// # Panics
    /// When it is no result.
    #[must_use]
    pub fn result(&self) -> &Value {
        self.member("result")
    }

    /// The last message's error.
    ///
    /// # Panics
    /// When it is no error.
    #[must_use]
    pub fn error(&self) -> &Value {
        self.member("error")
    }

    /// The reason code of a refusal.
    ///
    /// # Panics
    /// When this is no refusal.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.error()["data"]["reason"].as_str().unwrap_or_else(|| panic!("no reason: {} {}", self.status, self.body))
    }

    /// The text of a tool's result.
    ///
    /// # Panics
    /// When this is no tool's result with text.
    #[must_use]
    pub fn text(&self) -> &str {
        self.result()["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {}", self.body))
    }

    fn member(&self, name: &str) -> &Value {
        self.messages
            .last()
            .and_then(|message| message.get(name))
            .unwrap_or_else(|| panic!("no {name}: {} {}", self.status, self.body))
    }
}
