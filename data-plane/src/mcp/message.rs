//! Messages of JSON-RPC 2.0 as MCP uses it: read strictly, written anew.
//!
//! Owns the envelope. A message is read once into what is in it; whoever decides about a call decides on that, and
//! what is sent onward is written from that.
//!
//! Invariant: a reader elsewhere that reads the bytes written here reads what was read here, except for the
//! [`Edit`]: no key was there twice, none looks like a reserved one, and nothing that was not read is written.

mod params;
mod read;
mod write;

#[cfg(test)]
mod tests;

use std::fmt;

use super::json::Raw;

pub use params::{
    META_CLIENT_CAPABILITIES, META_CLIENT_INFO, META_LOG_LEVEL, META_PROTOCOL_VERSION, Params, Reference,
};
pub use read::{ReadError, ReadErrorKind, read, read_upstream};
pub use write::{Change, Edit, MetaValue, write_error, write_notice, write_notification, write_request, write_result};

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Asks for an answer.
    Request(Request),
    /// Asks for none.
    Notification(Notification),
    /// Is an answer.
    Response(Response),
}

/// What the body of a request holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// One message.
    Single(Message),
    /// Several messages in an array: requests and notifications, or responses. One revision knows that; whether the
    /// body came in it is for others to say.
    Batch(Vec<Message>),
}

/// A message that asks for an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What the answer will be known by.
    pub id: RequestId,
    /// The method as it was written; only [`Method::parse_in`](super::method::Method::parse_in) says what it is.
    pub method: Box<str>,
    /// The params; [`Params::default`] when there are none.
    pub params: Params,
}

/// A message that asks for no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The method as it was written.
    pub method: Box<str>,
    /// The params; [`Params::default`] when there are none.
    pub params: Params,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The request's id; only an error may have none.
    pub id: Option<RequestId>,
    /// The `result`, or the `error`, which is an object.
    pub outcome: Result<Raw, Raw>,
}

/// The id of a request, with its JSON type: `1` and `"1"` are two ids.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RequestId {
    /// An integer within ±2^53, where every JSON reader agrees on the value.
    Integer(i64),
    /// A string of at most [`RequestId::TEXT_BYTES_MAX`] bytes.
    Text(Box<str>),
}

impl RequestId {
    /// The longest string that is taken for an id, in bytes of UTF-8.
    pub const TEXT_BYTES_MAX: usize = 256;

    /// The largest absolute value of an integer that is taken for an id.
    pub const INTEGER_MAX: i64 = 1 << 53;

    /// Reads an id. `1.0`, `1e0` and `-0` are none: readers disagree about whether these are integers.
    #[must_use]
    pub fn read(raw: &Raw) -> Option<Self> {
        if let Some(text) = raw.as_str() {
            return (text.len() <= Self::TEXT_BYTES_MAX).then(|| Self::Text(text.into()));
        }
        let in_range = |value: &i64| (-Self::INTEGER_MAX..=Self::INTEGER_MAX).contains(value);
        raw.as_i64().filter(in_range).filter(|_| raw.as_bytes() != b"-0").map(Self::Integer)
    }

    /// The id as JSON.
    #[must_use]
    pub fn to_raw(&self) -> Raw {
        match self {
            Self::Integer(value) => Raw::integer(*value),
            Self::Text(text) => Raw::text(text),
        }
    }
}

impl fmt::Display for RequestId {
    /// As JSON, so that the type shows.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(value) => value.fmt(f),
            Self::Text(text) => fmt::Debug::fmt(text, f),
        }
    }
}

impl Response {
    /// The `code` of an error, where it is an integer.
    #[must_use]
    pub fn error_code(&self) -> Option<i64> {
        self.outcome.as_ref().err()?.object()?.get("code")?.as_i64()
    }
}
