//! Stage 3, identify: from a bearer token to the agent that holds it.
//!
//! Invariant: expiry, audience, issuer key and the agent's state are checked on every request, whatever the cache
//! holds; the token's text is kept nowhere, only its hash.

mod token;

use std::sync::Arc;

use http::{HeaderMap, header::AUTHORIZATION};
use tollgate_proto::{Scope, ServerId};

use crate::{
    call::Call,
    endpoint::Endpoint,
    policy::{Agent, Server, Snapshot, Tenant},
    refusal::{Challenge, Refusal, TokenFault},
    stage::read::Read,
};

pub use token::TokenCache;

/// Longer texts are no token of ours.
const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Evidence of who asks, for which tenant, at which endpoint.
#[derive(Debug, Clone)]
pub struct Caller {
    tenant: Arc<Tenant>,
    agent: Arc<Agent>,
    server: Option<Arc<Server>>,
    scopes: Arc<[Scope]>,
}

impl Caller {
    /// The tenant whose token it is.
    #[must_use]
    pub const fn tenant(&self) -> &Arc<Tenant> {
        &self.tenant
    }

    /// Who asks.
    #[must_use]
    pub const fn agent(&self) -> &Arc<Agent> {
        &self.agent
    }

    /// The server of a single-server endpoint.
    #[must_use]
    pub const fn server(&self) -> Option<&Arc<Server>> {
        self.server.as_ref()
    }

    /// What the token carries.
    #[must_use]
    pub fn scopes(&self) -> &[Scope] {
        &self.scopes
    }

    /// The endpoint's URL: the resource that the token is for.
    #[must_use]
    pub fn resource(&self) -> String {
        self.tenant.resource(self.server.as_ref().map(|server| &server.name))
    }

    /// What a refusal says about getting `scope`, or no scope where asking would be in vain.
    #[must_use]
    pub fn challenge(&self, scope: Option<Scope>) -> Challenge {
        let server = self.server.as_ref().map(|server| &server.name);
        Challenge { resource_metadata: self.tenant.resource_metadata(server), scope }
    }
}

/// Verifies the token and finds its agent.
///
/// # Errors
/// When the tenant or server does not exist, or the token is not good for this endpoint now.
pub fn identify(
    call: &mut Call,
    tokens: &TokenCache,
    snapshot: &Snapshot,
    read: &Read,
    now: i64,
) -> Result<Caller, Refusal> {
    let endpoint = read.endpoint();
    let tenant = snapshot.tenant(&endpoint.tenant).ok_or(Refusal::TenantUnknown)?;
    let refused = |fault| Refusal::Unauthenticated { fault, challenge: challenge(tenant, endpoint) };
    let presented = bearer(read.headers())?.map_err(refused)?;
    let verified = tokens.verify(tenant, presented).map_err(refused)?;
    if now >= verified.expires_at() {
        return Err(refused(TokenFault::Expired));
    }
    let agent = tenant.agents.get(&verified.agent()).filter(|agent| agent.active);
    let agent = Arc::clone(agent.ok_or_else(|| refused(TokenFault::Revoked))?);
    call.agent(&agent);
    let server = match &endpoint.server {
        Some(name) => Some(Arc::clone(tenant.servers.get(name).ok_or(Refusal::ServerUnknown)?)),
        None => None,
    };
    if verified.audience() != tenant.resource(endpoint.server.as_ref()) {
        return Err(refused(TokenFault::Audience));
    }
    Ok(Caller { tenant: Arc::clone(tenant), agent, server, scopes: verified.scopes() })
}

/// Before anything is known of the caller, the widest scope of a single server is named; the authorization server
/// narrows it to what is granted. The servers behind a federated endpoint are not for strangers to know.
fn challenge(tenant: &Tenant, endpoint: &Endpoint) -> Challenge {
    Challenge {
        resource_metadata: tenant.resource_metadata(endpoint.server.as_ref()),
        scope: endpoint.server.clone().map(|server| Scope::Server { server }),
    }
}

/// The one `Authorization: Bearer` header (RFC 6750 section 2.1; the scheme is case-insensitive).
fn bearer(headers: &HeaderMap) -> Result<Result<&str, TokenFault>, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(Err(TokenFault::Missing)),
        (Some(value), None) => Ok(value.to_str().map_err(|_| TokenFault::Invalid).and_then(token)),
        (Some(_), Some(_)) => Err(Refusal::AuthorizationRepeated),
    }
}

fn token(value: &str) -> Result<&str, TokenFault> {
    let (scheme, token) = value.trim().split_once(' ').ok_or(TokenFault::Missing)?;
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(TokenFault::Missing);
    }
    if token.len() > TOKEN_BYTES_MAX { Err(TokenFault::Invalid) } else { Ok(token) }
}

/// So that a stage's evidence names the server that it speaks of.
impl Caller {
    /// The server that a slug names.
    #[must_use]
    pub fn server_by_id(&self, id: ServerId) -> Option<&Arc<Server>> {
        self.tenant.servers.values().find(|server| server.id == id)
    }
}

#[cfg(test)]
mod tests;
