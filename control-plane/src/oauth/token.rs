//! The token endpoint (RFC 6749 sections 3.2 and 4.4), and tokens that an operator takes out in an agent's name.
//!
//! Invariant: a token is signed only after the transaction that decided about it has committed, and a refused
//! request leaves no trace in the database.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    Json,
    extract::{ConnectInfo, Request, State},
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tollgate_proto::{AgentId, Name, Scope, TenantId};
use utoipa::ToSchema;

use super::{
    access_token::{self, Contents, Minted},
    client::{CLIENT_CREDENTIALS, ClientId},
    client_auth::{self, Presented},
    error::{self, OAuthError},
    form::Form,
    issuer::Issuer,
    keys::KeyError,
    scope_policy::{self, ScopeRefusal},
    sql::{self, Standing},
    target::{Target, TargetError},
};
use crate::{app::App, audit, db::TenantTx};

const TOKEN_TYPE: &str = "Bearer";
/// An operator's token is for one look, not for work.
const OPERATOR_TTL_S_MAX: u32 = 300;

/// A token and what it is good for. The operator's API answers with exactly these members.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = AgentToken)]
pub struct Issued {
    /// The JWT.
    pub access_token: String,
    /// `Bearer`.
    #[schema(example = "Bearer")]
    pub token_type: &'static str,
    /// Life in seconds.
    pub expires_in: u32,
    /// Scopes, divided by spaces.
    #[schema(example = "demo:echo demo:add")]
    pub scope: String,
    /// The endpoint it is for: its `aud`.
    pub resource: String,
}

/// What an operator says about the token.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = AgentTokenRequest)]
#[serde(deny_unknown_fields)]
pub struct OperatorRequest {
    /// The endpoint that it is for; the tenant's federated endpoint when absent.
    #[schema(example = "https://mcp.example.com/t/default/mcp/demo")]
    pub resource: Option<String>,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("scope", &self.scope).field("resource", &self.resource).finish_non_exhaustive()
    }
}

