//! What a JWT must be (RFC 9068 section 4).

use proptest::prelude::*;

use super::{super::jwt, *};

async fn refused(signer: &Signer, what: &str, token: &str) {
    let resolved = Desk::alone().resolve(&signer.tenant, token).await;
    assert_eq!(resolved.map(drop), Err(INVALID), "{what}");
}

async fn good(signer: &Signer, token: &str) -> Arc<AccessToken> {
    Desk::alone().resolve(&signer.tenant, token).await.expect("a good token")
}

fn with(claims: &Value, name: &str, value: Value) -> Value {
    let mut changed = claims.clone();
    changed[name] = value;
    changed
}

#[tokio::test]
async fn a_token_of_the_tenant_is_verified_and_its_claims_are_read() {
    let signer = signer();
    let token = good(&signer, &signer.token()).await;
    assert_eq!(token.client_id(), signer.agent.to_string());
    assert_eq!(token.user(), None);
    assert_eq!(token.audience(), "http://data/t/acme/mcp");
    assert_eq!(token.scopes().len(), 2, "a scope that means nothing here is left out");
}

#[tokio::test]
async fn a_token_for_a_user_names_the_user_and_the_approval() {
    let signer = signer_for("https://agents.example/bot.json");
    let claims = signer.claims_for_user();
    let token = good(&signer, &signer.sign(&header(), &claims)).await;
    assert_eq!(token.client_id(), "https://agents.example/bot.json");
    assert_eq!(token.user(), Some(signer.user));
    assert_eq!(json!(token.facts(signer.agent).gid), claims["gid"]);
}

#[tokio::test]
async fn one_audience_may_be_a_text_or_a_list_of_one() {
    let signer = signer();
    let listed = with(&signer.claims(), "aud", json!(["http://data/t/acme/mcp"]));
    assert_eq!(good(&signer, &signer.sign(&header(), &listed)).await.audience(), "http://data/t/acme/mcp");
    for aud in [json!([]), json!(["a", "b"]), json!(7), json!({}), Value::Null] {
        let claims = with(&signer.claims(), "aud", aud.clone());
        refused(&signer, &format!("aud {aud}"), &signer.sign(&header(), &claims)).await;
    }
}

#[tokio::test]
async fn a_token_is_refused_when_any_part_of_it_is_not_the_tenants() {
    let ours = signer();
    let claims = ours.claims();
    let for_user = ours.claims_for_user();
    let mut without_jti = claims.clone();
    without_jti.as_object_mut().unwrap().remove("jti");
    let mut without_iat = claims.clone();
    without_iat.as_object_mut().unwrap().remove("iat");
    for (what, changed) in [
        ("of another issuer", with(&claims, "iss", json!("http://control/t/other"))),
        ("of an issuer that begins alike", with(&claims, "iss", json!("http://control/t/acme/"))),
        ("of another subject", with(&claims, "sub", json!("agt_other"))),
        ("of a user without an approval", with(&for_user, "gid", Value::Null)),
        ("of an approval without a user", with(&claims, "gid", for_user["gid"].clone())),
        ("of a user that is none", with(&for_user, "sub", json!("ada"))),
        ("with an id that is none", with(&claims, "jti", json!("7"))),
        ("without an id", without_jti),
        ("without a time of issue", without_iat),
        ("with a time that is no number", with(&claims, "exp", json!("never"))),
    ] {
        refused(&ours, what, &ours.sign(&header(), &changed)).await;
    }
    refused(&ours, "of another key", &signer().sign(&header(), &claims)).await;
    refused(&ours, "of no key", &ours.sign(&Header { kid: None, ..header() }, &claims)).await;
    let unknown = Header { kid: Some("k2".to_owned()), ..header() };
    refused(&ours, "of an unknown key", &ours.sign(&unknown, &claims)).await;
    for text in ["a.b.c", "..", "x", "tgk_admin"] {
        refused(&ours, text, text).await;
    }
}

#[tokio::test]
async fn only_an_access_token_is_one() {
    let signer = signer();
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt"] {
        let typed = Header { typ: Some(typ.to_owned()), ..header() };
        good(&signer, &signer.sign(&typed, &signer.claims())).await;
    }
    for typ in [None, Some("JWT"), Some("application/application/at+jwt"), Some("id+jwt"), Some("")] {
        let typed = Header { typ: typ.map(str::to_owned), ..header() };
        refused(&signer, &format!("{typ:?}"), &signer.sign(&typed, &signer.claims())).await;
    }
}

#[tokio::test]
async fn a_header_chooses_neither_algorithm_nor_key() {
    let (ours, stranger) = (signer(), signer());
    let symmetric = Header { alg: Algorithm::HS256, ..header() };
    let public = serde_json::to_vec(&ours.public).unwrap();
    let forged = jsonwebtoken::encode(&symmetric, &ours.claims(), &EncodingKey::from_secret(&public)).unwrap();
    refused(&ours, "signed with the public key as a secret", &forged).await;

    let (_, rest) = forged.split_once('.').unwrap();
    let payload = rest.split_once('.').unwrap().0;
    for alg in ["none", "None", "RS256", "ES384"] {
        let header = json!({ "alg": alg, "typ": "at+jwt", "kid": "k1" }).to_string();
        refused(&ours, alg, &format!("{}.{payload}.", URL_SAFE_NO_PAD.encode(header))).await;
    }

    let jwk = serde_json::from_value(stranger.public.clone()).unwrap();
    let brings_its_key = Header { jwk: Some(jwk), ..header() };
    refused(&ours, "with a key of its own", &stranger.sign(&brings_its_key, &ours.claims())).await;
    let points_to_keys =
        Header { jku: Some("https://evil.example/keys".to_owned()), x5u: Some("x".to_owned()), ..header() };
    refused(&ours, "that points to keys", &stranger.sign(&points_to_keys, &ours.claims())).await;
    good(&ours, &ours.sign(&points_to_keys, &ours.claims())).await;
}

