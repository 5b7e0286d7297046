//! Agents: OAuth clients that call tools.
//!
//! Invariant: whether an agent is active is the server's to say, in `agents/standing.rs`; no spec suspends or activates.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tollgate_proto::{AgentId, Name, TeamId};
use url::Url;
use utoipa::ToSchema;

use crate::{
    app::App,
    caller::{Caller, Role},
    db::TenantTx,
    error::{ApiError, Faults},
    oauth::{client_metadata::shown_name, redirect_uri::RedirectUri},
    page::Page,
    resource::{Content, Draft, Kind, Object, Removable, Row, Version, Which},
    revocations::{self, Revoked},
    teams, tenants,
};

pub mod api;
mod client_profile;
pub mod credentials;
mod introspection;
mod sql;
pub mod standing;
#[cfg(test)]
mod tests;

pub use introspection::Introspection;
pub use standing::{approve, awaiting_decision, count_awaiting_decision, revoke, set_state};

use client_profile::ClientProfile;

/// An agent as the API shows it.
pub type Agent = Object<AgentSpec>;
/// One page of agents.
pub type AgentPage = Page<Agent>;
/// The body that creates an agent.
pub type NewAgent = Draft<AgentSpec>;
/// The body that replaces an agent.
pub type AgentContent = Content<AgentSpec>;

/// What a client says about an agent.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentSpec {
    /// The name of the team that owns it.
    #[schema(value_type = String)]
    pub team: Name,
    /// On whose behalf it acts.
    pub r#type: AgentType,
    /// What people are shown who are asked to allow it something; its name unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Where users come back to: at least one for an interactive agent, none for an autonomous one. Compared exactly,
    /// but for the port of `127.0.0.1`, `[::1]` and `localhost`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 10, example = json!(["https://client.example/callback"]))]
    pub redirect_uris: Option<Vec<String>>,
    /// How it proves who it is at the token endpoint; `client_secret_basic` unless told. `none` is for interactive
    /// agents on users' devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_method: Option<AuthMethod>,
    /// Its public keys as a JWK Set (RFC 7517), for `private_key_jwt`: P-256, Ed25519, or RSA from 2048 bits on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub jwks: Option<Value>,
    /// Where its public keys are, instead of `jwks`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "https://client.example/jwks.json")]
    pub jwks_uri: Option<String>,
    /// The one algorithm of its assertions; any of them unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signing_alg: Option<SigningAlg>,
    /// For an autonomous agent: of the grants to its team or to a role, those that name no single tool, prompt, resource or
    /// toolset (`server:*`, `server:get_*`, `server:@read`) give it nothing; only grants to the agent itself may be so wide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact_tools: Option<bool>,
    /// Which access tokens of others it may introspect beside its own: those for the MCP endpoints that are listed here,
    /// or for all of them (`true`); none unless told. Takes an admin to allow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub introspect: Option<Introspection>,
}

/// On whose behalf an agent acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum AgentType {
    /// Its own.
    Autonomous,
    /// A user's.
    Interactive,
}

/// How an agent proves who it is (RFC 6749 section 2.3, RFC 7523).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum AuthMethod {
    /// Id and secret as HTTP Basic.
    ClientSecretBasic,
    /// Id and secret in the form.
    ClientSecretPost,
    /// A signed assertion.
    PrivateKeyJwt,
    /// Not at all: a public client, on a user's device.
    None,
}

/// How an agent came to the tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Origin {
    /// Somebody of the tenant made it.
    Admin,
    /// It is known by the URL of its metadata document.
    ClientDocument,
    /// It registered itself (RFC 7591).
    Registration,
}

