//! Stage 3, identify: from a bearer token to the agent that holds it, and the user that it acts for.
//!
//! Invariant: expiry, audience, issuer key, revocations and the states of agent and user are checked on every request,
//! whatever is remembered of the token; the token's text is kept nowhere, only its hash.

mod access_token;
mod cache;
mod introspector;
mod jwt;
mod reach;
mod strangers;
mod tokens;

use std::{net::IpAddr, sync::Arc};

use http::{HeaderMap, header::AUTHORIZATION};
use tollgate_proto::{
    Name, Scope, ServerId, UserId,
    access::{Asker, Desk, Item, Kind},
    normal_uri,
};

use crate::{
    call::Call,
    endpoint::Target,
    gateway::Gateway,
    policy::{Agent, Policies, Server, Snapshot, Team, Tenant, Toolset, User},
    refusal::{Challenge, Refusal, TokenFault},
    stage::read::Read,
    upstream::{Observed, observed::Glance},
};

pub use access_token::AccessToken;
pub use introspector::Introspector;
pub use reach::Reach;
pub use tokens::{Tokens, Unresolved};

/// Longer texts are no token of ours.
const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Evidence of who asks, for which tenant, at which endpoint.
#[derive(Debug, Clone)]
pub struct Caller {
    tenant: Arc<Tenant>,
    agent: Arc<Agent>,
    user: Option<Arc<User>>,
    reach: Reach,
    token: Arc<AccessToken>,
    peer: IpAddr,
    observed: Arc<Observed>,
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

    /// For whom the agent acts; none: for itself.
    #[must_use]
    pub fn user(&self) -> Option<UserId> {
        self.user.as_ref().map(|user| user.id)
    }

    /// The team that pays: the user's, where they have one.
    #[must_use]
    pub fn team(&self) -> &Team {
        self.user.as_ref().and_then(|user| user.team.as_ref()).unwrap_or(&self.agent.team)
    }

    /// What the endpoint leads to.
    #[must_use]
    pub const fn reach(&self) -> &Reach {
        &self.reach
    }

    /// The server of a single-server endpoint.
    #[must_use]
    pub const fn server(&self) -> Option<&Arc<Server>> {
        match &self.reach {
            Reach::Server(server) => Some(server),
            Reach::Everything | Reach::Toolset(_) => None,
        }
    }

    /// The toolset of a toolset's endpoint.
    #[must_use]
    pub const fn toolset(&self) -> Option<&Arc<Toolset>> {
        match &self.reach {
            Reach::Toolset(toolset) => Some(toolset),
            Reach::Everything | Reach::Server(_) => None,
        }
    }

    /// The servers that the endpoint stands for, in the order of their names.
    pub fn servers(&self) -> impl Iterator<Item = &Arc<Server>> {
        self.tenant.servers.values().filter(|server| self.reach.has_server(&server.name))
    }

    /// What it has to do with a server, at `now` in unix seconds. It is the same at every endpoint.
    #[must_use]
    pub fn desk<'a>(&'a self, server: &'a Name, now: i64) -> Desk<'a, 'a> {
        let asker = Asker {
            agent: self.agent.id,
            role: self.user.as_ref().map(|user| &*user.role),
            token: self.token.scopes(),
            peer: Some(self.peer),
            now,
        };
        self.tenant.book.desk(asker, server)
    }

    /// The digest of the definition that this data plane last saw a server give of something.
    #[must_use]
    pub fn observed(&self, server: &Name, item: Item<'_>) -> Option<[u8; 32]> {
        let glance = self.glance(server, item.kind)?;
        // However the caller writes a URI, what is known of it is known as its server writes it.
        let as_compared = || (item.kind == Kind::Resource).then(|| glance.digest(&normal_uri(item.name))).flatten();
        glance.digest(item.name).or_else(as_compared)
    }

    /// What this data plane last saw a server give of its items of this kind.
    #[must_use]
    pub fn glance(&self, server: &Name, kind: Kind) -> Option<Glance> {
        Some(self.observed.glance(self.tenant.servers.get(server)?.id, kind))
    }

    /// The endpoint's URL: the resource that the token is for.
    #[must_use]
    pub fn resource(&self) -> String {
        self.tenant.resource(&self.reach.target())
    }

    /// What a refusal says about getting `scope`, or no scope where asking would be in vain.
    #[must_use]
    pub fn challenge(&self, scope: Option<Scope>) -> Box<Challenge> {
        Box::new(Challenge { resource_metadata: self.tenant.resource_metadata(&self.reach.target()), scope })
    }
}

