use std::collections::{BTreeMap, HashMap};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde_json::{Value, json};
use tollgate_proto::{AgentId, TenantId};

use super::token::TokenCache;
use crate::{
    policy::{Egress, Tenant},
    refusal::TokenFault,
};

const ISSUER: &str = "http://control/t/acme";

/// A tenant and the private half of its only key.
struct Signer {
    key: EncodingKey,
    tenant: Tenant,
}

fn signer(kid: &str) -> Signer {
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
    let point = &pair.public_key().as_ref()[1..];
    let coordinate = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let public = DecodingKey::from_ec_components(&coordinate(&point[..32]), &coordinate(&point[32..])).unwrap();
    let tenant = Tenant {
        id: TenantId::new(),
        name: "acme".parse().unwrap(),
        revision: 1,
        digest: String::new(),
        epoch: String::new(),
        issuer: ISSUER.to_owned(),
        keys: HashMap::from([(kid.to_owned(), public)]),
        data_url: "http://data".to_owned(),
        egress: Egress::default(),
        agents: HashMap::new(),
        servers: BTreeMap::new(),
    };
    Signer { key: EncodingKey::from_ec_der(pkcs8.as_ref()), tenant }
}

fn header(kid: &str) -> Header {
    Header { typ: Some("at+jwt".to_owned()), kid: Some(kid.to_owned()), ..Header::new(Algorithm::ES256) }
}

fn claims(agent: AgentId) -> Value {
    json!({
        "iss": ISSUER, "sub": agent, "client_id": agent, "aud": "http://data/t/acme/mcp",
        "exp": 4_000_000_000_i64, "iat": 1, "jti": "j", "scope": "demo:echo later:form@x demo:*",
    })
}

fn sign(signer: &Signer, header: &Header, claims: &Value) -> String {
    jsonwebtoken::encode(header, claims, &signer.key).unwrap()
}

#[test]
fn a_token_of_the_tenant_is_verified_and_its_claims_are_read() {
    let (signer, agent) = (signer("k1"), AgentId::new());
    let token = sign(&signer, &header("k1"), &claims(agent));
    let verified = TokenCache::default().verify(&signer.tenant, &token).unwrap();
    assert_eq!(verified.agent(), agent);
    assert_eq!(verified.audience(), "http://data/t/acme/mcp");
    assert_eq!(verified.scopes().len(), 3);
}

#[test]
fn a_token_is_refused_when_any_part_of_it_is_not_the_tenants() {
    let (ours, agent) = (signer("k1"), AgentId::new());
    let good = claims(agent);
    let with = |name: &str, value: Value| {
        let mut changed = good.clone();
        changed[name] = value;
        changed
    };
    let untyped = Header { typ: None, ..header("k1") };
    let plain = Header { typ: Some("JWT".to_owned()), ..header("k1") };
    let critical = Header { crit: Some(vec!["exp".to_owned()]), ..header("k1") };
    let refused = [
        ("of another key", sign(&signer("k1"), &header("k1"), &good)),
        ("of an unknown kid", sign(&ours, &header("k2"), &good)),
        ("without a type", sign(&ours, &untyped, &good)),
        ("of another type", sign(&ours, &plain, &good)),
        ("with a critical extension", sign(&ours, &critical, &good)),
        ("of another issuer", sign(&ours, &header("k1"), &with("iss", json!("http://control/t/other")))),
        ("of another subject", sign(&ours, &header("k1"), &with("sub", json!("agt_other")))),
        ("of no agent", sign(&ours, &header("k1"), &with("client_id", json!("nobody")))),
        ("with two audiences", sign(&ours, &header("k1"), &with("aud", json!(["a", "b"])))),
        ("that is no token", "a.b.c".to_owned()),
    ];
    for (what, token) in refused {
        let verified = TokenCache::default().verify(&ours.tenant, &token);
        assert_eq!(verified.map(drop), Err(TokenFault::Invalid), "{what}");
    }
}

#[test]
fn an_algorithm_that_the_header_chooses_is_refused() {
    let (ours, agent) = (signer("k1"), AgentId::new());
    let symmetric =
        Header { typ: Some("at+jwt".to_owned()), kid: Some("k1".to_owned()), ..Header::new(Algorithm::HS256) };
    let forged = jsonwebtoken::encode(&symmetric, &claims(agent), &EncodingKey::from_secret(b"public key")).unwrap();
    assert_eq!(TokenCache::default().verify(&ours.tenant, &forged).map(drop), Err(TokenFault::Invalid));
    let parts = sign(&ours, &header("k1"), &claims(agent));
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"at+jwt","kid":"k1"}"#);
    let (_, rest) = parts.split_once('.').unwrap();
    let unsigned = format!("{none}.{}.", rest.split_once('.').unwrap().0);
    assert_eq!(TokenCache::default().verify(&ours.tenant, &unsigned).map(drop), Err(TokenFault::Invalid));
}

#[test]
fn a_remembered_token_is_refused_once_its_key_is_withdrawn() {
    let (mut ours, agent) = (signer("k1"), AgentId::new());
    let token = sign(&ours, &header("k1"), &claims(agent));
    let cache = TokenCache::default();
    assert!(cache.verify(&ours.tenant, &token).is_ok());
    ours.tenant.keys.clear();
    assert_eq!(cache.verify(&ours.tenant, &token).map(drop), Err(TokenFault::Invalid));
}

#[test]
fn a_remembered_token_of_one_tenant_is_nothing_at_another() {
    let (ours, agent) = (signer("k1"), AgentId::new());
    let token = sign(&ours, &header("k1"), &claims(agent));
    let cache = TokenCache::default();
    assert!(cache.verify(&ours.tenant, &token).is_ok());
    let mut other = signer("k1");
    other.tenant.issuer = "http://control/t/other".to_owned();
    assert_eq!(cache.verify(&other.tenant, &token).map(drop), Err(TokenFault::Invalid));
}
