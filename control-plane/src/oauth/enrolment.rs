//! How a client that registers itself becomes an agent, by either way: its row, its team, what a rule of the tenant
//! grants it, and the audit event.
//!
//! Invariant: what anyone can say about themselves gives no authority. A new agent has the grants that a rule of the
//! tenant's admin writes, else none, and it acts for itself only where the admin names the host of its document. One
//! that says something else later keeps only what it would be trusted with as it is now (`enrolment/trust.rs`).

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tollgate_proto::{AgentId, Name, Scope, TeamId};
use url::Url;

use super::{
    client_document::DocumentUrl,
    client_metadata::{ClientMetadata, shown_name},
    issuer::Issuer,
    redirect_uri::RedirectUri,
};
use crate::{
    agents::{self, AgentSpec, AgentState, AuthMethod},
    app::App,
    audit,
    caller::{Caller, Role},
    db::TenantTx,
    error::{ApiError, Faults},
    grants::{GrantSpec, GrantTarget, scopes::Missing},
    policy,
    resource::{self, Content, Kind as _},
    secret::Digest,
    teams::{self, TeamSpec},
    tenants::client_registration::{DynamicRegistration, Newcomer, RegistrationPolicy, Rule},
};

mod naming;
mod sql;
mod trust;

/// Who writes what a rule says.
const BY_RULE: &str = "system";

/// A client that wants to be an agent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Enrolment<'a> {
    /// Where.
    pub(super) issuer: &'a Issuer,
    /// What the tenant has set.
    pub(super) policy: &'a RegistrationPolicy,
    /// What it says about itself.
    pub(super) metadata: &'a ClientMetadata,
    /// How it comes.
    pub(super) origin: Origin<'a>,
}

/// How a client comes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin<'a> {
    /// By its metadata document.
    Document {
        /// Where that is.
        url: &'a DocumentUrl,
        /// How long it need not be fetched again.
        fresh_s: u32,
        /// Whether the tenant's admin has pinned it, which is approval enough.
        vouched: bool,
    },
    /// By RFC 7591.
    Registration {
        /// Of the token that manages the registration.
        token: &'a Digest,
    },
}

/// An agent as it was just made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Enrolled {
    /// Which.
    pub(super) agent: AgentId,
    /// Since when.
    pub(super) created_at: DateTime<Utc>,
}

/// Why a client did not become an agent.
#[derive(Debug, thiserror::Error)]
pub enum EnrolmentError {
    /// `clients_max`.
    #[error("this tenant takes no more clients that register themselves")]
    Full,
    /// Postgres is away.
    #[error(transparent)]
    Storage(#[from] sqlx::Error),
    /// What a rule asks for cannot be written.
    #[error("a rule of the tenant cannot be carried out: {0}")]
    Rule(#[source] ApiError),
}

impl From<ApiError> for EnrolmentError {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Unavailable(error) => Self::Storage(error),
            error => Self::Rule(error),
        }
    }
}

impl Origin<'_> {
    const fn kind(&self) -> agents::Origin {
        match self {
            Self::Document { .. } => agents::Origin::ClientDocument,
            Self::Registration { .. } => agents::Origin::Registration,
        }
    }
}

impl Enrolment<'_> {
    fn needs_approval(&self) -> bool {
        let vouched = matches!(self.origin, Origin::Document { vouched: true, .. });
        self.policy.registration == DynamicRegistration::Approval && !vouched
    }

    fn state(&self) -> AgentState {
        if self.needs_approval() { AgentState::Waiting } else { AgentState::Active }
    }

    fn document_host(&self) -> Option<&str> {
        match self.origin {
            Origin::Document { url, .. } => Some(url.host()),
            Origin::Registration { .. } => None,
        }
    }

    fn rule(&self) -> Option<&Rule> {
        let of_documents = self.document_host().map(|host| Some(host.to_owned()));
        let of_redirects = self.metadata.redirect_uris.iter().map(site);
        let hosts = of_documents.into_iter().chain(of_redirects).collect();
        let client_name = self.metadata.client_name.as_deref();
        self.policy.rule(&Newcomer { origin: self.origin.kind(), client_name, hosts })
    }

    /// The team that the agent is put into at registration.
    fn team(&self) -> &Name {
        self.rule().and_then(|rule| rule.team.as_ref()).unwrap_or(&self.policy.default_team)
    }

    /// What an operator sees of the agent, beside its state.
    fn spec(&self, team: &Name) -> Value {
        let redirect_uris: Vec<&str> = self.metadata.redirect_uris.iter().map(RedirectUri::as_str).collect();
        let mut spec = json!({
            "team": team,
            "type": "interactive",
            "redirect_uris": redirect_uris,
            "auth_method": self.metadata.auth_method,
        });
        if let Some(jwks) = self.metadata.jwks() {
            spec["jwks"] = jwks.clone();
        }
        if let Some(jwks_uri) = self.metadata.jwks_uri() {
            spec["jwks_uri"] = json!(jwks_uri);
        }
        spec
    }
}

