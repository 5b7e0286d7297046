//! A session as data planes tell of it.
//!
//! Invariant: whatever a data plane says can be shown: what cannot be read is no session.

use chrono::{DateTime, Utc};
use serde::Serialize;
use tollgate_proto::{AgentId, IdError, InstanceId, ServerId, SessionHandle, UserId, policy::v1 as wire};
use utoipa::ToSchema;

/// A session, without what it is used with.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Session {
    /// Leads to the session, and cannot be used in its place.
    #[schema(value_type = String, example = "ses_01k5z7v9k3f0q8r2m4n6p8s0t2")]
    pub id: SessionHandle,
    /// Who opened it.
    pub kind: SessionKind,
    /// The agent's id.
    #[schema(value_type = String, example = "agt_01k5z7v9k3f0q8r2m4n6p8s0t2")]
    pub agent_id: AgentId,
    /// The agent's name; null when it is gone.
    #[schema(example = "ci-bot")]
    pub agent: Option<String>,
    /// The user that the agent acts for; null when it acts for itself.
    #[schema(value_type = Option<String>)]
    pub user_id: Option<UserId>,
    /// The user's e-mail address.
    pub user: Option<String>,
    /// Where the agent opened it; null for one that Tollgate opened.
    pub endpoint: Option<Endpoint>,
    /// The revision of MCP that it is held in.
    #[schema(example = "2025-11-25")]
    pub protocol_version: String,
    /// What the client said that it is; null when it did not.
    pub client: Option<Client>,
    /// When it was opened.
    pub created_at: DateTime<Utc>,
    /// When it was last used.
    pub last_used_at: DateTime<Utc>,
    /// When it ends unless it is used again.
    pub expires_at: DateTime<Utc>,
    /// Its upstream ends. Servers of the modern era keep no sessions and are not among them.
    pub legs: Vec<Leg>,
    /// How many more legs there are.
    pub legs_omitted: u32,
}

/// Who opened a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionKind {
    /// An agent of the legacy era, with `initialize`.
    Agent,
    /// Tollgate at a legacy server, for an agent of the modern era.
    Upstream,
}

/// The endpoint where a session was opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Endpoint {
    /// Its URL.
    pub url: String,
    /// What it leads to.
    pub kind: EndpointKind,
    /// The server or toolset that it leads to.
    pub name: Option<String>,
}

/// What an endpoint leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndpointKind {
    /// Everything that the agent may use.
    Federated,
    /// One server.
    Server,
    /// The tools of a toolset.
    Toolset,
}

/// What a client said that it is; nobody has verified it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Client {
    /// Its name.
    pub name: String,
    /// Its version; empty when it did not say.
    pub version: String,
}

/// The upstream end of a session.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Leg {
    /// The server's name; null when it is gone.
    pub server: Option<String>,
    /// The server's id.
    #[schema(value_type = String)]
    pub server_id: ServerId,
    /// The instance that it is pinned to.
    #[schema(value_type = String)]
    pub instance_id: InstanceId,
    /// `legacy` or `modern`.
    pub era: &'static str,
    /// The revision of MCP that the server chose.
    pub protocol_version: String,
    /// What there is at the server.
    pub state: LegState,
}

/// What there is at the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LegState {
    /// A session of its own.
    Open,
    /// Nothing: it was initialized, and keeps no sessions.
    Stateless,
    /// Nothing that can be reached: the server or the instance is not registered any more.
    Gone,
}

impl Session {
    /// The agent's name, or else its id.
    #[must_use]
    pub fn shown_agent(&self) -> &str {
        self.agent.as_deref().unwrap_or("an agent that is gone")
    }

    /// Where it was opened, in a word or two.
    #[must_use]
    pub fn shown_endpoint(&self) -> String {
        match &self.endpoint {
            None => "Tollgate's own".to_owned(),
            Some(Endpoint { kind: EndpointKind::Federated, .. }) => "all servers".to_owned(),
            Some(Endpoint { kind: EndpointKind::Server, name, .. }) => name.clone().unwrap_or_default(),
            Some(Endpoint { kind: EndpointKind::Toolset, name, .. }) => {
                format!("toolset {}", name.as_deref().unwrap_or_default())
            }
        }
    }
}

impl LegState {
    /// As people see it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Stateless => "stateless",
            Self::Gone => "gone",
        }
    }
}

impl Endpoint {
    /// What the end of an endpoint's path says: `/t/{tenant}/mcp`, or `/t/{tenant}/mcp/{server}`, or
    /// `/t/{tenant}/toolsets/{toolset}`.
    fn of(url: &str) -> Self {
        let from_the_end: Vec<&str> = url.rsplit('/').take(4).collect();
        let (kind, name) = match from_the_end[..] {
            [server, "mcp", _, "t"] => (EndpointKind::Server, Some(server.to_owned())),
            [toolset, "toolsets", _, "t"] => (EndpointKind::Toolset, Some(toolset.to_owned())),
            _ => (EndpointKind::Federated, None),
        };
        Self { url: url.to_owned(), kind, name }
    }
}

impl TryFrom<&wire::Session> for Session {
    type Error = IdError;

    fn try_from(said: &wire::Session) -> Result<Self, IdError> {
        let at = |ms| DateTime::from_timestamp_millis(ms).unwrap_or_default();
        let client = Client { name: said.client_name.clone(), version: said.client_version.clone() };
        Ok(Self {
            id: said.handle.parse()?,
            kind: match said.kind() {
                wire::SessionKind::Upstream => SessionKind::Upstream,
                wire::SessionKind::Agent | wire::SessionKind::Unspecified => SessionKind::Agent,
            },
            agent_id: said.agent_id.parse()?,
            agent: named(&said.agent),
            user_id: named(&said.user_id).map(|id| id.parse()).transpose()?,
            user: named(&said.user),
            endpoint: named(&said.endpoint).map(|url| Endpoint::of(&url)),
            protocol_version: said.protocol_version.clone(),
            client: Some(client).filter(|client| !client.name.is_empty()),
            created_at: at(said.created_at_ms),
            last_used_at: at(said.last_used_at_ms),
            expires_at: at(said.expires_at_ms),
            legs: said.legs.iter().map(Leg::try_from).collect::<Result<_, _>>()?,
            legs_omitted: said.legs_omitted,
        })
    }
}

impl TryFrom<&wire::SessionLeg> for Leg {
    type Error = IdError;

    fn try_from(said: &wire::SessionLeg) -> Result<Self, IdError> {
        Ok(Self {
            server: named(&said.server),
            server_id: said.server_id.parse()?,
            instance_id: said.instance_id.parse()?,
            era: if said.era() == wire::Era::Modern { "modern" } else { "legacy" },
            protocol_version: said.protocol_version.clone(),
            state: match said.state() {
                wire::LegState::Open => LegState::Open,
                wire::LegState::Stateless => LegState::Stateless,
                wire::LegState::Gone | wire::LegState::Unspecified => LegState::Gone,
            },
        })
    }
}

fn named(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
