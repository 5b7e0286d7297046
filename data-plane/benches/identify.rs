//! What it costs to know a caller: by a token that is remembered, which is every call but the first, and by one that is
//! seen for the first time. `cargo bench -p tollgate-data-plane --bench identify`.

use std::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Duration, Instant},
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use tollgate_data_plane::{
    endpoint::Target,
    membership::Link,
    policy::{Policies, Shelf, Tenant},
    stage::identify::{Introspector, Tokens},
    telemetry::Metrics,
};
use tollgate_proto::{
    AgentId, AuthorizationId, TeamId, TenantId, UserId,
    policy::v1::{Agent, Revocation, Revocations, TenantPolicy, User, revocation::What},
};
use tonic::transport::Endpoint;
use uuid::Uuid;

const NOW: i64 = 1_800_000_000;
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const RESOURCE: &str = "http://data/t/acme/mcp";
/// Revoked tokens that the one that is looked at is not among.
const REVOKED: usize = 100_000;
/// One reading of the clock for so many calls, so that it does not count.
const CALLS_PER_SAMPLE: u32 = 64;
const SAMPLES: usize = 5_000;
const FIRST_SIGHTS: usize = 2_000;

struct Scene {
    tokens: Tokens,
    policies: Policies,
    metrics: Metrics,
    tenant: Tenant,
    key: EncodingKey,
    agent: AgentId,
    user: UserId,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let scene = Scene::set();
    let known = scene.token();
    scene.call(&known).await;
    let mut remembered = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        let began = Instant::now();
        for _ in 0..CALLS_PER_SAMPLE {
            black_box(scene.call(black_box(&known)).await);
        }
        remembered.push(began.elapsed() / CALLS_PER_SAMPLE);
    }
    let mut first_sights = Vec::with_capacity(FIRST_SIGHTS);
    for _ in 0..FIRST_SIGHTS {
        let token = scene.token();
        let began = Instant::now();
        black_box(scene.call(black_box(&token)).await);
        first_sights.push(began.elapsed());
    }
    report("a remembered token", remembered);
    report("a token at first sight", first_sights);
}

impl Scene {
    fn set() -> Self {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .expect("a key can be made");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).expect("a key");
        let (agent, user, tenant) = (AgentId::new(), UserId::new(), TenantId::new());
        let dir = std::env::temp_dir().join(format!("tollgate-bench-{}", Uuid::now_v7()));
        let shelf = Shelf::open(dir.clone(), dir.join("vault")).expect("a folder");
        shelf.add_revocations(tenant, &revoked(tenant)).expect("the folder is writable");
        let policies = Policies::open(shelf, NOW);
        std::fs::remove_dir_all(dir).expect("the folder is there");
        let channel = Endpoint::from_static("http://127.0.0.1:1").connect_lazy();
        Self {
            tokens: Tokens::new(Introspector::new(Link::over(channel))),
            policies,
            metrics: Metrics::new(),
            tenant: Tenant::read(&policy(tenant, agent, user, pair.public_key().as_ref()), None)
                .expect("a good policy"),
            key: EncodingKey::from_ec_der(pkcs8.as_ref()),
            agent,
            user,
        }
    }

    /// Another token of the agent for the user.
    fn token(&self) -> String {
        let header =
            Header { typ: Some("at+jwt".to_owned()), kid: Some("k1".to_owned()), ..Header::new(Algorithm::ES256) };
        let claims = json!({
            "iss": "http://control/t/acme", "sub": self.user, "client_id": self.agent, "aud": RESOURCE,
            "exp": NOW + 900, "iat": NOW, "jti": Uuid::now_v7(), "gid": AuthorizationId::new(),
            "scope": "files:read files:write search:*",
        });
        jsonwebtoken::encode(&header, &claims, &self.key).expect("a token can be signed")
    }

    /// What is found out about the caller on every request.
    async fn call(&self, token: &str) -> bool {
        let token = self.tokens.resolve(&self.tenant, PEER, token, NOW, &self.metrics).await.expect("a good token");
        let agent = self.tenant.agents.get(token.client_id()).map(Arc::clone).expect("the agent of the policy");
        let user = token.user().and_then(|user| self.tenant.users.get(&user)).map(Arc::clone);
        NOW < token.expires_at()
            && agent.active
            && user.is_some_and(|user| user.active)
            && !self.policies.is_revoked(self.tenant.id, &token.facts(agent.id))
            && self.tenant.is_resource(token.audience(), &Target::All)
    }
}

fn policy(tenant: TenantId, agent: AgentId, user: UserId, public: &[u8]) -> TenantPolicy {
    let (x, y) = (URL_SAFE_NO_PAD.encode(&public[1..33]), URL_SAFE_NO_PAD.encode(&public[33..]));
    let agent = Agent {
        id: agent.to_string(),
        team_id: TeamId::new().to_string(),
        active: true,
        client_id: agent.to_string(),
        ..Agent::default()
    };
    let user = User { id: user.to_string(), email: "ada@example.com".to_owned(), active: true, ..User::default() };
    TenantPolicy {
        tenant_id: tenant.to_string(),
        tenant: "acme".to_owned(),
        issuer: "http://control/t/acme".to_owned(),
        jwks: json!({ "keys": [{ "kty": "EC", "crv": "P-256", "kid": "k1", "x": x, "y": y }] }).to_string(),
        data_url: "http://data".to_owned(),
        agents: vec![agent],
        users: vec![user],
        ..TenantPolicy::default()
    }
}

fn revoked(tenant: TenantId) -> Revocations {
    let entry =
        || Revocation { what: Some(What::Token(Uuid::now_v7().to_string())), issued_before: 0, expires_at: NOW + 900 };
    let entries = std::iter::repeat_with(entry).take(REVOKED).collect();
    Revocations { tenant_id: tenant.to_string(), revision: 1, complete: true, entries }
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: f64| {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "an index"
        )]
        let index = (times.len() as f64 * share) as usize;
        times[index.min(times.len() - 1)]
    };
    println!("{what:<24} p50 {:>10?}   p99 {:>10?}", at(0.5), at(0.99));
}
