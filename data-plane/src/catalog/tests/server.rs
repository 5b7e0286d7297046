//! An MCP server of either era that lists what it is told to.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Method as Verb, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What is answered to a method with a cursor; empty: the first page.
type Script = dyn Fn(&str, &str) -> Said + Send + Sync;

/// An answer.
#[derive(Clone)]
pub(super) enum Said {
    /// A result.
    Result(Value),
    /// A JSON-RPC error.
    Error(i64),
    /// No MCP.
    Raw(&'static str, String),
}

/// What came in: the HTTP method, the method of MCP and the session.
pub(super) type Seen = (Verb, String, Option<String>);

/// The server.
pub(super) struct McpServer {
    pub(super) url: String,
    script: Arc<Mutex<Arc<Script>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl McpServer {
    /// With what it says of its capabilities, in both eras, and what it lists.
    pub(super) async fn start(
        capabilities: Value,
        script: impl Fn(&str, &str) -> Said + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let script: Arc<Mutex<Arc<Script>>> = Arc::new(Mutex::new(Arc::new(script)));
        let server = Self { url, script, seen: Arc::default() };
        let (script, seen) = (Arc::clone(&server.script), Arc::clone(&server.seen));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (script, seen, capabilities) = (Arc::clone(&script), Arc::clone(&seen), capabilities.clone());
                let service = service_fn(move |request| {
                    let (script, capabilities) = (Arc::clone(&script.lock().unwrap()), capabilities.clone());
                    let seen = Arc::clone(&seen);
                    async move { Ok::<_, Infallible>(answer(request, &seen, &capabilities, &*script).await) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
            }
        });
        server
    }

    /// From now on it lists something else.
    pub(super) fn lists(&self, script: impl Fn(&str, &str) -> Said + Send + Sync + 'static) {
        *self.script.lock().unwrap() = Arc::new(script);
    }

    /// Everything that came in.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The methods that were asked for, in their order.
    pub(super) fn asked(&self) -> Vec<String> {
        self.seen().into_iter().map(|(_, method, _)| method).filter(|method| !method.is_empty()).collect()
    }
}

async fn answer(
    request: Request<Incoming>,
    seen: &Mutex<Vec<Seen>>,
    capabilities: &Value,
    script: &Script,
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let message: Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap_or_default();
    let method = message["method"].as_str().unwrap_or_default();
    let session = head.headers.get("mcp-session-id").map(|id| id.to_str().unwrap().to_owned());
    seen.lock().unwrap().push((head.method.clone(), method.to_owned(), session));
    if head.method != Verb::POST || message.get("id").is_none() {
        let status = if head.method == Verb::GET { StatusCode::METHOD_NOT_ALLOWED } else { StatusCode::ACCEPTED };
        return Response::builder().status(status).body(Full::default()).unwrap();
    }
    let said = match method {
        "initialize" => Said::Result(json!({
            "protocolVersion": message["params"]["protocolVersion"],
            "capabilities": capabilities,
            "serverInfo": {"name": "lists", "version": "1"},
        })),
        "server/discover" => Said::Result(json!({
            "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": capabilities,
        })),
        _ => script(method, message["params"]["cursor"].as_str().unwrap_or_default()),
    };
    let (media, body) = match said {
        Said::Result(result) => {
            ("application/json", json!({"jsonrpc": "2.0", "id": message["id"], "result": result}).to_string())
        }
        Said::Error(code) => {
            let error = json!({"code": code, "message": "no"});
            ("application/json", json!({"jsonrpc": "2.0", "id": message["id"], "error": error}).to_string())
        }
        Said::Raw(media, body) => (media, body),
    };
    let mut response = Response::builder().header(CONTENT_TYPE, media);
    if method == "initialize" {
        response = response.header("mcp-session-id", "session-1");
    }
    response.body(Full::from(body)).unwrap()
}
