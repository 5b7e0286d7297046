//! A modern server's result or error as a legacy agent gets it.
//!
//! Invariant: no error code goes out whose meaning only the modern era knows, and what a tool could not do for want of
//! a capability is told as the tool's own failure, so that a model reads it.

use super::question::{self, InputRequired};
use crate::mcp::{
    json::{self, Kind, Object, ObjectWriter, Raw},
    method::{Carries, ListKind, Method},
};

/// JSON-RPC: the method is not there.
pub const METHOD_NOT_FOUND: i64 = -32601;
/// JSON-RPC: the params are not good.
pub const INVALID_PARAMS: i64 = -32602;
/// JSON-RPC: something failed here.
pub const INTERNAL_ERROR: i64 = -32603;
/// The legacy era's "resource not found".
const RESOURCE_NOT_FOUND: i64 = -32002;
/// The modern era's "missing required client capability".
const MISSING_CAPABILITY: i64 = -32021;
/// What the modern era keeps for itself.
const RESERVED: std::ops::RangeInclusive<i64> = -32099..=-32020;
/// Keys of a result's `_meta` that only the modern era knows.
const MODERN_META: [&str; 2] = ["io.modelcontextprotocol/serverInfo", "io.modelcontextprotocol/subscriptionId"];

/// What becomes of a response.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The agent gets this result, or this error.
    Answer(Result<Raw, Raw>),
    /// The server wants something first.
    Input(InputRequired),
}

/// A response to `method`.
///
/// # Errors
/// What is wrong with it, when it is none that this method may have.
pub fn read(method: Method, outcome: &Result<Raw, Raw>) -> Result<Outcome, &'static str> {
    match outcome {
        Err(error) => Ok(Outcome::Answer(self::error(method, error))),
        Ok(result) => {
            let members = result.object().ok_or("a result that is no object")?;
            let kind = members.get("resultType").map(|kind| kind.as_str().ok_or("a result type that is no text"));
            match kind.transpose()?.as_deref() {
                None | Some("complete") => Ok(Outcome::Answer(Ok(complete(method, &members)))),
                Some("input_required") if question::can_ask(method) => question::read(&members).map(Outcome::Input),
                Some("input_required") => Err("questions in answer to a method that allows none"),
                Some(_) => Err("a result of a type that was not asked for"),
            }
        }
    }
}

/// What a call ends with that needs more of the client than it can do: `needed` says what.
pub fn incapable(method: Method, needed: &str) -> Result<Raw, Raw> {
    let text = format!("the server needs a client that can do {needed}, and this one cannot");
    if method == Method::ToolsCall {
        return Ok(json::object(|result| {
            result.array("content", |content| {
                content.object(|block| {
                    block.text("type", "text");
                    block.text("text", &text);
                });
            });
            result.boolean("isError", true);
        }));
    }
    Err(error_of(INVALID_PARAMS, &text))
}

/// A tool of a list. Until 2025-11-25 its output schema is that of an object; without one, nothing is promised.
#[must_use]
pub fn tool(tool: Raw) -> Raw {
    match tool.object() {
        Some(members) if members.get("outputSchema").is_some_and(|schema| !is_of_objects(schema)) => {
            json::object(|tool| {
                let kept = members.iter().filter(|(key, _)| *key != "outputSchema");
                kept.for_each(|(key, value)| tool.raw(key, value));
            })
        }
        _ => tool,
    }
}

/// An error object.
#[must_use]
pub fn error_of(code: i64, message: &str) -> Raw {
    json::object(|error| {
        error.integer("code", code);
        error.text("message", message);
    })
}

fn complete(method: Method, members: &Object) -> Raw {
    let cacheable = matches!(method.carries(), Carries::List(_)) || method == Method::ResourcesRead;
    json::object(|result| {
        for (key, value) in members.iter() {
            match key {
                "resultType" => {}
                "ttlMs" | "cacheScope" if cacheable => {}
                "_meta" => write_meta(result, value),
                "tools" if method.carries() == Carries::List(ListKind::Tools) => write_tools(result, value),
                // Until 2025-11-25 structured content is an object; the same is in the text beside it.
                "structuredContent" if method == Method::ToolsCall && value.kind() != Kind::Object => {}
                _ => result.raw(key, value),
            }
        }
    })
}

fn write_meta(result: &mut ObjectWriter<'_>, meta: &Raw) {
    let members = meta.object().unwrap_or_default();
    let kept: Vec<_> = members.iter().filter(|(key, _)| !MODERN_META.contains(key)).collect();
    if !kept.is_empty() {
        result.object("_meta", |meta| kept.iter().for_each(|(key, value)| meta.raw(key, value)));
    }
}

fn write_tools(result: &mut ObjectWriter<'_>, tools: &Raw) {
    let Some(tools) = tools.array() else { return result.raw("tools", tools) };
    result.array("tools", |written| {
        for tool in tools {
            written.raw(&self::tool(tool));
        }
    });
}

fn is_of_objects(schema: &Raw) -> bool {
    schema.object().is_some_and(|schema| schema.get("type").and_then(Raw::as_str).as_deref() == Some("object"))
}

fn error(method: Method, error: &Raw) -> Result<Raw, Raw> {
    let members = error.object().unwrap_or_default();
    let data = members.get("data").and_then(Raw::object);
    match members.get("code").and_then(Raw::as_i64) {
        Some(MISSING_CAPABILITY) => incapable(method, &needed(data.as_ref())),
        Some(code) if RESERVED.contains(&code) => Err(demoted(&members, code)),
        Some(INVALID_PARAMS)
            if method == Method::ResourcesRead && data.is_some_and(|data| data.get("uri").is_some()) =>
        {
            Err(json::object(|error| {
                error.integer("code", RESOURCE_NOT_FOUND);
                members.iter().filter(|(key, _)| *key != "code").for_each(|(key, value)| error.raw(key, value));
            }))
        }
        _ => Err(error.clone()),
    }
}

/// The names of the capabilities that are missing, as `elicitation.url`.
fn needed(data: Option<&Object>) -> String {
    let required = data.and_then(|data| data.get("requiredCapabilities")?.object()).unwrap_or_default();
    let mut names = Vec::new();
    for (key, value) in required.iter() {
        let members = value.object().unwrap_or_default();
        if members.is_empty() {
            names.push(key.to_owned());
        }
        names.extend(members.iter().map(|(member, _)| format!("{key}.{member}")));
    }
    if names.is_empty() { "more".to_owned() } else { names.join(" and ") }
}

/// The error under a code that every client understands; its own goes into `data`.
fn demoted(members: &Object, code: i64) -> Raw {
    json::object(|error| {
        error.integer("code", INTERNAL_ERROR);
        let kept = members.iter().filter(|(key, _)| !matches!(*key, "code" | "data"));
        kept.for_each(|(key, value)| error.raw(key, value));
        error.object("data", |data| {
            data.integer("code", code);
            if let Some(own) = members.get("data") {
                data.raw("data", own);
            }
        });
    })
}
