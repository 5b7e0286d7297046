//! The introspection endpoint (RFC 7662): what a token is good for, told to clients that prove who they are.
//!
//! A client learns about its own tokens; a resource server that the tenant's admin trusts (`introspect` of an agent)
//! about every access token of the tenant.
//!
//! Invariant: every token that is not valid, or not the caller's business, gets the very same answer. Nothing is
//! written about a token, and one query tells everything about it.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use axum::{
    Json,
    extract::{ConnectInfo, Request, State},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;
use tollgate_proto::{AgentId, AuthorizationId, UserId};
use uuid::Uuid;

use super::{
    attempts::{Failures, Guesser},
    client::{Client, ClientId},
    client_auth::{self, Presented},
    client_keys::KeySet,
    error::{self, OAuthError, Unproven},
    form::Form,
    issuer::Issuer,
};
use crate::{
    agents::SigningAlg,
    app::App,
    db::TenantTx,
    secret::{Digest, Purpose, well_formed},
};

mod sql;

/// An access token has hundreds of bytes.
const LEN_MAX: usize = 16 * 1024;
/// RFC 9068 section 2.1.
const ACCESS_TOKEN_TYPE: &str = "at+jwt";
const ALG: &str = "ES256";
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

#[derive(Deserialize)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: String,
    client_id: String,
    iat: i64,
    exp: i64,
    jti: Uuid,
    scope: String,
    gid: Option<AuthorizationId>,
}

/// A text that reads like one of our JWTs. Nothing in it is true yet.
struct Unverified<'a> {
    header: Header,
    claims: Claims,
    message: &'a str,
    signature: Vec<u8>,
}

/// `POST` of the introspection endpoint. A `token_type_hint` changes nothing: the token says what it is.
pub(super) async fn answer(
    State(app): State<Arc<App>>,
    issuer: Issuer,
    request: Request,
) -> Result<Response, OAuthError> {
    let peer = request.extensions().get().map(|ConnectInfo(peer): &ConnectInfo<SocketAddr>| peer.ip());
    let (parts, body) = request.into_parts();
    let form = Form::read(&parts.headers, body).await?;
    let presented = Presented { headers: &parts.headers, form: &form, peer, server: None };
    let (standing, opened) = client_auth::authenticate(&app, &issuer, presented).await?;
    let caller = &standing.client;
    if caller.is_public() {
        let reason = "a client that proves nothing may not introspect".to_owned();
        let client = Some(caller.client_id.clone());
        return Err(OAuthError::InvalidClient(Box::new(Unproven { realm: None, client, reason })));
    }
    let token = form.get("token").ok_or(OAuthError::InvalidRequest("`token` is missing".into()))?;
    let scanner = Guesser::new(issuer.tenant, &caller.client_id, None);
    if let Some(retry_after) = app.introspection_misses.0.wait(&scanner, Instant::now()) {
        return Err(OAuthError::TooManyFailures { retry_after });
    }
    let mut tx = opened.transaction(&app).await?;
    let active = look_up(&mut tx, &issuer, caller, token).await?;
    tx.commit().await?;
    if active.is_none() {
        app.introspection_misses.0.note(scanner, Instant::now());
    }
    let mut response = match active {
        Some(active) => Json(active).into_response(),
        None => Json(json!({ "active": false })).into_response(),
    };
    error::never_store(response.headers_mut());
    Ok(response)
}

/// What a token is good for, if it is good and the caller's business.
async fn look_up(
    tx: &mut TenantTx,
    issuer: &Issuer,
    caller: &Client,
    token: &str,
) -> Result<Option<Active>, sqlx::Error> {
    if well_formed(Purpose::RefreshToken, token) {
        return Ok(sql::refresh_token(tx, &Digest::of(token), caller.agent).await?.map(|found| Active {
            active: true,
            scope: found.scope,
            client_id: caller.client_id.clone(),
            token_type: None,
            exp: found.expires_at,
            iat: found.issued_at,
            sub: UserId::from(found.user).to_string(),
            aud: None,
            iss: issuer.url.clone(),
            jti: None,
        }));
    }
    if well_formed(Purpose::AccessToken, token) {
        let found = sql::opaque_token(tx, &Digest::of(token)).await?;
        let found = found.filter(|found| caller.may_introspect(found.agent.into()));
        return Ok(found.map(|found| {
            let client_id = found.document_url.unwrap_or_else(|| AgentId::from(found.agent).to_string());
            Active {
                active: true,
                scope: found.scope,
                sub: found.user.map_or_else(|| client_id.clone(), |user| UserId::from(user).to_string()),
                client_id,
                token_type: Some("Bearer"),
                exp: found.expires_at,
                iat: found.issued_at,
                aud: Some(found.resource),
                iss: issuer.url.clone(),
                jti: Some(found.jti),
            }
        }));
    }
    let Some(read) = Unverified::read(token).filter(|read| read.is_current(issuer)) else { return Ok(None) };
    let facts = sql::JwtFacts {
        client: &ClientId::of(&read.claims.client_id),
        user: read.claims.sub.parse::<UserId>().ok(),
        family: read.claims.gid,
        jti: read.claims.jti,
        kid: &read.header.kid,
        issued_at: read.claims.iat,
    };
    let Some(found) = sql::jwt(tx, &facts).await? else { return Ok(None) };
    let keys = KeySet::parse(&json!({ "keys": [found.public_jwk] }));
    let good = caller.may_introspect(found.agent.into()) && keys.is_ok_and(|keys| read.is_signed_by(&keys));
    Ok(good.then(|| read.active()))
}

impl<'a> Unverified<'a> {
    fn read(token: &'a str) -> Option<Self> {
        if token.len() > LEN_MAX {
            return None;
        }
        let (message, signature) = token.rsplit_once('.')?;
        let (header, claims) = message.split_once('.')?;
        let header: Header = part(header)?;
        if header.alg != ALG || header.typ != ACCESS_TOKEN_TYPE {
            return None;
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        Some(Self { header, claims: part(claims)?, message, signature })
    }

    fn is_current(&self, issuer: &Issuer) -> bool {
        self.claims.iss == issuer.url && chrono::Utc::now().timestamp() < self.claims.exp
    }

    fn is_signed_by(&self, keys: &KeySet) -> bool {
        keys.verifies(Some(&self.header.kid), SigningAlg::Es256, self.message.as_bytes(), &self.signature)
    }

    fn active(self) -> Active {
        let Claims { iss, sub, aud, client_id, iat, exp, jti, scope, .. } = self.claims;
        let (token_type, aud, jti) = (Some("Bearer"), Some(aud), Some(jti));
        Active { active: true, scope, client_id, token_type, exp, iat, sub, aud, iss, jti }
    }
}

fn part<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}
