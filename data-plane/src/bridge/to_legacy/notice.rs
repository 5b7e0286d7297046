//! Notifications on the stream that answers a request (MCP 2026-07-28, server/utilities).
//!
//! Invariant: an agent hears of the progress of its own request under its own token, and of log messages that this
//! request asked for, and of nothing else.

use bytes::Bytes;

use crate::{
    bridge::to_legacy::request::Alias,
    mcp::{
        json::{self, Raw},
        level::Level,
        message::{Edit, META_LOG_LEVEL, Notification, Request, RequestId},
    },
};

/// What a notification means for the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The agent gets this.
    Pass(Bytes),
    /// The server takes back a question of its own.
    Withdrawn(RequestId),
    /// Nobody gets it.
    Drop,
}

/// A level of log messages that MCP does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`io.modelcontextprotocol/logLevel` is no level")]
pub struct NoLevel;

/// The level of log messages that a request asks for.
///
/// # Errors
/// [`NoLevel`] when it is none that MCP knows.
pub fn wanted_level(request: &Request) -> Result<Option<Level>, NoLevel> {
    match request.params.meta().and_then(|meta| meta.get(META_LOG_LEVEL)) {
        None => Ok(None),
        Some(level) => level.as_str().and_then(|level| Level::parse(&level)).map(Some).ok_or(NoLevel),
    }
}

/// A notification that arrives while the call of `alias` runs.
#[must_use]
pub fn read(notice: &Notification, alias: &Alias, wanted: Option<Level>) -> Notice {
    let params = &notice.params;
    match &*notice.method {
        "notifications/progress" => match (&alias.progress_token, params.get("progressToken")) {
            (Some(own), Some(token)) if alias.is_token(token) => Notice::Pass(with_token(notice, own)),
            _ => Notice::Drop,
        },
        "notifications/message" => {
            let level = params.get("level").and_then(Raw::as_str).and_then(|level| Level::parse(&level));
            match (wanted, level) {
                (Some(wanted), Some(level)) if level >= wanted => Notice::Pass(notice.write(&Edit::default())),
                _ => Notice::Drop,
            }
        }
        "notifications/cancelled" => {
            params.get("requestId").and_then(RequestId::read).map_or(Notice::Drop, Notice::Withdrawn)
        }
        _ => Notice::Drop,
    }
}

fn with_token(notice: &Notification, token: &Raw) -> Bytes {
    let written = json::object(|message| {
        message.text("jsonrpc", "2.0");
        message.text("method", &notice.method);
        message.object("params", |params| {
            for (key, value) in notice.params.iter() {
                params.raw(key, if key == "progressToken" { token } else { value });
            }
        });
    });
    written.to_bytes()
}
