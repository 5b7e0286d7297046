//! What travels through the agent between an `input_required` result and its retry, before it is sealed.
//!
//! Invariant: it holds all that any data plane needs to go on with the call, and of its content only what the agent
//! that carries it was shown.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tollgate_proto::ServerId;
use uuid::Uuid;

use super::question::{Kind, Pending};
use crate::{
    mcp::{
        json::{self, Bounds},
        message::RequestId,
    },
    store::Leg,
};

/// A longer question is put once only: a state has to fit into a request.
const REQUEST_BYTES_MAX: usize = 64 * 1024;

/// Where the call stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Of which server.
    pub server: ServerId,
    /// SHA-256 over what identifies the call among its retries.
    pub call: [u8; 32],
    /// The id of its first round, as usage names it; `None`: sealed by a data plane that did not say.
    #[serde(default)]
    pub root: Option<Uuid>,
    /// The name under which data planes know the waiting call: its mailbox.
    pub waiting: [u8; 16],
    /// Which round of questions this is: each is answered once.
    pub round: u32,
    /// What was asked.
    pub questions: Vec<Question>,
    /// Where the call waits; `None`: nowhere, it is sent again.
    pub parked: Option<Parked>,
}

/// A question as the state keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Its key in `inputRequests`.
    pub key: Box<str>,
    /// The server's id of it.
    pub id: Option<Id>,
    /// What it takes.
    pub kind: Kind,
    /// `{method, params}`, to put it once more; empty when it is too long to travel.
    pub request: String,
}

/// A request id with its JSON type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Id {
    /// An integer.
    Integer(i64),
    /// A string.
    Text(Box<str>),
}

/// A call that waits at its server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    /// The mailbox of the data plane that reads its stream.
    pub holder: [u8; 16],
    /// The upstream session, and the instance that has it.
    pub leg: Leg,
    /// The server's id of the call.
    pub upstream_id: Box<str>,
    /// How far its mailbox was read.
    pub read_to: u64,
    /// The last event of its stream, where the server numbers them.
    pub last_event: Option<Box<str>>,
}

impl State {
    /// As it is sealed.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a state has nothing that JSON cannot hold")
    }

    /// What was sealed.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

impl From<&Pending> for Question {
    fn from(pending: &Pending) -> Self {
        let request = pending.request.as_bytes();
        let request = if request.len() > REQUEST_BYTES_MAX { &[] } else { request };
        Self {
            key: pending.key.clone(),
            id: pending.id.clone().map(Id::from),
            kind: pending.kind,
            request: String::from_utf8_lossy(request).into_owned(),
        }
    }
}

impl Question {
    /// The question, to be put once more; `None` when it did not travel.
    #[must_use]
    pub fn again(&self) -> Option<Pending> {
        let request = json::parse(&Bytes::copy_from_slice(self.request.as_bytes()), &Bounds::UPSTREAM).ok()?;
        let id = self.id.clone().map(RequestId::from);
        Some(Pending { key: self.key.clone(), id, kind: self.kind, request })
    }
}

impl From<RequestId> for Id {
    fn from(id: RequestId) -> Self {
        match id {
            RequestId::Integer(number) => Self::Integer(number),
            RequestId::Text(text) => Self::Text(text),
        }
    }
}

impl From<Id> for RequestId {
    fn from(id: Id) -> Self {
        match id {
            Id::Integer(number) => Self::Integer(number),
            Id::Text(text) => Self::Text(text),
        }
    }
}
