//! A server under the test's control, behind the gateway.
//!
//! Invariant: it does exactly what its script says, well-behaved or not, and remembers every request it saw before it
//! answers: its list of calls is the ledger of what really ran.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use axum::{
    Router,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle};

use crate::{
    identity_provider::OidcProvider,
    mcp::{Era, MODERN},
};

mod guard;

use guard::Guard;

/// The session in which the gateway reads for its catalog, at a legacy server.
const READING: &str = "reading";

/// What a tool does when it is called.
#[derive(Debug, Clone)]
pub enum Reply {
    /// A result, as JSON.
    Result(Value),
    /// A result whose text has as many tokens as the argument `tokens` says.
    AsAsked,
    /// A JSON-RPC error, with HTTP status 200.
    Error(i64, String),
    /// A JSON-RPC error, with an HTTP status.
    Refusal(u16, i64, String),
    /// One reply for the first call, another one from the second on.
    Then(Box<Reply>, Box<Reply>),
    /// One reply for the gateway, which reads for its catalog and says so, another one for agents.
    TwoFaced(Box<Reply>, Box<Reply>),
    /// A reply with a header beside its own; the value may be any bytes that a header can have.
    Header(&'static str, Vec<u8>, Box<Reply>),
    /// The `error` of a JSON-RPC error, whole, with HTTP status 200.
    Failure(Value),
    /// Whatever is given: status, content type, body.
    Raw(u16, String, String),
    /// An event stream, piece by piece.
    Events(Vec<Piece>),
    /// A redirect to somewhere else.
    Redirect(String),
    /// A result for each cursor (none for the first page); an error for any other one.
    Pages(BTreeMap<Option<String>, Value>),
    /// No answer at all.
    Hang,
}

/// A piece of an event stream.
#[derive(Debug, Clone)]
pub enum Piece {
    /// A notification.
    Notification(Value),
    /// The answer to the request.
    Result(Value),
    /// Progress, under the token that the request gave.
    Progress,
    /// Any bytes.
    Bytes(String),
    /// The same bytes again and again, for as long as anybody reads.
    Forever(String),
    /// Waits until the test releases it.
    Until(Arc<Notify>),
    /// Breaks the connection off.
    Abort,
}

/// A request as the server saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// When it was there as a whole.
    pub at: Instant,
    /// HTTP method.
    pub http_method: String,
    /// Every header.
    pub headers: HeaderMap,
    /// The body; null when it was no JSON.
    pub message: Value,
    /// The body as it came.
    pub body: String,
}

/// The draft of a [`ScriptedServer`].
#[derive(Debug, Clone)]
pub struct Script {
    era: Era,
    tools: BTreeMap<String, Reply>,
    stream: Option<Vec<Piece>>,
}

/// A running server.
#[derive(Debug)]
pub struct ScriptedServer {
    state: Arc<Stage>,
    port: u16,
    serving: JoinHandle<()>,
}

#[derive(Debug)]
struct Stage {
    era: Era,
    tools: Mutex<BTreeMap<String, Reply>>,
    methods: Mutex<BTreeMap<String, Reply>>,
    stream: Option<Vec<Piece>>,
    forgotten: AtomicU64,
    seen: Mutex<Vec<Seen>>,
    sessions: AtomicU64,
    guard: Mutex<Option<Guard>>,
}

impl Reply {
    /// A result with one text.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::Result(json!({"content": [{"type": "text", "text": text}]}))
    }
}

impl ScriptedServer {
    /// A server of the modern era.
    #[must_use]
    pub fn modern() -> Script {
        Script { era: Era::Modern, tools: BTreeMap::new(), stream: None }
    }

    /// A server of the legacy era, with sessions.
    #[must_use]
    pub fn legacy() -> Script {
        Script { era: Era::Legacy, tools: BTreeMap::new(), stream: None }
    }

