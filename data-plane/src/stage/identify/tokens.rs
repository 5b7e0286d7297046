//! From the text of a token to what it says, at the least expense: remembered, verified, or introspected.
//!
//! Invariant: what comes out is a token of the tenant; whether it is in time, for this endpoint and not revoked is found
//! out on every request, by [`identify`](super::identify).

use std::{net::IpAddr, sync::Arc};

use super::{
    access_token::AccessToken,
    cache::{Cache, TokenDigest},
    introspector::{Introspector, Unavailable},
    jwt,
    strangers::{Effort, Strangers},
};
use crate::{
    policy::Tenant,
    refusal::TokenFault,
    telemetry::metrics::{Introspected, Lookup, Metrics},
};

/// What opaque access tokens begin with, and how long they are: the prefix, 32 bytes in base64url, a checksum.
const OPAQUE_PREFIX: &str = "tga_";
const OPAQUE_BYTES: usize = OPAQUE_PREFIX.len() + 43 + 6;

/// Every token that this data plane knows something about.
#[derive(Debug)]
pub struct Tokens {
    good: Cache,
    strangers: Strangers,
    pub(super) introspector: Introspector,
}

/// Why it is not known what a token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unresolved {
    /// It is no good token.
    Fault(TokenFault),
    /// The control plane would have to be asked, and does not answer.
    Unavailable,
    /// Its sender has sent too much that was no token.
    TooManyStrangers,
}

impl Tokens {
    /// None yet; opaque ones will be introspected there.
    #[must_use]
    pub fn new(introspector: Introspector) -> Self {
        Self { good: Cache::default(), strangers: Strangers::default(), introspector }
    }

    /// How many good tokens are remembered.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.good.len()
    }

    /// What the token says. `peer` is who sent it, `now` in unix seconds.
    ///
    /// # Errors
    /// When it is no good token of the tenant, or that cannot be told now.
    pub async fn resolve(
        &self,
        tenant: &Tenant,
        peer: IpAddr,
        token: &str,
        now: i64,
        metrics: &Metrics,
    ) -> Result<Arc<AccessToken>, Unresolved> {
        let digest = TokenDigest::of(token);
        if let Some(known) = self.good.get(&digest) {
            metrics.looked_up(Lookup::Hit);
            return if known.is_of(tenant) { Ok(known) } else { Err(Unresolved::Fault(TokenFault::Invalid)) };
        }
        metrics.looked_up(Lookup::Miss);
        if let Some(fault) = self.strangers.verdict(tenant, digest, now) {
            return Err(Unresolved::Fault(fault));
        }
        let effort = if is_opaque(token) { Effort::Introspect } else { Effort::Verify };
        if !self.strangers.spend(peer, effort, now) {
            return Err(Unresolved::TooManyStrangers);
        }
        let found = match effort {
            Effort::Verify => jwt::verify(tenant, token, now),
            Effort::Introspect => self.introspect(tenant, digest, metrics).await.map_err(|Unavailable| {
                // Nothing is known against it.
                self.strangers.give_back(peer, effort, now);
                Unresolved::Unavailable
            })?,
        };
        match found.and_then(|token| if now < token.expires_at() { Ok(token) } else { Err(TokenFault::Expired) }) {
            Ok(token) => {
                let token = Arc::new(token);
                self.strangers.give_back(peer, effort, now);
                self.good.insert(digest, &token, now);
                Ok(token)
            }
            Err(fault) => {
                self.strangers.remember(tenant, digest, fault, now);
                Err(Unresolved::Fault(fault))
            }
        }
    }

    async fn introspect(
        &self,
        tenant: &Tenant,
        digest: TokenDigest,
        metrics: &Metrics,
    ) -> Result<Result<AccessToken, TokenFault>, Unavailable> {
        let answer = self.introspector.ask(tenant.id, digest).await.inspect_err(|_| {
            metrics.introspected(Introspected::Failed);
        })?;
        let Some(token) = answer else {
            metrics.introspected(Introspected::Inactive);
            return Ok(Err(TokenFault::Invalid));
        };
        metrics.introspected(Introspected::Active);
        Ok(AccessToken::introspected(tenant.id, token))
    }
}

fn is_opaque(token: &str) -> bool {
    token.len() == OPAQUE_BYTES && token.starts_with(OPAQUE_PREFIX)
}
