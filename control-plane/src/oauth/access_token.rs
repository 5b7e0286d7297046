//! Access tokens: JWTs as RFC 9068 has them, signed with ES256.
//!
//! Invariant: a token says who may act, where and within which scopes; what is allowed at the moment of a call is the
//! data plane's policy, never the token's business.

use jsonwebtoken::{Algorithm, Header};
use serde::Serialize;
use uuid::Uuid;

use super::keys::{KeyError, SigningKey};

/// RFC 9068 section 2.1.
const TYPE: &str = "at+jwt";

/// What goes into a token. The subject is the client itself (RFC 9068 section 2.2).
#[derive(Debug)]
pub(super) struct Contents<'a> {
    /// `iss`.
    pub(super) issuer: &'a str,
    /// `sub` and `client_id`.
    pub(super) client_id: &'a str,
    /// `aud`: one endpoint.
    pub(super) audience: &'a str,
    /// `scope`.
    pub(super) scope: &'a str,
    /// From `iat` to `exp`, in seconds.
    pub(super) ttl_s: u32,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    client_id: &'a str,
    iat: i64,
    exp: i64,
    jti: Uuid,
    scope: &'a str,
}

/// Signs a token that begins to live now.
pub(super) fn sign(key: &SigningKey, contents: &Contents<'_>) -> Result<String, KeyError> {
    let issued_at = chrono::Utc::now().timestamp();
    let claims = Claims {
        iss: contents.issuer,
        sub: contents.client_id,
        aud: contents.audience,
        client_id: contents.client_id,
        iat: issued_at,
        exp: issued_at + i64::from(contents.ttl_s),
        jti: Uuid::now_v7(),
        scope: contents.scope,
    };
    let mut header = Header::new(Algorithm::ES256);
    header.typ = Some(TYPE.to_owned());
    header.kid = Some(key.kid.clone());
    Ok(jsonwebtoken::encode(&header, &claims, &key.private)?)
}
