//! Verifying JWT access tokens (RFC 9068 section 4).
//!
//! Invariant: only ES256 is accepted, and only a key that came with the policy, whatever a token's header says; the
//! issuer is the tenant's, byte by byte.
//!
//! A `kid` that is not known makes the token invalid, and nobody is asked for it: keys are pushed with the policy, long
//! before one signs, so that strangers cannot make a data plane fetch anything.

use jsonwebtoken::{Algorithm, Validation};
use serde::Deserialize;
use uuid::Uuid;

use super::access_token::{AccessToken, ActsFor, Signed, scopes};
use crate::{policy::Tenant, refusal::TokenFault};

/// How far the clocks of the planes may be apart, in seconds.
const LEEWAY_S: i64 = 5;

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    client_id: String,
    aud: Audience,
    exp: i64,
    iat: i64,
    nbf: Option<i64>,
    jti: Uuid,
    gid: Option<String>,
    #[serde(default)]
    scope: String,
}

/// One resource, written as RFC 7519 section 4.1.3 allows.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Listed([String; 1]),
}

/// What the token says, if one of the tenant's keys signed it. `now` in unix seconds. Expiry and audience are for the
/// caller to check, on every request.
///
/// # Errors
/// [`TokenFault::Invalid`] for everything that is no good token of the tenant.
pub(super) fn verify(tenant: &Tenant, token: &str, now: i64) -> Result<AccessToken, TokenFault> {
    let invalid = |_| TokenFault::Invalid;
    let header = jsonwebtoken::decode_header(token).map_err(invalid)?;
    let kid = header.kid.ok_or(TokenFault::Invalid)?;
    let key = tenant.keys.get(&kid).ok_or(TokenFault::Invalid)?;
    // No critical extension is understood here (RFC 7515 section 4.1.11). Keys that the header brings or points to
    // (`jwk`, `jku`, `x5u`) are not looked at.
    if !header.typ.as_deref().is_some_and(is_access_token) || header.alg != Algorithm::ES256 || header.crit.is_some() {
        return Err(TokenFault::Invalid);
    }
    let claims = jsonwebtoken::decode::<Claims>(token, key, &rules(tenant)).map_err(invalid)?.claims;
    let begins = claims.nbf.unwrap_or(claims.iat).max(claims.iat);
    if claims.iss != tenant.issuer || begins > now.saturating_add(LEEWAY_S) {
        return Err(TokenFault::Invalid);
    }
    let (Audience::One(audience) | Audience::Listed([audience])) = claims.aud;
    Ok(AccessToken {
        tenant: tenant.id,
        signed: Some(Signed { issuer: claims.iss, kid }),
        jti: claims.jti,
        acts_for: ActsFor::read(&claims.sub, &claims.client_id, claims.gid.as_deref())?,
        client_id: claims.client_id,
        audience,
        issued_at: claims.iat,
        expires_at: claims.exp,
        scopes: scopes(&claims.scope),
    })
}

/// RFC 9068 section 2.1, as a media type with or without its prefix (RFC 7515 section 4.1.9).
fn is_access_token(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    typ.strip_prefix("application/").unwrap_or(&typ) == "at+jwt"
}

/// Never built from the token's header, so that its `alg` decides nothing.
fn rules(tenant: &Tenant) -> Validation {
    let mut rules = Validation::new(Algorithm::ES256);
    rules.set_issuer(&[&tenant.issuer]);
    rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    // Checked on every request, with reasons of their own.
    rules.validate_exp = false;
    rules.validate_aud = false;
    rules
}
