//! The introspection endpoint (RFC 7662): what a token is good for, told to clients that prove who they are.
//!
//! A client learns about its own tokens; a resource server that the tenant's admin trusts (`introspect` of an agent)
//! about every access token for the endpoints that it stands for. Whether a token is alive is for `liveness.rs` to say, and is the same for data
//! planes.
//!
//! Invariant: every token that is not valid, or not the caller's business, gets the very same answer. Nothing is
//! written about a token, and one query tells everything about it and about a caller that shows a secret.

use std::{sync::Arc, time::Instant};

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::json;
use tollgate_proto::{AgentId, TenantId};
use uuid::Uuid;

use super::{
    access_token::{self, Known},
    attempts::{Failures, Guesser},
    client_auth::{self, Presented, SecretClaim},
    error::{self, OAuthError, Unproven},
    form::Form,
    issuer::Issuer,
    keys::KeyError,
};
use crate::{
    agents::Introspection,
    app::App,
    secret::{Digest, Purpose, well_formed},
};

pub(crate) mod liveness;
mod sql;

use liveness::{Alive, Asker, Shown};

/// So many tokens that are none may be asked about within a minute: more is looking for some (RFC 7662 section 4).
const MISSES_MAX: u32 = 1_000;

/// Who asks about tokens that are none. Counted per caller, wherever it calls from.
#[derive(Debug)]
pub struct Misses(Failures);

impl Default for Misses {
    fn default() -> Self {
        Self(Failures::at_most(MISSES_MAX))
    }
}

/// A token that is good, as the caller is told (RFC 7662 section 2.2).
#[derive(Debug, Serialize)]
struct Active {
    active: bool,
    scope: String,
    client_id: String,
    /// Absent for refresh tokens, which no resource server takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    exp: i64,
    iat: i64,
    sub: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<String>,
    iss: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<Uuid>,
}

/// A client that has proven who it is.
struct Caller {
    agent: AgentId,
    client_id: String,
    /// Which access tokens of others an admin lets it introspect.
    introspects: Introspection,
}

/// `POST` of the introspection endpoint. A `token_type_hint` changes nothing: the token says what it is.
pub(super) async fn answer(
    State(app): State<Arc<App>>,
    issuer: Issuer,
    request: Request,
) -> Result<Response, OAuthError> {
    let (parts, body) = request.into_parts();
    let form = Form::read(&parts.headers, body).await?;
    let presented = Presented { headers: &parts.headers, form: &form, server: None };
    let token = form.get("token");
    let (caller, alive) = match SecretClaim::read(&app, &issuer, &presented)? {
        Some(claim) => at_once(&app, &issuer, claim, token).await?,
        None => step_by_step(&app, &issuer, presented, token).await?,
    };
    if token.is_none() {
        return Err(OAuthError::InvalidRequest("`token` is missing".into()));
    }
    let active = app.introspection_misses.allow(issuer.tenant, &caller, alive)?;
    let mut response = match active {
        Some(alive) => Json(Active::new(alive, issuer.url)).into_response(),
        None => Json(json!({ "active": false })).into_response(),
    };
    error::never_store(response.headers_mut());
    Ok(response)
}

/// Caller and token by one query.
async fn at_once(
    app: &App,
    issuer: &Issuer,
    claim: SecretClaim,
    token: Option<&str>,
) -> Result<(Caller, Option<Alive>), OAuthError> {
    let verified = verified(app, issuer, token).await?;
    let asker = Asker { agent: claim.agent, secret: claim.digest };
    let shown = shown(token, verified.as_deref());
    let (found, alive) = liveness::asked_by(&app.db, issuer.tenant, asker, shown).await?;
    claim.check(app, issuer.tenant, found.as_ref().map(liveness::Caller::record)).await?;
    let introspects = found.map(|found| found.introspects).unwrap_or_default();
    Ok((Caller { agent: asker.agent, client_id: asker.agent.to_string(), introspects }, alive))
}

/// First the caller, by whatever proves who it is, then the token.
async fn step_by_step(
    app: &App,
    issuer: &Issuer,
    presented: Presented<'_>,
    token: Option<&str>,
) -> Result<(Caller, Option<Alive>), OAuthError> {
    let (standing, opened) = client_auth::authenticate(app, issuer, presented).await?;
    let client = standing.client;
    if client.is_public() {
        let reason = "a client that proves nothing may not introspect".to_owned();
        let client = Some(client.client_id);
        return Err(OAuthError::InvalidClient(Box::new(Unproven { realm: None, client, reason })));
    }
    opened.end().await?;
    let verified = verified(app, issuer, token).await?;
    let alive = liveness::of(&app.db, issuer.tenant, shown(token, verified.as_deref())).await?;
    Ok((Caller { agent: client.agent, client_id: client.client_id, introspects: client.introspects }, alive))
}

/// What a JWT says, if it is one and its signature is good.
async fn verified(app: &App, issuer: &Issuer, token: Option<&str>) -> Result<Option<Arc<Known>>, KeyError> {
    match token {
        Some(token) => access_token::verify(app, issuer, token).await,
        None => Ok(None),
    }
}

fn shown<'a>(token: Option<&str>, verified: Option<&'a Known>) -> Shown<'a> {
    match (token, verified) {
        (_, Some(known)) => Shown::Signed(known),
        (Some(text), None) if well_formed(Purpose::AccessToken, text) => Shown::Opaque(Digest::of(text)),
        (Some(text), None) if well_formed(Purpose::RefreshToken, text) => Shown::Refresh(Digest::of(text)),
        _ => Shown::Nothing,
    }
}

impl Misses {
    /// The token, if it is the caller's business; one that is not, or is none, is counted, until there are too many.
    fn allow(&self, tenant: TenantId, caller: &Caller, alive: Option<Alive>) -> Result<Option<Alive>, OAuthError> {
        let scanner = Guesser::new(tenant, &caller.client_id, None);
        if let Some(retry_after) = self.0.wait(&scanner, Instant::now()) {
            return Err(OAuthError::TooManyFailures { retry_after });
        }
        let active = alive.filter(|alive| caller.may_learn_of(alive));
        if active.is_none() {
            self.0.note(scanner, Instant::now());
        }
        Ok(active)
    }
}

impl Caller {
    /// A refresh token is its own client's alone, and an access token of another its business only where the token can
    /// be used (RFC 7662 section 4).
    fn may_learn_of(&self, token: &Alive) -> bool {
        let is_for_it = || token.access.as_ref().is_some_and(|access| self.introspects.covers(&access.audience));
        self.agent == token.agent || is_for_it()
    }
}

impl Active {
    fn new(token: Alive, iss: String) -> Self {
        let (jti, aud) = token.access.map(|access| (access.jti, access.audience)).unzip();
        Self {
            active: true,
            scope: token.scope,
            sub: token.user.map_or_else(|| token.client_id.clone(), |user| user.to_string()),
            client_id: token.client_id,
            token_type: jti.map(|_| "Bearer"),
            exp: token.expires_at,
            iat: token.issued_at,
            aud,
            iss,
            jti,
        }
    }
}