#[tokio::test]
async fn what_a_token_calls_critical_is_not_understood() {
    let signer = signer();
    for extension in ["exp", "b64", "http://example.com/x"] {
        let critical = Header { crit: Some(vec![extension.to_owned()]), ..header() };
        refused(&signer, extension, &signer.sign(&critical, &signer.claims())).await;
    }
}

#[tokio::test]
async fn a_token_of_the_future_has_five_seconds_of_grace() {
    let signer = signer();
    for (claim, seconds, is_good) in [("iat", 5, true), ("iat", 6, false), ("nbf", 5, true), ("nbf", 6, false)] {
        let claims = with(&signer.claims(), claim, json!(NOW + seconds));
        let resolved = Desk::alone().resolve(&signer.tenant, &signer.sign(&header(), &claims)).await;
        assert_eq!(resolved.is_ok(), is_good, "{claim} + {seconds}");
    }
}

#[tokio::test]
async fn an_expired_token_is_told_so_from_the_second_it_expires() {
    let signer = signer();
    let token = signer.token();
    let desk = Desk::alone();
    assert_eq!(
        desk.resolve_from(&signer.tenant, PEER, &token, NOW + 900).await,
        Err(Unresolved::Fault(TokenFault::Expired))
    );
    assert!(Desk::alone().resolve_from(&signer.tenant, PEER, &token, NOW + 899).await.is_ok());
}

#[tokio::test]
async fn a_remembered_token_is_refused_once_its_key_is_withdrawn() {
    let mut signer = signer();
    let (desk, token) = (Desk::alone(), signer.token());
    assert!(desk.resolve(&signer.tenant, &token).await.is_ok());
    let keys = std::mem::take(&mut signer.tenant.keys);
    assert_eq!(desk.resolve(&signer.tenant, &token).await, Err(INVALID));
    signer.tenant.keys = keys;
    assert!(desk.resolve(&signer.tenant, &token).await.is_ok());
}

#[tokio::test]
async fn a_token_of_one_tenant_is_nothing_at_another_and_stays_good_at_its_own() {
    let (ours, mut other) = (signer(), signer());
    other.tenant.keys.clone_from(&ours.tenant.keys);
    let token = ours.token();
    for other_first in [true, false] {
        let desk = Desk::alone();
        if other_first {
            other.tenant.issuer = "http://control/t/other".to_owned();
            assert_eq!(desk.resolve(&other.tenant, &token).await, Err(INVALID));
        }
        assert!(desk.resolve(&ours.tenant, &token).await.is_ok());
        // Even a tenant of the same issuer and keys is another.
        other.tenant.issuer = ISSUER.to_owned();
        assert_eq!(desk.resolve(&other.tenant, &token).await, Err(INVALID), "first: {other_first}");
    }
}

/// Something like a token: three parts that are JSON, random bytes, or no base64 at all.
fn tokenish() -> impl Strategy<Value = String> {
    let words = ["alg", "ES256", "none", "typ", "at+jwt", "kid", "crit", "iss", "sub", "aud", "exp", "jwk", "k1"];
    let word = proptest::sample::select(words.to_vec());
    let member = (word.clone(), prop_oneof![word.prop_map(|it| json!(it)), any::<i64>().prop_map(|it| json!(it))]);
    let object = proptest::collection::btree_map(member.0, member.1, 0..6).prop_map(|it| json!(it).to_string());
    let bytes = prop_oneof![object.prop_map(String::into_bytes), proptest::collection::vec(any::<u8>(), 0..60)];
    let part = prop_oneof![4 => bytes.prop_map(|it| URL_SAFE_NO_PAD.encode(it)), 1 => any::<String>()];
    proptest::collection::vec(part, 0..5).prop_map(|parts| parts.join("."))
}

proptest! {
    #[test]
    fn no_text_is_too_strange_to_be_refused(text in prop_oneof![any::<String>(), tokenish()]) {
        prop_assert_eq!(jwt::verify(&signer().tenant, &text, 0).map(drop), Err(TokenFault::Invalid));
    }

    #[test]
    fn a_token_with_one_character_changed_is_none(at in any::<proptest::sample::Index>(), to in "[A-Za-z0-9_.-]") {
        let signer = signer();
        let token = signer.token();
        let at = at.index(token.len());
        prop_assume!(token[at..=at] != to);
        let changed = format!("{}{to}{}", &token[..at], &token[at + 1..]);
        let last = changed.len() - 1;
        // The last character of a signature holds four bits that mean nothing; a strict reader wants them to be zero.
        let same_bits = at == last && URL_SAFE_NO_PAD.decode(changed.rsplit('.').next().unwrap_or_default()).is_ok();
        let verified = jwt::verify(&signer.tenant, &changed, chrono::Utc::now().timestamp());
        prop_assert!(verified.is_err() || same_bits, "{changed}");
    }
}