    /// Its MCP endpoint.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/mcp", self.port)
    }

    /// Changes what a tool does.
    pub fn set(&self, tool: &str, reply: Reply) {
        lock(&self.state.tools).insert(tool.to_owned(), reply);
    }

    /// Changes what a method is answered with, whatever it asks for; `GET` stands for the HTTP method.
    pub fn set_method(&self, method: &str, reply: Reply) {
        lock(&self.state.methods).insert(method.to_owned(), reply);
    }

    /// From now on only tokens of `provider` come in, which are for this server; `client` is who asks it about them: id and
    /// secret.
    pub fn demand_tokens(&self, provider: &OidcProvider, client: (&str, &str)) {
        *lock(&self.state.guard) = Some(Guard::new(provider, self.url(), client));
    }

    /// How many requests came without a token that opens.
    #[must_use]
    pub fn turned_away(&self) -> usize {
        lock(&self.state.guard).as_ref().map_or(0, Guard::turned_away)
    }

    /// Every request so far that came in.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.state.seen).clone()
    }

    /// Every `tools/call` so far.
    #[must_use]
    pub fn calls(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.message["method"] == "tools/call").collect()
    }

    /// The call ids of every `tools/call` so far: the server's ledger.
    #[must_use]
    pub fn ledger(&self) -> Vec<String> {
        self.calls().iter().map(|call| call.header("tollgate-call-id").unwrap_or_default().to_owned()).collect()
    }

    /// Every message that answers a question of the server.
    #[must_use]
    pub fn replies(&self) -> Vec<Value> {
        let is_reply = |message: &Value| message.get("result").is_some() || message.get("error").is_some();
        self.seen().into_iter().map(|seen| seen.message).filter(is_reply).collect()
    }

    /// Forgets every session, as a server that was restarted.
    pub fn forget_sessions(&self) {
        self.state.forgotten.store(self.state.sessions.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Stops listening, as a server that went down.
    pub fn stop(&self) {
        self.serving.abort();
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Seen {
    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Script {
    /// Adds a tool.
    #[must_use]
    pub fn tool(mut self, name: &str, reply: Reply) -> Self {
        self.tools.insert(name.to_owned(), reply);
        self
    }

    /// Offers an event stream by GET, piece by piece; in the modern era, by `subscriptions/listen`.
    #[must_use]
    pub fn stream(mut self, pieces: Vec<Piece>) -> Self {
        self.stream = Some(pieces);
        self
    }

    /// Starts the server on a free port.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn start(self) -> ScriptedServer {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has a free port");
        let port = listener.local_addr().expect("a listener has an address").port();
        let state = Arc::new(Stage {
            era: self.era,
            tools: Mutex::new(self.tools),
            methods: Mutex::default(),
            stream: self.stream,
            forgotten: AtomicU64::new(0),
            seen: Mutex::default(),
            sessions: AtomicU64::new(1),
            guard: Mutex::default(),
        });
        let router = Router::new().fallback(answer).with_state(state.clone());
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("an accept loop goes on");
        });
        ScriptedServer { state, port, serving }
    }
}

async fn answer(
    State(stage): State<Arc<Stage>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let guard = lock(&stage.guard).clone();
    if let Some(guard) = guard
        && let Some(turned_away) = guard.turn_away(&method, &uri, &headers).await
    {
        return turned_away;
    }
    let message: Value = serde_json::from_slice(&body).unwrap_or_default();
    // What the gateway reads for its catalog, whenever it does, is no part of a story and moves no script on.
    let is_reading =
        headers.contains_key("tollgate-purpose") || headers.get("mcp-session-id").is_some_and(|id| id == READING);
    if !is_reading {
        lock(&stage.seen).push(Seen {
            at: Instant::now(),
            http_method: method.to_string(),
            headers: headers.clone(),
            message: message.clone(),
            body: String::from_utf8_lossy(&body).into_owned(),
        });
    }
    if method == Method::DELETE {
        return StatusCode::OK.into_response();
    }
    if stage.has_forgotten(&headers) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let play = if is_reading { now } else { next };
    if method == Method::GET
        && let Some(reply) = play(&stage.methods, "GET")
    {
        return perform(&Value::Null, reply).await;
    }
    match (&method, &stage.stream) {
        (&Method::POST, _) => {}
        (&Method::GET, Some(pieces)) if headers.contains_key("last-event-id") => {
            return events(&stage.last_call(), pieces.clone());
        }
        (&Method::GET, Some(pieces)) => return events(&message, pieces.clone()),
        _ => return StatusCode::METHOD_NOT_ALLOWED.into_response(),
    }
    if message.get("method").is_none() || message.get("id").is_none() {
        return StatusCode::ACCEPTED.into_response();
    }
    let id = message["id"].clone();
    let method = message["method"].as_str().unwrap_or_default();
    if let Some(reply) = play(&stage.methods, method) {
        return perform(&message, reply).await;
    }
    match (&stage.era, method) {
        (Era::Modern, "server/discover") => result(&id, &discovered()),
        (Era::Legacy, "initialize") if is_reading => welcome(READING, &id, &message),
        (Era::Legacy, "initialize") => stage.initialized(&id, &message),
        (Era::Legacy, _) if !headers.contains_key("mcp-session-id") => {
            failure(StatusCode::BAD_REQUEST, &id, -32000, "Bad Request: no session")
        }
        (Era::Modern, "subscriptions/listen") if stage.stream.is_some() => {
            events(&message, stage.stream.clone().unwrap_or_default())
        }
        (_, "tools/list") => result(&id, &stage.tool_list()),
        (_, "tools/call") => stage.call(&message).await,
        (_, "ping") => result(&id, &json!({})),
        (Era::Modern, _) => failure(StatusCode::NOT_FOUND, &id, -32601, "Method not found"),
        (Era::Legacy, _) => failure(StatusCode::OK, &id, -32601, "Method not found"),
    }
}

impl Stage {
    fn initialized(&self, id: &Value, message: &Value) -> Response {
        let session = self.sessions.fetch_add(1, Ordering::Relaxed);
        welcome(&format!("scripted-{session}"), id, message)
    }

    fn has_forgotten(&self, headers: &HeaderMap) -> bool {
        let session =
            headers.get("mcp-session-id").and_then(|id| id.to_str().ok()?.strip_prefix("scripted-")?.parse().ok());
        session.is_some_and(|session: u64| session < self.forgotten.load(Ordering::Relaxed))
    }

    /// What a stream that is resumed goes on with the answer to.
    fn last_call(&self) -> Value {
        let seen = lock(&self.seen);
        let mut messages = seen.iter().rev().map(|seen| &seen.message);
        messages.find(|message| message["method"] == "tools/call").cloned().unwrap_or_default()
    }

    fn tool_list(&self) -> Value {
        let tools: Vec<Value> = lock(&self.tools)
            .keys()
            .map(|name| json!({"name": name, "description": name, "inputSchema": {"type": "object"}}))
            .collect();
        complete(json!({"tools": tools, "ttlMs": 0, "cacheScope": "public"}))
    }

    async fn call(&self, message: &Value) -> Response {
        match next(&self.tools, message["params"]["name"].as_str().unwrap_or_default()) {
            None => failure(StatusCode::OK, &message["id"], -32602, "Unknown tool"),
            Some(reply) => perform(message, reply).await,
        }
    }
}

/// The answer to `initialize`, which opens this session.
fn welcome(session: &str, id: &Value, message: &Value) -> Response {
    let welcome = json!({
        "protocolVersion": message["params"]["protocolVersion"],
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "scripted", "version": "1"},
    });
    ([("mcp-session-id", session.to_owned())], result(id, &welcome)).into_response()
}

