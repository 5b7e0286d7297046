//! Reading messages: the boundary that everything untrusted passes.
//!
//! Invariant: a message that any rule speaks against is refused whole, with its id wherever that could be read.

use std::collections::HashSet;

use bytes::Bytes;

use super::{
    Incoming, Message, Notification, Params, Request, RequestId, Response,
    params::{check_keys, excerpt},
};
use crate::mcp::json::{self, Bounds, JsonError, Kind, Object, Raw};

/// Members of the envelope.
const RESERVED: &[&str] = &["jsonrpc", "id", "method", "params", "result", "error"];
/// The most messages of one batch.
const BATCH_MAX: usize = 64;

/// A body that is no acceptable message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct ReadError {
    /// The id of the message where it could be read: the answer has to carry it.
    pub id: Option<RequestId>,
    /// What is wrong.
    pub kind: ReadErrorKind,
}

/// What is wrong with a body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadErrorKind {
    /// It is no JSON document that everyone reads alike.
    #[error("{0}")]
    Json(#[from] JsonError),
    /// It is JSON, but neither an object nor an array.
    #[error("a message is an object")]
    NotAnObject,
    /// `jsonrpc` is not "2.0".
    #[error("`jsonrpc` must be \"2.0\"")]
    WrongVersion,
    /// The id is missing, null, too long or no integer within ±2^53.
    #[error("`id` must be a string of at most 256 bytes or an integer within ±2^53")]
    InvalidId,
    /// `method` is no string.
    #[error("`method` must be a string")]
    InvalidMethod,
    /// Neither a request nor a notification nor a response, or more than one of them.
    #[error("a message has either `method`, or `result`, or `error`")]
    AmbiguousShape,
    /// `error` is no object.
    #[error("`error` must be an object")]
    InvalidError,
    /// A member of the envelope that JSON-RPC does not know.
    #[error("unknown member `{}`", .0.escape_debug())]
    UnknownMember(Box<str>),
    /// A key that another reader might take for a reserved one.
    #[error("key `{}` of {place} could be read as another one", .key.escape_debug())]
    AmbiguousKey {
        /// The object that has it.
        place: &'static str,
        /// Its first 64 characters.
        key: Box<str>,
    },
    /// A batch that MCP does not allow, or that no one can answer unambiguously.
    #[error("a batch must not {0}")]
    InvalidBatch(&'static str),
    /// `params` is no object.
    #[error("`params` must be an object")]
    ParamsNotAnObject,
    /// A member of params has another type than every revision gives it.
    #[error("`params.{member}` must be {expected}")]
    WrongType {
        /// The member.
        member: &'static str,
        /// What it has to be.
        expected: &'static str,
    },
}

/// Reads what an agent has sent. Members of the envelope that JSON-RPC does not know are refused, as the servers of
/// the TypeScript SDK do, so no agent in the field sends any.
///
/// # Errors
/// Whatever the reader's rule forbids; the whole message is refused.
pub fn read(body: &Bytes, bounds: &Bounds) -> Result<Incoming, ReadError> {
    let document = json::parse(body, bounds).map_err(|error| ReadError { id: None, kind: error.into() })?;
    if let Some(elements) = document.array() {
        return read_batch(&elements).map(Incoming::Batch);
    }
    read_agents(&document).map(Incoming::Single)
}

/// One message of a document.
fn read_agents(document: &Raw) -> Result<Message, ReadError> {
    let envelope = read_envelope(document)?;
    let unknown = envelope.iter().map(|(key, _)| key).find(|key| !RESERVED.contains(key));
    if let Some(key) = unknown {
        let kind = ReadErrorKind::UnknownMember(excerpt(key));
        return Err(ReadError { id: envelope_id(&envelope), kind });
    }
    read_message(&envelope)
}

/// All messages of an array, or none: what is half readable is half understood (2025-03-26, basic, "Batching"). An
/// error names no id, since nobody asked under the batch's.
fn read_batch(elements: &[Raw]) -> Result<Vec<Message>, ReadError> {
    let invalid = |what| ReadError { id: None, kind: ReadErrorKind::InvalidBatch(what) };
    if elements.is_empty() {
        return Err(invalid("be empty"));
    }
    if elements.len() > BATCH_MAX {
        return Err(invalid("have more than 64 messages"));
    }
    let read = |element| read_agents(element).map_err(|error| ReadError { id: None, ..error });
    let messages = elements.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let responses = messages.iter().filter(|message| matches!(message, Message::Response(_))).count();
    if responses != 0 && responses != messages.len() {
        return Err(invalid("mix responses with other messages"));
    }
    let mut ids = HashSet::new();
    let is_new = |message: &Message| match message {
        Message::Request(Request { id, .. }) | Message::Response(Response { id: Some(id), .. }) => {
            ids.insert(id.clone())
        }
        Message::Notification(_) | Message::Response(Response { id: None, .. }) => true,
    };
    if messages.iter().all(is_new) { Ok(messages) } else { Err(invalid("use one id twice")) }
}

/// Reads what a server has sent. Members of the envelope that JSON-RPC does not know are left out of what is read.
///
/// # Errors
/// Whatever the reader's rule forbids, an array included; the whole message is refused.
pub fn read_upstream(body: &Bytes, bounds: &Bounds) -> Result<Message, ReadError> {
    let document = json::parse(body, bounds).map_err(|error| ReadError { id: None, kind: error.into() })?;
    read_message(&read_envelope(&document)?)
}

impl ReadError {
    /// The JSON-RPC code: -32700 for what is no JSON, -32602 for params, -32600 for the rest.
    #[must_use]
    pub fn code(&self) -> i64 {
        match &self.kind {
            ReadErrorKind::Json(_) => -32700,
            ReadErrorKind::WrongType { .. } => -32602,
            ReadErrorKind::AmbiguousKey { place, .. } if *place != "the message" => -32602,
            _ => -32600,
        }
    }
}

fn read_envelope(document: &Raw) -> Result<Object, ReadError> {
    let envelope = document.object().ok_or(ReadError { id: None, kind: ReadErrorKind::NotAnObject })?;
    match check_keys(&envelope, RESERVED, "the message") {
        Ok(()) => Ok(envelope),
        Err(kind) => Err(ReadError { id: envelope_id(&envelope), kind }),
    }
}

fn envelope_id(envelope: &Object) -> Option<RequestId> {
    envelope.get("id").and_then(RequestId::read)
}

fn read_message(envelope: &Object) -> Result<Message, ReadError> {
    let id = envelope_id(envelope);
    read_shape(envelope, id.clone()).map_err(|kind| ReadError { id, kind })
}

fn read_shape(envelope: &Object, id: Option<RequestId>) -> Result<Message, ReadErrorKind> {
    if envelope.get("jsonrpc").and_then(Raw::as_str).as_deref() != Some("2.0") {
        return Err(ReadErrorKind::WrongVersion);
    }
    let written_id = envelope.get("id");
    match (envelope.get("method"), envelope.get("result"), envelope.get("error")) {
        (Some(method), None, None) => {
            let method = method.as_str().ok_or(ReadErrorKind::InvalidMethod)?.into();
            if written_id.is_some() && id.is_none() {
                return Err(ReadErrorKind::InvalidId);
            }
            let params = envelope.get("params").map(Params::read).transpose()?.unwrap_or_default();
            Ok(match id {
                Some(id) => Message::Request(Request { id, method, params }),
                None => Message::Notification(Notification { method, params }),
            })
        }
        (None, result, error) if envelope.get("params").is_none() => {
            let outcome = match (result, error) {
                (Some(result), None) => Ok(result.clone()),
                (None, Some(error)) if error.kind() == Kind::Object => Err(error.clone()),
                (None, Some(_)) => return Err(ReadErrorKind::InvalidError),
                _ => return Err(ReadErrorKind::AmbiguousShape),
            };
            let without_id = written_id.is_none_or(|raw| raw.kind() == Kind::Null);
            if id.is_none() && (outcome.is_ok() || !without_id) {
                return Err(ReadErrorKind::InvalidId);
            }
            Ok(Message::Response(Response { id, outcome }))
        }
        _ => Err(ReadErrorKind::AmbiguousShape),
    }
}
