//! A client: an agent as the authorization server knows it.
//!
//! Invariant: a client is found in the tenant of the transaction or not at all, whatever its `client_id` says.

use serde_json::Value;
use tollgate_proto::{AgentId, TeamId};

use super::{redirect_uri::RedirectUri, sql};
use crate::{
    agents::{AgentState, AgentType, AuthMethod, Introspection, Origin, SigningAlg},
    db::TenantTx,
};

/// `client_credentials` (RFC 6749 section 4.4).
pub(super) const CLIENT_CREDENTIALS: &str = "client_credentials";

/// An OAuth client.
#[derive(Debug, Clone)]
pub struct Client {
    /// The agent that it is.
    pub agent: AgentId,
    /// Its `client_id`: `agt_…`, or the URL of its metadata document.
    pub client_id: String,
    /// The agent's name.
    pub name: String,
    /// What people are shown; empty when it says nothing, and never to be trusted unless an admin made it.
    pub display_name: String,
    /// The team that it belongs to.
    pub team: TeamId,
    /// How it came here.
    pub origin: Origin,
    /// On whose behalf it acts.
    pub agent_type: AgentType,
    /// Whether it may act at all.
    pub state: AgentState,
    /// How it proves who it is.
    pub auth_method: AuthMethod,
    /// The one algorithm of its assertions; any that the server takes when none.
    pub signing_alg: Option<SigningAlg>,
    /// What its assertions are verified with.
    pub keys: Keys,
    /// Where its users come back to.
    pub redirect_uris: Vec<RedirectUri>,
    /// What it may ask for at the token endpoint (RFC 7591 section 2).
    pub grant_types: Vec<String>,
    /// Which access tokens of others an admin lets it introspect.
    pub introspects: Introspection,
    /// Unix seconds: its tokens from before are void.
    pub tokens_valid_from: i64,
    /// SHA-256 of what identifies it to a user who consents; empty when it was made before there was any.
    pub metadata_digest: Vec<u8>,
}

/// Where a client's public keys are (RFC 7591 section 2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keys {
    /// It has none.
    None,
    /// A JWK Set.
    Inline(Value),
    /// The URL of one.
    At(String),
}

impl Client {
    /// Whether it is neither suspended nor waiting for approval.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.state == AgentState::Active
    }

    /// Whether it cannot prove who it is.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.auth_method == AuthMethod::None
    }

    /// Whether it may use this grant type.
    #[must_use]
    pub fn may_use(&self, grant_type: &str) -> bool {
        self.grant_types.iter().any(|allowed| allowed == grant_type)
    }

    /// The registered redirect URI that a request which names `requested` means; the only one where it names none.
    #[must_use]
    pub fn redirect_uri(&self, requested: Option<&str>) -> Option<&RedirectUri> {
        match (requested, self.redirect_uris.as_slice()) {
            (Some(requested), all) => all.iter().find(|registered| registered.matches(requested)),
            (None, [only]) => Some(only),
            (None, _) => None,
        }
    }

    /// What people are shown: its display name, or else its name.
    #[must_use]
    pub fn shown_name(&self) -> &str {
        if self.display_name.is_empty() { &self.name } else { &self.display_name }
    }
}

/// What a `client_id` can name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ClientId {
    /// An agent by its id.
    Agent(AgentId),
    /// An agent by the URL of its metadata document, as it was written.
    Document(String),
    /// Nothing: the text is neither.
    Nobody,
}

impl ClientId {
    /// Reads any text.
    pub(super) fn of(text: &str) -> Self {
        match text.parse() {
            Ok(agent) => Self::Agent(agent),
            Err(_) if text.starts_with("https://") && !text.contains('\0') => Self::Document(text.to_owned()),
            Err(_) => Self::Nobody,
        }
    }
}

/// The client with this `client_id`, in whatever state.
///
/// # Errors
/// When Postgres is away.
pub async fn find(tx: &mut TenantTx, client_id: &str) -> Result<Option<Client>, sqlx::Error> {
    let found = sql::standing(tx, &ClientId::of(client_id), None, None).await?;
    Ok(found.map(|standing| standing.client))
}