/// What would be played next, and still will be.
fn now(script: &Mutex<BTreeMap<String, Reply>>, name: &str) -> Option<Reply> {
    match lock(script).get(name)?.clone() {
        Reply::Then(first, _) | Reply::TwoFaced(first, _) => Some(*first),
        reply => Some(reply),
    }
}

fn next(script: &Mutex<BTreeMap<String, Reply>>, name: &str) -> Option<Reply> {
    let mut script = lock(script);
    let reply = script.get(name)?.clone();
    match reply {
        Reply::Then(first, rest) => {
            script.insert(name.to_owned(), *rest);
            Some(*first)
        }
        Reply::TwoFaced(_, to_agents) => Some(*to_agents),
        reply => Some(reply),
    }
}

async fn perform(message: &Value, reply: Reply) -> Response {
    let id = &message["id"];
    let status = |status| StatusCode::from_u16(status).expect("a script names a real status");
    match reply {
        Reply::Result(value) => result(id, &complete(value)),
        Reply::AsAsked => {
            let tokens = message["params"]["arguments"]["tokens"].as_u64().unwrap_or_default();
            // `o200k_base` takes digits by threes.
            let text = "123".repeat(usize::try_from(tokens).expect("a script asks for what memory has"));
            result(id, &complete(json!({"content": [{"type": "text", "text": text}]})))
        }
        Reply::Error(code, text) => failure(StatusCode::OK, id, code, &text),
        Reply::Failure(error) => axum::Json(json!({"jsonrpc": "2.0", "id": id, "error": error})).into_response(),
        Reply::Refusal(of, code, text) => failure(status(of), id, code, &text),
        Reply::Raw(of, kind, body) => (status(of), [("content-type", kind)], body).into_response(),
        Reply::Redirect(to) => (StatusCode::TEMPORARY_REDIRECT, [("location", to)]).into_response(),
        Reply::Pages(pages) => match pages.get(&message["params"]["cursor"].as_str().map(str::to_owned)) {
            Some(page) => result(id, &complete(page.clone())),
            None => failure(StatusCode::OK, id, -32602, "Unknown cursor"),
        },
        Reply::Hang => std::future::pending().await,
        Reply::Events(pieces) => events(message, pieces),
        Reply::Then(first, _) | Reply::TwoFaced(_, first) => Box::pin(perform(message, *first)).await,
        Reply::Header(name, value, reply) => {
            let mut response = Box::pin(perform(message, *reply)).await;
            let value = HeaderValue::from_bytes(&value).expect("a script names what a header can have");
            response.headers_mut().insert(name, value);
            response
        }
    }
}