/// Finds out what the token says, whose it is, and whether it is good here and now.
///
/// # Errors
/// When the tenant, server or toolset does not exist, the token is not good for this endpoint now, or that cannot be told.
pub async fn identify(call: &mut Call, gateway: &Gateway, snapshot: &Snapshot, read: &Read) -> Result<Caller, Refusal> {
    let endpoint = read.endpoint();
    let tenant = snapshot.tenant(&endpoint.tenant).ok_or(Refusal::TenantUnknown)?;
    let refused = |fault| Refusal::Unauthenticated { fault, challenge: challenge(tenant, &endpoint.target) };
    let presented = bearer(read.headers())?.map_err(refused)?;
    let token = gateway.tokens.resolve(tenant, call.peer(), presented, gateway.now(), &gateway.metrics).await;
    let token = token.map_err(|unresolved| match unresolved {
        Unresolved::Fault(fault) => refused(fault),
        Unresolved::Unavailable => Refusal::IntrospectionUnavailable,
        Unresolved::TooManyStrangers => Refusal::TooManyStrangers,
    })?;
    let holder = Holder::of(tenant, &token);
    if let Some(agent) = &holder.agent {
        call.agent(agent);
    }
    if let Some(user) = &holder.user {
        call.user(user);
    }
    // By the clock of now: the body and the control plane may have taken their time.
    if gateway.now() >= token.expires_at() {
        return Err(refused(TokenFault::Expired));
    }
    let (agent, user) = holder.standing(tenant, &token, &gateway.policies).map_err(refused)?;
    let reach = Reach::of(tenant, &endpoint.target)?;
    if let Reach::Toolset(toolset) = &reach {
        call.span().at_toolset(toolset.name.as_str());
    }
    if !tenant.is_resource(token.audience(), &endpoint.target) {
        return Err(refused(TokenFault::Audience));
    }
    let observed = Arc::clone(gateway.upstreams.observed());
    Ok(Caller { tenant: Arc::clone(tenant), agent, user, reach, token, peer: call.peer(), observed })
}

/// Looks again at a caller whose answer is still under way: the same caller by the policy and the revocations of now.
/// That the token's time ran out meanwhile ends nothing that was begun in time, nor does it that its key was retired: a
/// key that is no longer trusted is revoked.
///
/// # Errors
/// When the tenant, server or toolset is gone, or the token was revoked.
pub fn identify_again(caller: &Caller, snapshot: &Snapshot, policies: &Policies) -> Result<Caller, Refusal> {
    let tenant = snapshot.tenant(&caller.tenant.name).filter(|tenant| tenant.id == caller.tenant.id);
    let tenant = tenant.ok_or(Refusal::TenantUnknown)?;
    let token = Arc::clone(&caller.token);
    let refused = |fault| Refusal::Unauthenticated { fault, challenge: caller.challenge(None) };
    let (agent, user) = Holder::of(tenant, &token).standing(tenant, &token, policies).map_err(refused)?;
    let reach = Reach::of(tenant, &caller.reach.target())?;
    let (tenant, observed) = (Arc::clone(tenant), Arc::clone(&caller.observed));
    Ok(Caller { tenant, agent, user, reach, token, peer: caller.peer, observed })
}

/// Whose token it is, as far as the policy knows them.
struct Holder {
    agent: Option<Arc<Agent>>,
    user: Option<Arc<User>>,
}

impl Holder {
    fn of(tenant: &Tenant, token: &AccessToken) -> Self {
        let user = token.user().and_then(|user| tenant.users.get(&user));
        Self { agent: tenant.agents.get(token.client_id()).cloned(), user: user.cloned() }
    }

    /// Both, where they may act and nothing that the token depends on was revoked.
    fn standing(
        self,
        tenant: &Tenant,
        token: &AccessToken,
        policies: &Policies,
    ) -> Result<(Arc<Agent>, Option<Arc<User>>), TokenFault> {
        let agent = self.agent.filter(|agent| agent.active).ok_or(TokenFault::Revoked)?;
        let user = self.user.filter(|user| user.active);
        let missing = token.user().is_some() && user.is_none();
        if missing || policies.is_revoked(tenant.id, &token.facts(agent.id)) {
            return Err(TokenFault::Revoked);
        }
        Ok((agent, user))
    }
}

/// Before anything is known of the caller, the widest scope of the endpoint is named; the authorization server narrows
/// it to what is granted. The servers behind an endpoint of several are not for strangers to know.
fn challenge(tenant: &Tenant, target: &Target) -> Box<Challenge> {
    Box::new(Challenge { resource_metadata: tenant.resource_metadata(target), scope: target.scope() })
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
pub(in crate::stage) mod tests;