/// An algorithm of client assertions (RFC 7518 section 3.1, RFC 8037 section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[sqlx(type_name = "text")]
pub enum SigningAlg {
    /// ECDSA on P-256.
    #[serde(rename = "ES256")]
    #[sqlx(rename = "ES256")]
    Es256,
    /// RSA with PKCS #1 v1.5 padding.
    #[serde(rename = "RS256")]
    #[sqlx(rename = "RS256")]
    Rs256,
    /// RSA with PSS padding.
    #[serde(rename = "PS256")]
    #[sqlx(rename = "PS256")]
    Ps256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    #[sqlx(rename = "EdDSA")]
    EdDsa,
}

/// Whether an agent may do anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum AgentState {
    /// It may do what its grants allow.
    Active,
    /// It gets no token, and its calls are refused.
    Suspended,
    /// It registered itself, and somebody of the tenant has to approve it first.
    Waiting,
}

/// What the server says about an agent.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AgentStatus {
    /// Its OAuth `client_id`: its id, or the URL of its metadata document.
    #[schema(example = "agt_01kt6rs5a8f4b8v6x1d3h7j9kq")]
    pub client_id: String,
    /// Whether it may do anything.
    pub state: AgentState,
    /// How it came to the tenant.
    pub origin: Origin,
    /// What it says about itself, when it registered itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registered_as: Option<RegisteredAs>,
    /// How many secrets it has in force.
    pub credentials: i64,
    /// What applies where the spec is silent.
    pub effective: EffectiveAgent,
}

/// What an agent that registered itself says about itself. Nobody has checked it, but for the host of a document.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RegisteredAs {
    /// What it calls itself, without characters that cannot be seen; empty when it does not say.
    pub client_name: String,
    /// The host of its metadata document, which is where it comes from; null when it has none.
    pub document_host: Option<String>,
    /// Where its users are sent to: hosts, or schemes of apps.
    pub redirect_hosts: Vec<String>,
    /// Whether a grant to it or to its team lets it do anything.
    pub granted: bool,
}

/// What applies where an agent's spec is silent.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct EffectiveAgent {
    /// How it proves who it is.
    pub auth_method: AuthMethod,
    /// Whether it is held to exact tools.
    pub exact_tools: bool,
}

/// What an agent's spec means.
#[derive(Debug)]
pub struct Meaning {
    team: TeamId,
    /// Absent for an agent that registered itself: what it is as a client, it says itself.
    client: Option<ClientProfile>,
}

/// What the status of an agent needs beside its spec.
#[derive(Debug, Deserialize)]
struct Facts {
    state: AgentState,
    credentials: i64,
    origin: Origin,
    document_url: Option<String>,
    display_name: String,
    redirect_uris: Vec<String>,
    granted: bool,
}

impl Facts {
    fn registered_as(&self) -> Option<RegisteredAs> {
        let host = |url: &String| Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
        let shown = |uri: &String| RedirectUri::accepted(uri.clone()).shown_host();
        (self.origin != Origin::Admin).then(|| RegisteredAs {
            client_name: shown_name(&self.display_name),
            document_host: self.document_url.as_ref().and_then(host),
            redirect_hosts: self.redirect_uris.iter().map(shown).collect::<BTreeSet<_>>().into_iter().collect(),
            granted: self.granted,
        })
    }
}

impl AgentStatus {
    /// Whether an operator has something to decide about it: it registered itself, and waits for approval or has no
    /// grant that lets it do anything.
    #[must_use]
    pub fn awaits_decision(&self) -> bool {
        let powerless = self.registered_as.as_ref().is_some_and(|registered| !registered.granted);
        self.state == AgentState::Waiting || (self.state == AgentState::Active && powerless)
    }
}

impl AgentSpec {
    fn auth_method(&self) -> AuthMethod {
        self.auth_method.unwrap_or(AuthMethod::ClientSecretBasic)
    }

    /// Whether it is held to exact tools.
    fn is_held(&self) -> bool {
        self.exact_tools.unwrap_or_default()
    }

    /// Whether it may introspect anything but its own.
    fn introspects(&self) -> bool {
        self.introspect.as_ref().is_some_and(Introspection::any)
    }

