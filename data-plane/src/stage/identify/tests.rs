//! Tokens made with real keys, resolved by the real cache, and a control plane on a real socket to introspect.

mod introspection;
mod jwt;
mod standing;
mod strangers;

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde_json::{Value, json};
use tollgate_proto::{AgentId, AuthorizationId, Scope, TeamId, TenantId, UserId, access::Book};
use tonic::transport::Endpoint;
use uuid::Uuid;

use super::{
    Caller, Reach,
    access_token::AccessToken,
    introspector::Introspector,
    tokens::{Tokens, Unresolved},
};
use crate::{
    membership::Link,
    policy::{Agent, Budgets, Egress, Limits, Staleness, Team, Tenant, Toolsets, User, Via},
    refusal::TokenFault,
    seal::SealingKeys,
    telemetry::Metrics,
    upstream::Observed,
};

const ISSUER: &str = "http://control/t/acme";
const NOW: i64 = 1_800_000_000;
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const INVALID: Unresolved = Unresolved::Fault(TokenFault::Invalid);

/// A tenant with one agent and one user, and the private half of its only key.
struct Signer {
    key: EncodingKey,
    public: Value,
    tenant: Tenant,
    agent: AgentId,
    client_id: String,
    user: UserId,
}

fn signer() -> Signer {
    signer_for("agt")
}

/// The agent's `client_id` is its id, or the URL given.
fn signer_for(client_id: &str) -> Signer {
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
    let point = &pair.public_key().as_ref()[1..];
    let (x, y) = (URL_SAFE_NO_PAD.encode(&point[..32]), URL_SAFE_NO_PAD.encode(&point[32..]));
    let public = json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y });
    let decoding = DecodingKey::from_ec_components(&x, &y).unwrap();
    let (agent, user) = (AgentId::new(), UserId::new());
    let client_id = if client_id == "agt" { agent.to_string() } else { client_id.to_owned() };
    let tenant = tenant(decoding, agent, &client_id, user);
    Signer { key: EncodingKey::from_ec_der(pkcs8.as_ref()), public, tenant, agent, client_id, user }
}

fn tenant(key: DecodingKey, agent: AgentId, client_id: &str, user: UserId) -> Tenant {
    let team = Team { id: TeamId::new(), name: "platform".to_owned(), cost_center: String::new() };
    let agent = Agent {
        labels: BTreeMap::new(),
        id: agent,
        client_id: client_id.to_owned(),
        name: "bot".to_owned(),
        team,
        active: true,
    };
    let user =
        User { id: user, email: "ada@example.com".to_owned(), team: None, role: "operator".into(), active: true };
    Tenant {
        id: TenantId::new(),
        name: "acme".parse().unwrap(),
        revision: 1,
        digest: String::new(),
        epoch: String::new(),
        issuer: ISSUER.to_owned(),
        keys: HashMap::from([("k1".to_owned(), key)]),
        data_url: "http://data".to_owned(),
        via: Via::of("http://data"),
        egress: Egress::default(),
        agents: HashMap::from([(client_id.to_owned(), Arc::new(agent))]),
        users: HashMap::from([(user.id, Arc::new(user))]),
        servers: BTreeMap::new(),
        toolsets: Toolsets::default(),
        book: Book::default(),
        limits: Limits::default(),
        budgets: Budgets::default(),
        sealing: SealingKeys::default(),
        passed_headers: Vec::new(),
        staleness: Staleness::default(),
    }
}

/// The agent of a tenant that `arrange` has furnished, at an endpoint, with a token of these scopes.
pub(in crate::stage) fn caller(
    reach: Reach,
    scopes: Arc<[Scope]>,
    arrange: impl FnOnce(&mut Tenant, &mut Agent),
) -> Caller {
    let Signer { mut tenant, client_id, .. } = signer();
    let mut held = Arc::into_inner(tenant.agents.remove(&client_id).unwrap()).unwrap();
    arrange(&mut tenant, &mut held);
    let token = AccessToken {
        tenant: tenant.id,
        signed: None,
        jti: Uuid::now_v7(),
        client_id,
        acts_for: None,
        audience: tenant.resource(&reach.target()),
        issued_at: NOW,
        expires_at: NOW + 900,
        scopes,
    };
    let (tenant, agent, token) = (Arc::new(tenant), Arc::new(held), Arc::new(token));
    Caller { tenant, agent, user: None, reach, token, peer: PEER, observed: Arc::default() }
}

/// What the data plane has observed by which this caller is judged.
pub(in crate::stage) fn observed(caller: &Caller) -> &Observed {
    &caller.observed
}

fn header() -> Header {
    Header { typ: Some("at+jwt".to_owned()), kid: Some("k1".to_owned()), ..Header::new(Algorithm::ES256) }
}

impl Signer {
    /// Of the agent for itself.
    fn claims(&self) -> Value {
        json!({
            "iss": ISSUER, "sub": self.client_id, "client_id": self.client_id, "aud": "http://data/t/acme/mcp",
            "exp": NOW + 900, "iat": NOW, "jti": Uuid::now_v7(), "scope": "demo:echo later:@form demo:*",
        })
    }

    /// Of the agent for the user.
    fn claims_for_user(&self) -> Value {
        let mut claims = self.claims();
        claims["sub"] = json!(self.user);
        claims["gid"] = json!(AuthorizationId::new());
        claims
    }

    fn token(&self) -> String {
        self.sign(&header(), &self.claims())
    }

    fn sign(&self, header: &Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, &self.key).unwrap()
    }
}

/// Tokens with what resolves them.
struct Desk {
    tokens: Tokens,
    metrics: Metrics,
}

impl Desk {
    /// Where nobody can be asked about opaque tokens.
    fn alone() -> Self {
        Self::at("http://127.0.0.1:1")
    }

    /// Where this control plane is asked.
    fn at(url: &str) -> Self {
        let channel = Endpoint::from_shared(url.to_owned()).unwrap().connect_lazy();
        let introspector = Introspector::new(Link::over(channel));
        Self { tokens: Tokens::new(introspector), metrics: Metrics::new() }
    }

    async fn resolve(&self, tenant: &Tenant, token: &str) -> Result<Arc<AccessToken>, Unresolved> {
        self.resolve_from(tenant, PEER, token, NOW).await
    }

    async fn resolve_from(
        &self,
        tenant: &Tenant,
        peer: IpAddr,
        token: &str,
        now: i64,
    ) -> Result<Arc<AccessToken>, Unresolved> {
        self.tokens.resolve(tenant, peer, token, now, &self.metrics).await
    }
}