fn events(message: &Value, pieces: Vec<Piece>) -> Response {
    let (id, token) = (message["id"].clone(), message["params"]["_meta"]["progressToken"].clone());
    let body = stream::iter(pieces).flat_map(move |piece| {
        let (id, token) = (id.clone(), token.clone());
        match piece {
            Piece::Forever(text) => stream::repeat_with(move || Ok(Bytes::from(text.clone()))).boxed(),
            piece => stream::once(say(id, token, piece)).boxed(),
        }
    });
    ([("content-type", "text/event-stream")], Body::from_stream(body)).into_response()
}

async fn say(id: Value, token: Value, piece: Piece) -> std::io::Result<Bytes> {
    match piece {
        Piece::Notification(value) => Ok(event(&value)),
        Piece::Result(value) => Ok(event(&json!({"jsonrpc": "2.0", "id": id, "result": complete(value)}))),
        Piece::Progress => {
            let params = json!({"progressToken": token, "progress": 1});
            Ok(event(&json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})))
        }
        Piece::Bytes(text) | Piece::Forever(text) => Ok(Bytes::from(text)),
        Piece::Until(released) => {
            released.notified().await;
            Ok(Bytes::from_static(b": released\n\n"))
        }
        Piece::Abort => Err(std::io::Error::other("the script breaks off")),
    }
}

fn event(message: &Value) -> Bytes {
    Bytes::from(format!("event: message\ndata: {message}\n\n"))
}

fn discovered() -> Value {
    complete(json!({
        "supportedVersions": [MODERN],
        "capabilities": {"tools": {}},
        "ttlMs": 0,
        "cacheScope": "public",
    }))
}

/// The modern era asks for `resultType`; the legacy one lets unknown members be.
fn complete(mut value: Value) -> Value {
    if value.get("resultType").is_none() {
        value["resultType"] = json!("complete");
    }
    value
}

fn result(id: &Value, value: &Value) -> Response {
    axum::Json(json!({"jsonrpc": "2.0", "id": id, "result": value})).into_response()
}

fn failure(status: StatusCode, id: &Value, code: i64, text: &str) -> Response {
    (status, axum::Json(json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": text}}))).into_response()
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