/// Makes the agent, in a transaction that holds the tenant's row ([`policy::bump`]): what was looked up in it before
/// still holds.
///
/// # Errors
/// [`EnrolmentError`].
pub(super) async fn enrol(app: &App, tx: &mut TenantTx, enrolment: &Enrolment<'_>) -> Result<Enrolled, EnrolmentError> {
    if sql::count(tx).await? >= i64::from(enrolment.policy.clients_max) {
        return Err(EnrolmentError::Full);
    }
    let (agent, tokens_valid_from) = identity(tx, enrolment.origin).await?;
    let system = by_rule(enrolment.issuer);
    let team = enrolment.team();
    let team_id = team_named(app, tx, &system, team).await?;
    let wanted = enrolment.metadata.client_name.as_deref().or_else(|| enrolment.document_host()).unwrap_or_default();
    let name = naming::free(wanted, &sql::names_like(tx, &naming::slug(wanted)).await?);
    let made = sql::NewAgent {
        id: agent,
        name: &name,
        team: team_id,
        spec: enrolment.spec(team),
        state: enrolment.state(),
        origin: enrolment.origin,
        metadata: enrolment.metadata,
        tokens_valid_from,
    };
    let created_at = sql::insert(tx, &made).await?;
    record(tx, enrolment, agent, &name, "agent.register").await?;
    if let Some(rule) = enrolment.rule() {
        grant(app, tx, &system, &name, rule).await?;
    }
    Ok(Enrolled { agent, created_at })
}

/// Makes or brings up to date the agent of a document that was just read.
///
/// # Errors
/// [`EnrolmentError`].
pub(super) async fn by_document(app: &App, enrolment: &Enrolment<'_>) -> Result<(), EnrolmentError> {
    let Origin::Document { url, fresh_s, .. } = enrolment.origin else { return Ok(()) };
    let digest = enrolment.metadata.digest();
    let mut tx = app.db.tenant(enrolment.issuer.tenant).await?;
    // Most documents have not changed: that needs no lock and no revision.
    if sql::still_is(&mut tx, url, &digest, fresh_s).await? {
        tx.commit().await?;
        return Ok(());
    }
    policy::bump(&mut tx).await?;
    match sql::of_document(&mut tx, url).await? {
        None => drop(enrol(app, &mut tx, enrolment).await?),
        Some(agent) => {
            update(app, &mut tx, enrolment, agent).await?;
            sql::fetched(&mut tx, agent, fresh_s).await?;
        }
    }
    tx.commit().await?;
    Ok(())
}

/// Stores what the client says about itself now, in a transaction that holds the tenant's row. Its team, its state and
/// its grants stay as long as it calls itself the same and sends its users to the same hosts; else what of them it would
/// be trusted with now.
///
/// # Errors
/// [`EnrolmentError`], but never [`EnrolmentError::Full`].
pub(super) async fn update(
    app: &App,
    tx: &mut TenantTx,
    enrolment: &Enrolment<'_>,
    agent: AgentId,
) -> Result<(), EnrolmentError> {
    let known = sql::registered(tx, agent).await?;
    sql::update(tx, agent, enrolment).await?;
    record(tx, enrolment, agent, &known.name, "agent.update").await?;
    let signs = |method| method == AuthMethod::PrivateKeyJwt;
    let keys_stay = known.jwks.as_ref() == enrolment.metadata.jwks()
        && known.jwks_uri.as_deref() == enrolment.metadata.jwks_uri()
        && signs(known.auth_method) == signs(enrolment.metadata.auth_method);
    if !keys_stay {
        record(tx, enrolment, agent, &known.name, "agent.keys.change").await?;
    }
    trust::review(app, tx, enrolment, &known).await
}

