//! Verifying JWT access tokens (RFC 9068) once, and remembering by hash what came out.
//!
//! Invariant: only ES256 is accepted, whatever a token's header says; the issuer is the tenant's, byte by byte.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use aws_lc_rs::digest::{SHA256, digest};
use jsonwebtoken::{Algorithm, Validation};
use serde::Deserialize;
use tollgate_proto::{AgentId, Scope};

use crate::{policy::Tenant, refusal::TokenFault};

const TYPE: &str = "at+jwt";
/// More than an hour of distinct tokens for a busy data plane; past it the cache starts anew.
const REMEMBERED_MAX: usize = 100_000;

type TokenHash = [u8; 32];

/// Verified tokens by SHA-256.
#[derive(Debug, Default)]
pub struct TokenCache {
    verified: Mutex<HashMap<TokenHash, Arc<Verified>>>,
}

/// What a token says, once its signature was found good.
#[derive(Debug)]
pub struct Verified {
    issuer: String,
    kid: String,
    agent: AgentId,
    audience: String,
    expires_at: i64,
    scopes: Arc<[Scope]>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    client_id: String,
    aud: String,
    exp: i64,
    #[serde(default)]
    scope: String,
}

impl Verified {
    /// Whose token it is.
    pub const fn agent(&self) -> AgentId {
        self.agent
    }

    /// The resource it is for.
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// Unix seconds from which it is void.
    pub const fn expires_at(&self) -> i64 {
        self.expires_at
    }

    /// What it carries.
    pub fn scopes(&self) -> Arc<[Scope]> {
        Arc::clone(&self.scopes)
    }
}

impl TokenCache {
    /// What the token says, if this tenant's keys signed it. Expiry and audience are for the caller to check.
    ///
    /// # Errors
    /// [`TokenFault::Invalid`] for everything else.
    pub fn verify(&self, tenant: &Tenant, token: &str) -> Result<Arc<Verified>, TokenFault> {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        let known = self.verified().get(&hash).cloned();
        let verified = match known {
            Some(verified) => verified,
            None => {
                let verified = Arc::new(verify(tenant, token)?);
                self.remember(hash, &verified);
                verified
            }
        };
        // A key that was withdrawn, or another tenant's: found out on every request.
        let ours = verified.issuer == tenant.issuer && tenant.keys.contains_key(&verified.kid);
        if ours { Ok(verified) } else { Err(TokenFault::Invalid) }
    }

    fn remember(&self, hash: TokenHash, verified: &Arc<Verified>) {
        let mut known = self.verified();
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        known.insert(hash, Arc::clone(verified));
    }

    fn verified(&self) -> std::sync::MutexGuard<'_, HashMap<TokenHash, Arc<Verified>>> {
        // Entries are inserted whole, so a panic elsewhere leaves the map usable.
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn verify(tenant: &Tenant, token: &str) -> Result<Verified, TokenFault> {
    let invalid = |_| TokenFault::Invalid;
    let header = jsonwebtoken::decode_header(token).map_err(invalid)?;
    let typed =
        header.typ.as_deref().is_some_and(|typ| typ.trim_start_matches("application/").eq_ignore_ascii_case(TYPE));
    let kid = header.kid.ok_or(TokenFault::Invalid)?;
    let key = tenant.keys.get(&kid).ok_or(TokenFault::Invalid)?;
    // No critical extension is understood here (RFC 7515 section 4.1.11).
    if !typed || header.alg != Algorithm::ES256 || header.crit.is_some() {
        return Err(TokenFault::Invalid);
    }
    let claims = jsonwebtoken::decode::<Claims>(token, key, &rules(tenant)).map_err(invalid)?.claims;
    let agent = claims.client_id.parse().map_err(|_| TokenFault::Invalid)?;
    if claims.sub != claims.client_id || claims.iss != tenant.issuer {
        return Err(TokenFault::Invalid);
    }
    // A scope of a later version means nothing here and so allows nothing.
    let scopes = claims.scope.split(' ').filter_map(|scope| scope.parse().ok()).collect();
    Ok(Verified { issuer: claims.iss, kid, agent, audience: claims.aud, expires_at: claims.exp, scopes })
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
