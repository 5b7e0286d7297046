//! One `tools/call` of the 2026-07-28 revision: the request, and its answer as JSON or as a stream.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Method, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, RETRY_AFTER, WWW_AUTHENTICATE},
};
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};

use super::{sse::Events, token::Access};
use crate::{
    failure::{Exit, Failure, OrFail as _},
    http_client::{HttpClient, to},
    terminal,
};

const PROTOCOL_VERSION: &str = "2026-07-28";
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
const REQUEST_ID: u64 = 1;

/// What the data plane answered.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) call_id: Option<String>,
    /// `WWW-Authenticate`.
    pub(super) challenge: Option<String>,
    /// `Retry-After`.
    pub(super) retry_after: Option<String>,
    /// The JSON-RPC response; null when there was none.
    pub(super) message: Value,
}

/// Calls a tool and waits for the end of the answer, telling progress on standard error.
pub(super) async fn call_tool(
    http: &HttpClient,
    access: &Access,
    tool: &str,
    arguments: &Map<String, Value>,
    within: Duration,
) -> Result<Reply, Failure> {
    let body = json!({
        "jsonrpc": "2.0",
        "id": REQUEST_ID,
        "method": "tools/call",
        "params": {
            "name": tool,
            "arguments": arguments,
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": PROTOCOL_VERSION,
                "io.modelcontextprotocol/clientInfo": { "name": "tollgate", "version": env!("CARGO_PKG_VERSION") },
                "io.modelcontextprotocol/clientCapabilities": {},
                "progressToken": REQUEST_ID,
            },
        },
    });
    let request = to(Method::POST, &access.endpoint)
        .header(AUTHORIZATION, format!("Bearer {}", access.token.expose_secret()))
        .header(ACCEPT, "application/json, text/event-stream")
        .header(CONTENT_TYPE, "application/json")
        .header("mcp-protocol-version", PROTOCOL_VERSION)
        .header("mcp-method", "tools/call")
        .header("mcp-name", header_value(tool))
        .body(Full::new(Bytes::from(body.to_string())))
        .or_fail("cannot make the request")?;
    let answer = async {
        let response = http.send(request, within).await.map_err(|error| {
            Failure::from(error).cure("is a data plane running there? `tollgate doctor` tells more")
        })?;
        read(response).await
    };
    let late = || Failure::new(format!("the answer did not end within {} s", within.as_secs())).exit(Exit::Unavailable);
    tokio::time::timeout(within, answer).await.unwrap_or_else(|_| Err(late()))
}

async fn read(response: Response<Incoming>) -> Result<Reply, Failure> {
    let (head, mut body) = response.into_parts();
    let streamed = text(&head.headers, CONTENT_TYPE.as_str()).is_some_and(|kind| kind.starts_with("text/event-stream"));
    let mut events = Events::default();
    let mut whole = Vec::new();
    let mut message = Value::Null;
    while let Some(frame) = body.frame().await {
        let frame = frame.or_fail("the answer broke off").map_err(|failure| failure.exit(Exit::Unavailable))?;
        let Ok(bytes) = frame.into_data() else { continue };
        if streamed {
            for event in events.push(&bytes) {
                message = take(&event).unwrap_or(message);
            }
        } else {
            whole.extend_from_slice(&bytes);
        }
        if whole.len().max(events.pending_bytes()) > ANSWER_BYTES_MAX {
            return Err(Failure::new("the answer is larger than 16 MiB"));
        }
    }
    if !streamed {
        message = serde_json::from_slice(&whole).unwrap_or_default();
    }
    Ok(Reply {
        status: head.status,
        call_id: text(&head.headers, "tollgate-call-id"),
        challenge: text(&head.headers, WWW_AUTHENTICATE.as_str()),
        retry_after: text(&head.headers, RETRY_AFTER.as_str()),
        message,
    })
}

/// The response, when the event is one; progress is told.
fn take(event: &str) -> Option<Value> {
    let message: Value = serde_json::from_str(event).ok()?;
    if message["method"] == "notifications/progress" {
        eprintln!("{}", progress_line(&message["params"]));
    }
    (message["id"] == REQUEST_ID && message["method"].is_null()).then_some(message)
}

fn progress_line(params: &Value) -> String {
    // As `f64` prints it: a whole number without its fraction.
    let number = |value: &Value| value.as_f64().map(|number| number.to_string());
    let done = number(&params["progress"]).unwrap_or_default();
    let steps = number(&params["total"]).map_or_else(|| done.clone(), |total| format!("{done} of {total}"));
    let message = params["message"].as_str().map(|message| format!(": {}", terminal::line(message)));
    format!("progress {steps}{}", message.unwrap_or_default())
}

/// A value for `Mcp-Name`: as it is, or in the Base64 form when a header cannot carry it (MCP 2026-07-28, Streamable HTTP).
fn header_value(text: &str) -> String {
    let plain = text.bytes().all(|byte| matches!(byte, 0x20..=0x7E)) && text.trim() == text;
    let sentinel = text.starts_with("=?base64?") && text.ends_with("?=");
    if plain && !sentinel { text.to_owned() } else { format!("=?base64?{}?=", STANDARD.encode(text)) }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_no_header_can_carry_is_encoded() {
        assert_eq!(header_value("add"), "add");
        assert_eq!(header_value("zählen"), "=?base64?esOkaGxlbg==?=");
        assert_eq!(header_value(" add"), "=?base64?IGFkZA==?=");
        assert_eq!(header_value("=?base64?YQ==?="), "=?base64?PT9iYXNlNjQ/WVE9PT89?=");
    }

    #[test]
    fn progress_reads_as_a_sentence() {
        let line = progress_line(&json!({ "progress": 1.0, "total": 3, "message": "2 left\u{1b}\n" }));
        assert_eq!(line, "progress 1 of 3: 2 left‹U+001B›‹U+000A›");
        assert_eq!(progress_line(&json!({ "progress": 0.5 })), "progress 0.5");
    }
}
