//! A legacy MCP session as the gateway holds it (MCP 2025-11-25, basic/transports, "Session Management").
//!
//! Invariant: the id is ours, never a server's, and it proves nothing by itself: a session is looked up by owner
//! and id together, so that a stolen id is of no use to another agent.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use aws_lc_rs::rand;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use tollgate_proto::{AgentId, InstanceId, ServerId, TenantId, UserId};

use super::StoreError;

const ID_BYTES: usize = 32;

/// Whose session or counter it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The tenant; all its keys share one slot of a Redis Cluster.
    pub tenant: TenantId,
    /// The agent.
    pub agent: AgentId,
    /// The user that the agent acts for: nobody else's session is found through the same agent.
    pub user: Option<UserId>,
}

/// The value of `Mcp-Session-Id`: 32 random bytes, shown as 43 characters of base64url.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionId([u8; ID_BYTES]);

/// A text that is no session id of ours: treat it as an unknown session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a session id: expected 32 bytes in unpadded base64url")]
pub struct SessionIdError;

impl SessionId {
    /// A new id that cannot be guessed.
    ///
    /// # Errors
    /// [`StoreError::Random`] when the system's random generator fails.
    pub fn generate() -> Result<Self, StoreError> {
        let mut bytes = [0; ID_BYTES];
        rand::fill(&mut bytes).map_err(|_| StoreError::Random)?;
        Ok(Self(bytes))
    }
}

impl FromStr for SessionId {
    type Err = SessionIdError;

    fn from_str(text: &str) -> Result<Self, SessionIdError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| SessionIdError)?;
        bytes.try_into().map(Self).map_err(|_| SessionIdError)
    }
}

impl TryFrom<String> for SessionId {
    type Error = SessionIdError;

    fn try_from(text: String) -> Result<Self, SessionIdError> {
        text.parse()
    }
}

impl From<SessionId> for String {
    fn from(id: SessionId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(…)")
    }
}

/// What the gateway knows of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Who opened it; nobody else finds it.
    pub owner: Owner,
    /// URL of the protected resource where it was opened.
    pub endpoint: String,
    /// Protocol version that was negotiated with the agent.
    pub protocol_version: String,
    /// `params` of the agent's `initialize` request, as JSON text; replayed to servers that are met later.
    pub initialize_params: Vec<u8>,
    /// One upstream session per server that the session has reached.
    pub legs: BTreeMap<ServerId, Leg>,
    /// The least severe log message that the agent asked for, for servers that are told so with every request.
    pub log_level: Option<String>,
    /// The resources that it has subscribed to at servers that hold no subscriptions themselves.
    pub subscriptions: BTreeSet<Subscription>,
    /// When it was opened, in milliseconds since the Unix epoch on the data plane's clock. For people: expiry goes
    /// by the store's own clock.
    pub created_at_ms: u64,
}

/// A resource whose changes the agent wants to hear of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subscription {
    /// The server that has the resource.
    pub server: ServerId,
    /// The resource's URI, as the server knows it.
    pub uri: String,
}

/// What became of a wish to subscribe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subscribed {
    /// It is kept, or was already.
    Kept,
    /// The session has [`SUBSCRIPTIONS_MAX`](super::SUBSCRIPTIONS_MAX) others.
    Full,
    /// The owner has no such session (any more).
    NoSession,
}

/// The upstream end of a session, pinned to one instance.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leg {
    /// The instance that holds the upstream session.
    pub instance: InstanceId,
    /// Its `Mcp-Session-Id`; `None` when the server keeps no sessions.
    pub upstream_session: Option<String>,
    /// Protocol version that was negotiated with the server.
    pub protocol_version: String,
}

impl fmt::Debug for Leg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leg")
            .field("instance", &self.instance)
            .field("upstream_session", &self.upstream_session.as_ref().map(|_| "…"))
            .field("protocol_version", &self.protocol_version)
            .finish()
    }
}
