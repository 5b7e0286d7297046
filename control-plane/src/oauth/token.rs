//! The token endpoint (OAuth 2.1 section 3.2). Each grant type has a module of its own; what they have in common, from
//! the decision to the answer, is here.
//!
//! Invariant: a token gets its text only after the transaction that decided about it has committed, and a refused
//! request leaves no trace in the database.

use std::{fmt, slice, sync::Arc};

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tollgate_proto::Scope;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::{
    access_token::{self, Contents, Minted, OnBehalf},
    client_auth::{self, Presented},
    error::{self, OAuthError},
    form::Form,
    issuer::Issuer,
    keys::KeyError,
    scope_policy::{self, Granted, ScopeRefusal},
    sql::Standing,
    target::{Target, TargetError},
    toolsets::Toolsets,
};
use crate::{app::App, db::TenantTx};

mod authorization_code;
mod client_credentials;
mod family;
mod operator;
mod refresh_token;
mod sql;

use family::Family;
pub use operator::{OperatorRequest, issue_for_operator};

const TOKEN_TYPE: &str = "Bearer";

/// A token and what it is good for. The operator's API answers with exactly these members.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = AgentToken)]
pub struct Issued {
    /// A JWT or an opaque reference, as the tenant chose.
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

/// What a token endpoint answers (OAuth 2.1 section 3.2.3). Two tokens are in it, hence without `Debug`.
#[derive(Serialize)]
struct Answer {
    access_token: String,
    token_type: &'static str,
    expires_in: u32,
    scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
}

/// `POST` of the token endpoint.
pub(super) async fn answer(
    State(app): State<Arc<App>>,
    issuer: Issuer,
    request: Request,
) -> Result<Response, OAuthError> {
    let (parts, body) = request.into_parts();
    let form = Form::read(&parts.headers, body).await?;
    let presented = Presented { headers: &parts.headers, form: &form, server: None };
    let answer = match form.get("grant_type") {
        Some(authorization_code::NAME) => authorization_code::issue(&app, &issuer, presented).await?,
        Some(refresh_token::NAME) => refresh_token::issue(&app, &issuer, presented).await?,
        Some(client_credentials::NAME) => client_credentials::issue(&app, &issuer, presented).await?,
        Some(_) => return Err(OAuthError::UnsupportedGrantType),
        None => return Err(OAuthError::InvalidRequest("`grant_type` is missing".into())),
    };
    let mut response = Json(answer).into_response();
    error::never_store(response.headers_mut());
    Ok(response)
}

/// Who asks, in the transaction in which it was found, if it may use this grant type.
async fn admit(
    app: &App,
    issuer: &Issuer,
    presented: Presented<'_>,
    grant_type: &str,
) -> Result<(Standing, TenantTx), OAuthError> {
    let (standing, opened) = client_auth::authenticate(app, issuer, presented).await?;
    if !standing.client.may_use(grant_type) {
        return Err(OAuthError::UnauthorizedClient);
    }
    Ok((standing, opened.transaction(app).await?))
}

/// What a token for `target` may say: what operators granted the client, and the role of the user where it acts for one,
/// within what that user consented to, and of that what is requested. Without a family the client acts for itself.
async fn within_grants(
    tx: &mut TenantTx,
    standing: &Standing,
    target: &Target,
    family: Option<&Family>,
    requested: Option<&str>,
) -> Result<Vec<Scope>, IssueError> {
    let requested = scope_policy::parse(requested)?;
    let requested = requested.as_deref();
    let of_role = family.map(|family| (family.role_allowed.as_slice(), family.role_denied.as_slice()));
    let (of_role, denied_role) = of_role.unwrap_or_default();
    let allowed = &[&standing.allowed, of_role].concat();
    let denied = &[&standing.denied, denied_role].concat();
    let consented = family.map(|family| family.consented.as_slice());
    let asked_for = consented.unwrap_or_default().iter().chain(requested.unwrap_or_default());
    let toolsets = Toolsets::read(tx, allowed.iter().chain(denied).chain(asked_for), slice::from_ref(target)).await?;
    if target.toolset().is_some_and(|name| !toolsets.contain(name)) {
        return Err(TargetError::Unknown.into());
    }
    let granted = Granted { allowed, denied, toolsets: &toolsets };
    let decided = match consented {
        Some(consented) => scope_policy::decide_within_consent(consented, granted, target, requested),
        None => scope_policy::decide(granted, target, requested),
    };
    Ok(decided?)
}

/// What a token is to be.
struct Order<'a> {
    /// Whose it is, and what its tenant has set.
    standing: &'a Standing,
    /// For whom the client acts; none when for itself.
    on_behalf: Option<OnBehalf>,
    /// Unix seconds: `iat` is no earlier.
    valid_from: i64,
    /// The endpoint that it is for.
    resource: String,
    /// What it allows.
    scopes: Vec<Scope>,
    /// From `iat` to `exp`.
    ttl_s: u32,
}

/// A token that is decided about and has no text yet.
struct Issuing {
    token: Minted,
    expires_in: u32,
    scope: String,
    resource: String,
}

impl Issuing {
    /// Writes into the transaction what has to be written for the token.
    async fn begin(tx: &mut TenantTx, order: Order<'_>) -> Result<Self, sqlx::Error> {
        let Order { standing, on_behalf, valid_from, resource, scopes, ttl_s } = order;
        let scope = scopes.iter().map(Scope::to_string).collect::<Vec<_>>().join(" ");
        let contents = Contents {
            agent: standing.client.agent,
            client_id: standing.client.client_id.clone(),
            on_behalf,
            audience: resource.clone(),
            scope: scope.clone(),
            ttl_s,
            valid_from,
            now_ms: standing.tenant.now_ms,
            signing_kid: standing.tenant.signing_kid.clone(),
        };
        let token = access_token::mint(tx, standing.tenant.format, contents).await?;
        Ok(Self { token, expires_in: ttl_s, scope, resource })
    }

    /// To be called after the transaction has committed.
    async fn answer(
        self,
        app: &App,
        issuer: &Issuer,
        refresh_token: Option<Zeroizing<String>>,
    ) -> Result<Answer, KeyError> {
        let access_token = self.token.text(app, issuer).await?.to_string();
        let refresh_token = refresh_token.map(|text| text.to_string());
        let Self { expires_in, scope, .. } = self;
        Ok(Answer { access_token, token_type: TOKEN_TYPE, expires_in, scope, refresh_token })
    }
}
