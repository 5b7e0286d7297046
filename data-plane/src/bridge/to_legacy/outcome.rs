//! A legacy server's result or error as a modern agent gets it.
//!
//! Invariant: every result says its type, every list and resource how long it keeps, and no error code goes out that
//! the modern era gives another meaning (MCP 2026-07-28, basic, "Error Codes").

use http::StatusCode;

use crate::{
    bridge::to_legacy::{
        Capabilities,
        question::{self, Kind, Pending},
    },
    mcp::{
        json::{self, ObjectWriter, Raw},
        method::{Carries, ListKind, Method},
    },
};

const META_SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
const METHOD_NOT_FOUND: i64 = -32601;
const INVALID_PARAMS: i64 = -32602;
const INTERNAL_ERROR: i64 = -32603;
/// The legacy era's "resource not found".
const RESOURCE_NOT_FOUND: i64 = -32002;
/// The legacy era's "URL elicitation required".
const URL_ELICITATION_REQUIRED: i64 = -32042;
/// The modern era's "missing required client capability".
const MISSING_CAPABILITY: i64 = -32021;
/// What the modern era keeps for itself: a legacy server's codes in here mean something else.
const RESERVED: std::ops::RangeInclusive<i64> = -32099..=-32020;

/// What the agent gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A result.
    Result(Raw),
    /// An error, and the status that goes with it.
    Error(StatusCode, Raw),
    /// The user has to open these pages first; then the call is sent again.
    Visit(Vec<Pending>),
}

/// A result of `method`. `None` when it is no object, which no result may be. `server_info` is the server's own, from
/// its handshake.
#[must_use]
pub fn result(method: Method, result: &Raw, server_info: Option<&Raw>) -> Option<Raw> {
    let members = result.object()?;
    let cacheable = matches!(method.carries(), Carries::List(_)) || method == Method::ResourcesRead;
    let meta = members.get("_meta").and_then(Raw::object).unwrap_or_default();
    Some(json::object(|result| {
        result.text("resultType", "complete");
        for (key, value) in members.iter() {
            match key {
                "resultType" | "_meta" => {}
                "ttlMs" | "cacheScope" if cacheable => {}
                "tools" if method.carries() == Carries::List(ListKind::Tools) => write_tools(result, value),
                _ => result.raw(key, value),
            }
        }
        if cacheable {
            result.integer("ttlMs", 0);
            // What a legacy server lists may depend on the session.
            result.text("cacheScope", "private");
        }
        if server_info.is_some() || !meta.is_empty() {
            result.object("_meta", |written| {
                meta.iter()
                    .filter(|(key, _)| *key != META_SERVER_INFO)
                    .for_each(|(key, value)| written.raw(key, value));
                if let Some(info) = server_info.or_else(|| meta.get(META_SERVER_INFO)) {
                    written.raw(META_SERVER_INFO, info);
                }
            });
        }
    }))
}

/// An error of the server.
#[must_use]
pub fn error(error: &Raw, declared: Capabilities) -> Outcome {
    let members = error.object().unwrap_or_default();
    let code = members.get("code").and_then(Raw::as_i64);
    match code {
        Some(METHOD_NOT_FOUND) => Outcome::Error(StatusCode::NOT_FOUND, error.clone()),
        Some(RESOURCE_NOT_FOUND) => Outcome::Error(StatusCode::OK, with_code(error, INVALID_PARAMS)),
        Some(URL_ELICITATION_REQUIRED) => visit(error, declared),
        Some(code) if RESERVED.contains(&code) => Outcome::Error(StatusCode::OK, demoted(error, code)),
        _ => Outcome::Error(StatusCode::OK, error.clone()),
    }
}

/// A tool without what only legacy tasks need; `None` for one that cannot be called without a task.
#[must_use]
pub fn tool(tool: &Raw) -> Option<Raw> {
    let Some(members) = tool.object() else { return Some(tool.clone()) };
    let support = members.get("execution").and_then(|execution| execution.object()?.get("taskSupport").cloned());
    if support.is_some_and(|support| support.as_str().as_deref() == Some("required")) {
        return None;
    }
    Some(json::object(|tool| {
        members.iter().filter(|(key, _)| *key != "execution").for_each(|(key, value)| tool.raw(key, value));
    }))
}

fn write_tools(result: &mut ObjectWriter<'_>, tools: &Raw) {
    let Some(tools) = tools.array() else { return result.raw("tools", tools) };
    result.array("tools", |written| tools.iter().filter_map(tool).for_each(|tool| written.raw(&tool)));
}

fn visit(error: &Raw, declared: Capabilities) -> Outcome {
    let data = error.object().and_then(|error| error.get("data")?.object());
    let pages = data.and_then(|data| data.get("elicitations")?.array()).unwrap_or_default();
    if pages.is_empty() {
        return Outcome::Error(StatusCode::OK, demoted(error, URL_ELICITATION_REQUIRED));
    }
    if !declared.url {
        return Outcome::Error(StatusCode::BAD_REQUEST, url_needed());
    }
    let page = |(index, page): (usize, &Raw)| {
        let key = question::key(index);
        Some(Pending { key, id: None, kind: Kind::Elicitation, request: question::visit(page)? })
    };
    match pages.iter().enumerate().map(page).collect::<Option<Vec<_>>>() {
        Some(pages) => Outcome::Visit(pages),
        None => Outcome::Error(StatusCode::OK, demoted(error, URL_ELICITATION_REQUIRED)),
    }
}

fn url_needed() -> Raw {
    json::object(|error| {
        error.integer("code", MISSING_CAPABILITY);
        error.text("message", "this call needs a client that can send its user to a URL");
        error.object("data", |data| {
            data.object("requiredCapabilities", |needed| {
                needed.object("elicitation", |elicitation| elicitation.object("url", |_| {}));
            });
        });
    })
}

/// The error under a code that every client understands; its own goes into `data`.
fn demoted(error: &Raw, code: i64) -> Raw {
    let members = error.object().unwrap_or_default();
    json::object(|written| {
        written.integer("code", INTERNAL_ERROR);
        members
            .iter()
            .filter(|(key, _)| !matches!(*key, "code" | "data"))
            .for_each(|(key, value)| written.raw(key, value));
        written.object("data", |data| {
            data.integer("code", code);
            if let Some(own) = members.get("data") {
                data.raw("data", own);
            }
        });
    })
}

fn with_code(error: &Raw, code: i64) -> Raw {
    let members = error.object().unwrap_or_default();
    json::object(|written| {
        written.integer("code", code);
        members.iter().filter(|(key, _)| *key != "code").for_each(|(key, value)| written.raw(key, value));
    })
}
