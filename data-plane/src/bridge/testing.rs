//! Messages for tests, written as JSON and read as those of servers are.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::mcp::{
    json::{self, Bounds, Raw},
    message::{self, Message, Notification, Request},
};

/// A JSON text as a server may send it.
pub(in crate::bridge) fn raw(value: &Value) -> Raw {
    json::parse(&Bytes::from(value.to_string()), &Bounds::UPSTREAM).unwrap()
}

/// What JSON text says.
pub(in crate::bridge) fn value(bytes: impl AsRef<[u8]>) -> Value {
    serde_json::from_slice(bytes.as_ref()).unwrap()
}

/// A message of a server.
pub(in crate::bridge) fn message(value: &Value) -> Message {
    message::read_upstream(&Bytes::from(value.to_string()), &Bounds::UPSTREAM).unwrap()
}

/// A request of either side.
pub(in crate::bridge) fn request(method: &str, params: &Value) -> Request {
    match message(&json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params })) {
        Message::Request(request) => request,
        other => panic!("{other:?}"),
    }
}

/// A notification of either side.
pub(in crate::bridge) fn notification(method: &str, params: &Value) -> Notification {
    match message(&json!({ "jsonrpc": "2.0", "method": method, "params": params })) {
        Message::Notification(notification) => notification,
        other => panic!("{other:?}"),
    }
}