/// Why no token was issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// No agent of the tenant has this id or name.
    #[error("there is no such agent")]
    UnknownAgent,
    /// It may not act until it is resumed.
    #[error("the agent is suspended")]
    Suspended,
    /// The resource is no endpoint of the tenant.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The grants do not give what was asked.
    #[error(transparent)]
    Scope(#[from] ScopeRefusal),
    /// Postgres is away.
    #[error("cannot read what decides about a token: {0}")]
    Storage(#[from] sqlx::Error),
    /// There is no key to sign with.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// `POST` of the token endpoint.
pub(super) async fn answer(
    State(app): State<Arc<App>>,
    issuer: Issuer,
    request: Request,
) -> Result<Response, OAuthError> {
    let peer = request.extensions().get().map(|ConnectInfo(peer): &ConnectInfo<SocketAddr>| peer.ip());
    let (parts, body) = request.into_parts();
    let form = Form::read(&parts.headers, body).await?;
    match form.get("grant_type") {
        Some(CLIENT_CREDENTIALS) => {}
        Some(_) => return Err(OAuthError::UnsupportedGrantType),
        None => return Err(OAuthError::InvalidRequest("`grant_type` is missing".into())),
    }
    let issued = issue_for_client(&app, &issuer, &parts.headers, peer, &form).await?;
    let body = json!({
        "access_token": issued.access_token,
        "token_type": issued.token_type,
        "expires_in": issued.expires_in,
        "scope": issued.scope,
    });
    let mut response = Json(body).into_response();
    error::never_store(response.headers_mut());
    Ok(response)
}

/// The client credentials grant: who is it, where to, what for; then the token.
async fn issue_for_client(
    app: &App,
    issuer: &Issuer,
    headers: &HeaderMap,
    peer: Option<IpAddr>,
    form: &Form,
) -> Result<Issued, OAuthError> {
    // Told only to a client that proved who it is, but needed for the one query.
    let target = Target::read(form.resources(), &app.urls, &issuer.name);
    let server = target.as_ref().ok().and_then(Target::server);
    let presented = Presented { headers, form, peer, server };
    let (standing, opened) = client_auth::authenticate(app, issuer, presented).await?;
    if !standing.client.may_use(CLIENT_CREDENTIALS) {
        return Err(OAuthError::UnauthorizedClient);
    }
    let decision = Decision::make(&standing, target?, form.get("scope"))?;
    let mut tx = opened.transaction(app).await?;
    let issuing = decision.mint(&mut tx, app, issuer, &standing, standing.tenant.access_token_ttl_s).await?;
    tx.commit().await?;
    Ok(issuing.finish(app, issuer).await?)
}

/// A token for an operator who wants to call a tool as an agent would: everything that is granted for `resource`
/// (absent: the federated endpoint), for at most five minutes. `agent` is an id or a name. Audited as
/// `agent.token.issue`.
///
/// # Errors
/// [`IssueError`]; the caller has checked that `actor` may do this.
pub async fn issue_for_operator(
    app: &App,
    tenant: TenantId,
    agent: &str,
    resource: Option<&str>,
    actor: &str,
) -> Result<Issued, IssueError> {
    let mut tx = app.db.tenant(tenant).await?;
    let name = sql::tenant_name(&mut tx).await?;
    let issuer = Issuer { tenant, url: app.urls.issuer(name.as_str()), name };
    let target = resource.map_or(Ok(Target::Federated), |url| Target::parse(url, &app.urls, &issuer.name))?;
    let id = match (agent.parse::<AgentId>(), agent.parse::<Name>()) {
        (Ok(id), _) => id,
        (Err(_), Ok(name)) => sql::agent_named(&mut tx, &name).await?.ok_or(IssueError::UnknownAgent)?,
        (Err(_), Err(_)) => return Err(IssueError::UnknownAgent),
    };
    let found = sql::standing(&mut tx, &ClientId::Agent(id), None, target.server()).await?;
    let standing = found.ok_or(IssueError::UnknownAgent)?;
    if !standing.client.is_active() {
        return Err(IssueError::Suspended);
    }
    let decision = Decision::make(&standing, target, None)?;
    let ttl_s = standing.tenant.access_token_ttl_s.min(OPERATOR_TTL_S_MAX);
    let event = audit::Event {
        actor,
        action: "agent.token.issue",
        object_kind: "agent",
        object_id: &id.to_string(),
        object_name: &standing.client.name,
        detail: json!({
            "resource": decision.target.url(&app.urls, &issuer.name),
            "scope": decision.scope,
            "expires_in": ttl_s,
        }),
    };
    audit::record(&mut tx, event).await?;
    let issuing = decision.mint(&mut tx, app, &issuer, &standing, ttl_s).await?;
    tx.commit().await?;
    issuing.finish(app, &issuer).await
}

/// What a token will say. Made from one reading of the database.
struct Decision {
    target: Target,
    scope: String,
}

impl Decision {
    fn make(standing: &Standing, target: Target, requested: Option<&str>) -> Result<Self, IssueError> {
        if target.server().is_some() && !standing.server_exists {
            return Err(TargetError::Unknown.into());
        }
        let scopes = scope_policy::decide(&standing.allowed, &standing.denied, &target, requested)?;
        let scope = scopes.iter().map(Scope::to_string).collect::<Vec<_>>().join(" ");
        Ok(Self { target, scope })
    }

    async fn mint(
        self,
        tx: &mut TenantTx,
        app: &App,
        issuer: &Issuer,
        standing: &Standing,
        ttl_s: u32,
    ) -> Result<Issuing, sqlx::Error> {
        let resource = self.target.url(&app.urls, &issuer.name);
        let contents = Contents {
            agent: standing.client.agent,
            client_id: standing.client.client_id.clone(),
            on_behalf: None,
            audience: resource.clone(),
            scope: self.scope.clone(),
            ttl_s,
            valid_from: standing.tokens_valid_from(),
        };
        let token = access_token::mint(tx, standing.tenant.format, contents).await?;
        Ok(Issuing { token, expires_in: ttl_s, scope: self.scope, resource })
    }
}

/// A token that is decided about and has no text yet.
struct Issuing {
    token: Minted,
    expires_in: u32,
    scope: String,
    resource: String,
}

impl Issuing {
    /// To be called after the transaction has committed.
    async fn finish(self, app: &App, issuer: &Issuer) -> Result<Issued, IssueError> {
        let access_token = self.token.text(app, issuer).await?.to_string();
        let Self { expires_in, scope, resource, .. } = self;
        Ok(Issued { access_token, token_type: TOKEN_TYPE, expires_in, scope, resource })
    }
}
