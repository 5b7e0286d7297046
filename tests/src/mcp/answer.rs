//! What comes back: one JSON message, or a stream of events.
//!
//! Invariant: messages are the same whichever way they came.

use bytes::BytesMut;
use http::{HeaderMap, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;

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

impl McpStream {
    pub(super) fn new(response: Response<Incoming>) -> Self {
        let (head, body) = response.into_parts();
        Self {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
            pending: BytesMut::new(),
            raw: BytesMut::new(),
        }
    }

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

    pub(super) async fn try_finish(mut self) -> anyhow::Result<McpAnswer> {
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