    /// Whether both say the same about the agent as a client.
    fn is_same_client(&self, other: &Self) -> bool {
        let said = |spec: &Self| {
            (
                (spec.r#type, spec.auth_method(), spec.signing_alg),
                (spec.display_name.clone(), spec.redirect_uris.clone()),
                (spec.jwks.clone(), spec.jwks_uri.clone()),
            )
        };
        said(self) == said(other)
    }
}

impl Kind for AgentSpec {
    const TITLE: &'static str = "Agent";
    const NOUN: &'static str = "agent";
    const COLLECTION: &'static str = "agents";

    type Id = AgentId;
    type Status = AgentStatus;
    type Meaning = Meaning;

    async fn select(tx: &mut TenantTx, which: Which<'_>) -> Result<Vec<Row>, sqlx::Error> {
        sql::select(tx, which).await
    }

    async fn interpret(
        &self,
        name: &Name,
        current: Option<&Self>,
        tx: &mut TenantTx,
        faults: &mut Faults,
    ) -> Result<Option<Meaning>, sqlx::Error> {
        let client = match current {
            Some(current) if sql::origin(tx, name).await? != Some(Origin::Admin) => {
                if !self.is_same_client(current) {
                    let why = "the agent registered itself: only its team, `exact_tools` and `introspect` can be changed here";
                    faults.add("/spec", "self_registered", why);
                }
                None
            }
            _ => {
                let schemes = tenants::registration_policy(tx).await?.private_use_schemes;
                Some(ClientProfile::read(self, &schemes.meaning(), faults))
            }
        };
        if let Some(introspection) = &self.introspect {
            introspection.check(faults);
        }
        if self.is_held() && self.r#type == AgentType::Interactive {
            let why = "an interactive agent does what its user allows: only an autonomous one is held to exact tools";
            faults.add("/spec/exact_tools", "interactive", why);
        }
        let team = teams::look_up(tx, &self.team, "/spec/team", faults).await?;
        Ok(team.map(|team| Meaning { team, client }))
    }

    fn permit(&self, caller: &Caller) -> Result<(), ApiError> {
        if self.introspects() { caller.require(Role::Admin) } else { Ok(()) }
    }

    async fn save(tx: &mut TenantTx, version: &Version<'_>, meaning: Meaning) -> Result<(), sqlx::Error> {
        sql::save(tx, version, &meaning).await
    }

    fn status(&self, row: &Row, _: &App, _: &Caller) -> Result<AgentStatus, ApiError> {
        let facts = Facts::deserialize(&row.facts).map_err(ApiError::internal)?;
        Ok(AgentStatus {
            client_id: facts.document_url.clone().unwrap_or_else(|| AgentId::from(row.id).to_string()),
            state: facts.state,
            origin: facts.origin,
            registered_as: facts.registered_as(),
            credentials: facts.credentials,
            effective: EffectiveAgent { auth_method: self.auth_method(), exact_tools: self.is_held() },
        })
    }
}

impl Removable for AgentSpec {
    async fn delete(tx: &mut TenantTx, id: AgentId, _: &str) -> Result<(), ApiError> {
        // Strangers may come and go without end: what never was given a token leaves nothing behind.
        if sql::may_have_tokens(tx, id).await? {
            revocations::revoke(tx, Revoked::Agent(id), "the agent was deleted").await?;
        }
        Ok(sql::delete(tx, id).await?)
    }
}

/// The id of the agent `name`; a fault at `pointer` when there is none.
///
/// # Errors
/// When Postgres is away.
pub async fn look_up(
    tx: &mut TenantTx,
    name: &Name,
    pointer: &str,
    faults: &mut Faults,
) -> Result<Option<AgentId>, sqlx::Error> {
    let id = sql::id(tx, name).await?;
    if id.is_none() {
        faults.add(pointer, "agent_unknown", format!("there is no agent `{name}`"));
    }
    Ok(id)
}
