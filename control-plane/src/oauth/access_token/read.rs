//! Tokens that somebody shows to the authorization server itself, to have them introspected or revoked.
//!
//! Invariant: a JWT is believed only with the signature of a key of its tenant, whatever its header says; an opaque
//! token only when it is stored. Neither is believed after its expiry, and whether it was revoked is not asked here.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use chrono::Utc;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, jwk::Jwk};
use serde::Deserialize;
use tollgate_proto::{AuthorizationId, TenantId, UserId};
use uuid::Uuid;

use super::{TYPE, sql, verified::Verified};
use crate::{
    app::App,
    db::TenantTx,
    oauth::{issuer::Issuer, keys::KeyError},
    secret::{self, Digest, Purpose},
};

/// What a token of this tenant says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    /// `jti`.
    pub(crate) jti: Uuid,
    /// Whose it is.
    pub(crate) client_id: String,
    /// For whom the client acts; none when for itself.
    pub(crate) user: Option<UserId>,
    /// The grant family; none for client credentials.
    pub(crate) authorization: Option<AuthorizationId>,
    /// The key that signed it; none for an opaque one.
    pub(crate) kid: Option<String>,
    /// The endpoint that it is for.
    pub(crate) audience: String,
    /// Scopes, divided by spaces.
    pub(crate) scope: String,
    /// Unix seconds.
    pub(crate) issued_at: i64,
    /// Unix seconds.
    pub(crate) expires_at: i64,
}

/// Public keys of tenants by `kid`, as far as tokens named them, and what they were found to have signed. A `kid` is the
/// digest of its key, so nothing here can become wrong; that a key was revoked is asked of Postgres.
#[derive(Debug, Default)]
pub struct Verifiers {
    keys: RwLock<HashMap<(TenantId, String), Arc<DecodingKey>>>,
    tokens: Verified,
}

/// What `text` says, if it is an access token of the issuer and has not expired.
pub(in crate::oauth) async fn read(
    app: &App,
    tx: &mut TenantTx,
    issuer: &Issuer,
    text: &str,
) -> Result<Option<Known>, KeyError> {
    let known = if secret::well_formed(Purpose::AccessToken, text) {
        sql::find(tx, &Digest::of(text)).await?
    } else {
        signed(app, tx, issuer, text).await?
    };
    Ok(known.filter(|known| known.expires_at > Utc::now().timestamp()))
}

/// What `text` says, if it is a JWT of the issuer with a good signature; expired, revoked or not. Takes a connection of its
/// own at the first sight of a key, so that it must not be asked within a transaction.
pub(in crate::oauth) async fn verify(app: &App, issuer: &Issuer, text: &str) -> Result<Option<Arc<Known>>, KeyError> {
    let Some(kid) = kid_of(text) else { return Ok(None) };
    let place = (issuer.tenant, Digest::of(text));
    if let Some(known) = app.verifiers.tokens.find(&place) {
        return Ok(Some(known));
    }
    let key = match app.verifiers.key(issuer.tenant, &kid) {
        Some(key) => Some(key),
        None => app.verifiers.find(&mut app.db.tenant_lookup(issuer.tenant).await?, &kid).await?,
    };
    let Some(known) = key.and_then(|key| verified(issuer, text, kid, &key)).map(Arc::new) else { return Ok(None) };
    app.verifiers.tokens.insert(place, Arc::clone(&known));
    Ok(Some(known))
}

/// The claims of [`super::Claims`], as a token brings them back.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    aud: String,
    client_id: String,
    iat: i64,
    exp: i64,
    jti: Uuid,
    scope: String,
    gid: Option<AuthorizationId>,
}

async fn signed(app: &App, tx: &mut TenantTx, issuer: &Issuer, text: &str) -> Result<Option<Known>, KeyError> {
    let Some(kid) = kid_of(text) else { return Ok(None) };
    let key = app.verifiers.find(tx, &kid).await?;
    Ok(key.and_then(|key| verified(issuer, text, kid, &key)))
}

/// Which key is said to have signed `text`, if it reads like an access token of ours.
fn kid_of(text: &str) -> Option<String> {
    let header = decode_header(text).ok().filter(|header| header.typ.as_deref() == Some(TYPE))?;
    header.kid.filter(|kid| kid.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')))
}

fn verified(issuer: &Issuer, text: &str, kid: String, key: &DecodingKey) -> Option<Known> {
    let mut validation = Validation::new(Algorithm::ES256);
    validation.validate_aud = false;
    validation.validate_exp = false;
    validation.set_issuer(&[&issuer.url]);
    validation.set_required_spec_claims(&["iss"]);
    let claims = decode::<Claims>(text, key, &validation).ok()?.claims;
    Some(Known {
        jti: claims.jti,
        user: if claims.sub == claims.client_id { None } else { claims.sub.parse().ok() },
        client_id: claims.client_id,
        authorization: claims.gid,
        kid: Some(kid),
        audience: claims.aud,
        scope: claims.scope,
        issued_at: claims.iat,
        expires_at: claims.exp,
    })
}

impl Verifiers {
    /// The key of that `kid`, if it was needed before.
    fn key(&self, tenant: TenantId, kid: &str) -> Option<Arc<DecodingKey>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).get(&(tenant, kid.to_owned())).cloned()
    }

    /// The key of that `kid`, without Postgres from the second time on. Unknown ones are not remembered.
    async fn find(&self, tx: &mut TenantTx, kid: &str) -> Result<Option<Arc<DecodingKey>>, KeyError> {
        let known = self.key(tx.tenant(), kid);
        if known.is_some() {
            return Ok(known);
        }
        let Some(stored) = sql::public_key(tx, kid).await? else { return Ok(None) };
        let jwk: Jwk = serde_json::from_value(stored).map_err(|_| KeyError::Malformed)?;
        let key = Arc::new(DecodingKey::from_jwk(&jwk).map_err(|_| KeyError::Malformed)?);
        let place = (tx.tenant(), kid.to_owned());
        self.keys.write().unwrap_or_else(PoisonError::into_inner).insert(place, Arc::clone(&key));
        Ok(Some(key))
    }
}