/// Where users are sent: the host, if the scheme has one that means anything.
fn site(uri: &RedirectUri) -> Option<String> {
    let url = Url::parse(uri.as_str()).ok().filter(|_| !uri.is_private_use())?;
    url.host_str().map(str::to_owned)
}

/// The tenant's own hand, which writes what its admin has laid down in a rule.
fn by_rule(issuer: &Issuer) -> Caller {
    Caller {
        actor: BY_RULE.to_owned(),
        role: Role::Admin,
        tenant: issuer.tenant,
        tenant_name: issuer.name.to_string(),
        platform: false,
    }
}

/// The id of a new agent, and the moment from which on tokens that name it are valid. Tokens name the client of a
/// document by its URL: whoever comes by the URL of an agent that was deleted is that agent again, so that what was
/// revoked then stays revoked at every data plane.
async fn identity(tx: &mut TenantTx, origin: Origin<'_>) -> Result<(AgentId, i64), sqlx::Error> {
    let former = match origin {
        Origin::Document { url, .. } => sql::former(tx, url).await?,
        Origin::Registration { .. } => None,
    };
    Ok(former.map_or_else(|| (AgentId::new(), 0), |former| (former.agent, former.tokens_valid_from)))
}

/// The team of this name, which is made when there is none.
async fn team_named(app: &App, tx: &mut TenantTx, by: &Caller, team: &Name) -> Result<TeamId, EnrolmentError> {
    if let Some(id) = teams::look_up(tx, team, "", &mut Faults::default()).await? {
        return Ok(id);
    }
    let content = Content { labels: resource::Labels::new(), spec: TeamSpec::default() };
    Ok(resource::add(tx, app, by, team.as_str(), content).await?.id)
}

/// Grants what the rule says, as far as its servers and toolsets are still there.
async fn grant(app: &App, tx: &mut TenantTx, by: &Caller, agent: &str, rule: &Rule) -> Result<(), EnrolmentError> {
    let scopes: Vec<Scope> = rule.scopes.iter().filter_map(|scope| scope.parse().ok()).collect();
    let gone = Missing::of(scopes.iter(), tx).await?;
    let there = |scope: &&Scope| gone.named_by(scope).is_none();
    let scopes: Vec<String> = scopes.iter().filter(there).map(ToString::to_string).collect();
    if scopes.is_empty() {
        return Ok(());
    }
    let name = naming::free(agent, &sql::grant_names_like(tx, agent).await?);
    let agent = agent.parse().map_err(ApiError::internal)?;
    let to = GrantTarget { agent: Some(agent), team: None, role: None };
    let spec = GrantSpec { to, scopes, deny: None, expires_at: None, conditions: None, networks: None, deny_as: None };
    resource::add(tx, app, by, &name, Content { labels: resource::Labels::new(), spec }).await?;
    Ok(())
}

async fn record(
    tx: &mut TenantTx,
    enrolment: &Enrolment<'_>,
    agent: AgentId,
    name: &str,
    action: &str,
) -> Result<(), sqlx::Error> {
    let redirect_hosts: Vec<String> = enrolment.metadata.redirect_uris.iter().map(RedirectUri::shown_host).collect();
    let event = audit::Event {
        actor: &format!("agent:{agent}"),
        action,
        object_kind: AgentSpec::NOUN,
        object_id: &agent.to_string(),
        object_name: name,
        detail: json!({
            "origin": enrolment.origin.kind(),
            "host": enrolment.document_host(),
            "client_name": enrolment.metadata.client_name.as_deref().map(shown_name),
            "redirect_hosts": redirect_hosts,
            "auth_method": enrolment.metadata.auth_method,
        }),
    };
    audit::record(tx, event).await
}
