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

use super::{TYPE, sql};
use crate::{
    app::App,
    db::TenantTx,
    oauth::{issuer::Issuer, keys::KeyError},
    secret::{self, Digest, Purpose},
};

/// What a token of this tenant says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::oauth) struct Known {
    /// `jti`.
    pub(in crate::oauth) jti: Uuid,
    /// Whose it is.
    pub(in crate::oauth) client_id: String,
    /// For whom the client acts; none when for itself.
    pub(in crate::oauth) user: Option<UserId>,
    /// The grant family; none for client credentials.
    pub(in crate::oauth) authorization: Option<AuthorizationId>,
    /// The key that signed it; none for an opaque one.
    pub(in crate::oauth) kid: Option<String>,
    /// The endpoint that it is for.
    pub(in crate::oauth) audience: String,
    /// Scopes, divided by spaces.
    pub(in crate::oauth) scope: String,
    /// Unix seconds.
    pub(in crate::oauth) issued_at: i64,
    /// Unix seconds.
    pub(in crate::oauth) expires_at: i64,
}

/// Public keys of tenants by `kid`, as far as tokens named them. A `kid` is the digest of its key, so nothing here can
/// become wrong; that a key was revoked is among the revocations.
#[derive(Debug, Default)]
pub struct Verifiers(RwLock<HashMap<(TenantId, String), Arc<DecodingKey>>>);

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
    let Some(header) = decode_header(text).ok().filter(|header| header.typ.as_deref() == Some(TYPE)) else {
        return Ok(None);
    };
    let Some(kid) = header.kid else { return Ok(None) };
    let Some(key) = app.verifiers.find(tx, &kid).await? else { return Ok(None) };
    let mut validation = Validation::new(Algorithm::ES256);
    validation.validate_aud = false;
    validation.validate_exp = false;
    validation.set_issuer(&[&issuer.url]);
    validation.set_required_spec_claims(&["iss"]);
    let Ok(token) = decode::<Claims>(text, &key, &validation) else { return Ok(None) };
    let claims = token.claims;
    Ok(Some(Known {
        jti: claims.jti,
        user: if claims.sub == claims.client_id { None } else { claims.sub.parse().ok() },
        client_id: claims.client_id,
        authorization: claims.gid,
        kid: Some(kid),
        audience: claims.aud,
        scope: claims.scope,
        issued_at: claims.iat,
        expires_at: claims.exp,
    }))
}

impl Verifiers {
    /// The key of that `kid`, without Postgres from the second time on. Unknown ones are not remembered.
    async fn find(&self, tx: &mut TenantTx, kid: &str) -> Result<Option<Arc<DecodingKey>>, KeyError> {
        let place = (tx.tenant(), kid.to_owned());
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&place).cloned();
        if known.is_some() {
            return Ok(known);
        }
        let Some(stored) = sql::public_key(tx, kid).await? else { return Ok(None) };
        let jwk: Jwk = serde_json::from_value(stored).map_err(|_| KeyError::Malformed)?;
        let key = Arc::new(DecodingKey::from_jwk(&jwk).map_err(|_| KeyError::Malformed)?);
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(place, Arc::clone(&key));
        Ok(Some(key))
    }
}
