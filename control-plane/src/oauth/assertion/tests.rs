use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::oauth::testing::Signer;

const CLIENT: &str = "https://client.example/oauth.json";
const ISSUER: &str = "https://h/t/acme";
const ENDPOINT: &str = "https://h/t/acme/oauth/token";
const NOW: i64 = 1_800_000_000;
const EXPECTED: Expected<'static> =
    Expected { client_id: CLIENT, alg: None, issuer: ISSUER, token_endpoint: Some(ENDPOINT), now: NOW };

fn claims() -> Value {
    json!({ "iss": CLIENT, "sub": CLIENT, "aud": ISSUER, "exp": NOW + 300, "iat": NOW, "jti": "one" })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn keys(signer: &Signer) -> KeySet {
    KeySet::parse(&signer.jwks()).expect("a key set")
}

fn judge(text: &str, expected: &Expected<'_>, keys: &KeySet) -> Result<String, AssertionFault> {
    let assertion = Assertion::read(text)?;
    assertion.accept(expected, keys).map(|accepted| accepted.audience.to_owned())
}

fn judge_claims(claims: &Value) -> Result<String, AssertionFault> {
    let signer = Signer::new(SigningAlg::Es256, "k");
    judge(&signer.jwt(claims), &EXPECTED, &keys(&signer))
}

#[test]
fn every_algorithm_is_accepted_from_a_key_that_fits_it() {
    for alg in [SigningAlg::Es256, SigningAlg::Rs256, SigningAlg::Ps256, SigningAlg::EdDsa] {
        let signer = Signer::new(alg, "k");
        assert_eq!(judge(&signer.jwt(&claims()), &EXPECTED, &keys(&signer)).as_deref(), Ok(ISSUER), "{alg:?}");
        let registered = Expected { alg: Some(alg), ..EXPECTED };
        assert!(judge(&signer.jwt(&claims()), &registered, &keys(&signer)).is_ok(), "{alg:?}");
    }
}

#[test]
fn the_registered_algorithm_wins() {
    let signer = Signer::new(SigningAlg::Rs256, "k");
    let registered = Expected { alg: Some(SigningAlg::Ps256), ..EXPECTED };
    assert_eq!(judge(&signer.jwt(&claims()), &registered, &keys(&signer)), Err(AssertionFault::Algorithm));
}

#[test]
fn the_issuer_is_an_audience_and_the_token_endpoint_unless_the_tenant_is_strict() {
    let signer = Signer::new(SigningAlg::Es256, "k");
    let strict = Expected { token_endpoint: None, ..EXPECTED };
    let judge = |aud: Value, expected| judge(&signer.jwt(&with("aud", aud)), expected, &keys(&signer));
    for aud in [json!(ISSUER), json!([ISSUER])] {
        assert_eq!(judge(aud.clone(), &EXPECTED).as_deref(), Ok(ISSUER), "{aud}");
        assert_eq!(judge(aud.clone(), &strict).as_deref(), Ok(ISSUER), "{aud}");
    }
    assert_eq!(judge(json!(ENDPOINT), &EXPECTED).as_deref(), Ok(ENDPOINT));
    assert_eq!(judge(json!(ENDPOINT), &strict), Err(AssertionFault::Audience));
    for aud in ["https://h/t/other", "https://h/t/acme/", "https://H/t/acme", "https://h/t/acme/oauth/introspect", ""] {
        assert_eq!(judge(json!(aud), &EXPECTED), Err(AssertionFault::Audience), "{aud}");
    }
    for aud in [json!([]), json!([ISSUER, ENDPOINT]), json!([ISSUER, ISSUER]), json!(null), json!({ "a": ISSUER })] {
        assert_eq!(judge(aud.clone(), &EXPECTED), Err(AssertionFault::Malformed), "{aud}");
    }
}

#[test]
fn issuer_subject_and_client_are_one() {
    assert_eq!(judge_claims(&with("iss", json!("agt_other"))), Err(AssertionFault::Subject));
    assert_eq!(judge_claims(&with("sub", json!("agt_other"))), Err(AssertionFault::Subject));
    let mut both = with("sub", json!("agt_other"));
    both["iss"] = json!("agt_other");
    assert_eq!(judge_claims(&both), Err(AssertionFault::Subject));
}

#[test]
fn an_assertion_is_for_now_and_for_ten_minutes_at_most() {
    let judge = |exp: i64, iat: Value, nbf: Value| {
        let mut claims = with("exp", json!(exp));
        (claims["iat"], claims["nbf"]) = (iat, nbf);
        judge_claims(&claims).map(drop)
    };
    let null = || json!(null);
    assert_eq!(judge(NOW + 600, json!(NOW), null()), Ok(()));
    assert_eq!(judge(NOW + 601, json!(NOW), null()), Err(AssertionFault::TooLongLived));
    assert_eq!(judge(NOW + 661, null(), null()), Err(AssertionFault::TooLongLived));
    assert_eq!(judge(NOW + 600, null(), null()), Ok(()));
    assert_eq!(judge(NOW + 661, json!(NOW + 60), null()), Err(AssertionFault::TooLongLived));
    assert_eq!(judge(NOW - LEEWAY_S + 1, json!(NOW - 100), null()), Ok(()));
    assert_eq!(judge(NOW - LEEWAY_S, json!(NOW - 100), null()), Err(AssertionFault::Expired));
    assert_eq!(judge(NOW + 300, json!(NOW + 60), json!(NOW + 60)), Ok(()));
    assert_eq!(judge(NOW + 300, json!(NOW + 61), null()), Err(AssertionFault::NotYetValid));
    assert_eq!(judge(NOW + 300, json!(NOW), json!(NOW + 61)), Err(AssertionFault::NotYetValid));
    assert_eq!(judge_claims(&with("exp", json!(NOW as f64 + 60.5))).map(drop), Ok(()), "a fraction is allowed");
}

#[test]
fn what_is_required_is_required_and_of_its_type() {
    for name in ["iss", "sub", "aud", "exp", "jti"] {
        let mut claims = claims();
        claims.as_object_mut().expect("an object").remove(name);
        assert_eq!(judge_claims(&claims), Err(AssertionFault::Malformed), "without {name}");
    }
    for (name, value) in [
        ("exp", json!("1800000300")),
        ("exp", json!(-1)),
        ("exp", json!(1e300)),
        ("iat", json!("now")),
        ("nbf", json!([])),
        ("jti", json!("")),
        ("jti", json!(7)),
        ("jti", json!("a".repeat(JTI_LEN_MAX + 1))),
        ("iss", json!(null)),
    ] {
        assert_eq!(judge_claims(&with(name, value.clone())), Err(AssertionFault::Malformed), "{name}: {value}");
    }
}

#[test]
fn algorithms_that_prove_nothing_are_refused() {
    let signer = Signer::new(SigningAlg::Es256, "k");
    for alg in ["none", "None", "HS256", "HS512", "ES384", "ES256K", "RS512", "RS1", "", "es256"] {
        let mut header = signer.header();
        header["alg"] = json!(alg);
        let refused = judge(&signer.sign(&header, &claims()), &EXPECTED, &keys(&signer));
        assert_eq!(refused, Err(AssertionFault::Algorithm), "{alg}");
    }
    for alg in ["RS256", "PS256", "EdDSA", "Ed25519"] {
        let mut header = signer.header();
        header["alg"] = json!(alg);
        let refused = judge(&signer.sign(&header, &claims()), &EXPECTED, &keys(&signer));
        assert_eq!(refused, Err(AssertionFault::Signature), "{alg} by a P-256 key");
    }
}

#[test]
fn a_key_that_says_its_algorithm_verifies_no_other() {
    let signer = Signer::new(SigningAlg::Rs256, "k");
    let mut set = signer.jwks();
    set["keys"][0]["alg"] = json!("PS256");
    let refused = judge(&signer.jwt(&claims()), &EXPECTED, &KeySet::parse(&set).expect("a key set"));
    assert_eq!(refused, Err(AssertionFault::Signature));
}

#[test]
fn a_jwt_of_another_type_is_no_assertion() {
    let signer = Signer::new(SigningAlg::Es256, "k");
    let judge = |typ: Value| {
        let mut header = signer.header();
        header["typ"] = typ;
        judge(&signer.sign(&header, &claims()), &EXPECTED, &keys(&signer)).map(drop)
    };
    for typ in [json!(null), json!("JWT"), json!("client-authentication+jwt"), json!("application/anything+jwt")] {
        assert_eq!(judge(typ.clone()), Ok(()), "{typ}");
    }
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "oauth-id-jag+jwt", "dpop+jwt", "Application/DPoP+jwt"] {
        assert_eq!(judge(json!(typ)), Err(AssertionFault::ForeignType), "{typ}");
    }
}

#[test]
fn the_key_is_the_one_that_is_named_or_any_when_none_is() {
    let (one, two) = (Signer::new(SigningAlg::Es256, "one"), Signer::new(SigningAlg::Es256, "two"));
    let both = KeySet::parse(&json!({ "keys": [one.jwk(), two.jwk()] })).expect("a key set");
    assert!(judge(&two.jwt(&claims()), &EXPECTED, &both).is_ok());
    assert!(judge(&two.sign(&json!({ "alg": "ES256" }), &claims()), &EXPECTED, &both).is_ok());
    let misnamed = two.sign(&json!({ "alg": "ES256", "kid": "one" }), &claims());
    assert_eq!(judge(&misnamed, &EXPECTED, &both), Err(AssertionFault::Signature));
    let unknown = two.sign(&json!({ "alg": "ES256", "kid": "three" }), &claims());
    assert_eq!(judge(&unknown, &EXPECTED, &both), Err(AssertionFault::UnknownKey));
}

#[test]
fn a_header_that_asks_for_more_is_refused() {
    let signer = Signer::new(SigningAlg::Es256, "k");
    let mut header = signer.header();
    header["crit"] = json!(["b64"]);
    header["b64"] = json!(false);
    assert_eq!(judge(&signer.sign(&header, &claims()), &EXPECTED, &keys(&signer)), Err(AssertionFault::Critical));
    // Keys that come with the message prove nothing.
    let stranger = Signer::new(SigningAlg::Es256, "k");
    let mut header = stranger.header();
    header["jwk"] = stranger.jwk();
    header["jku"] = json!("https://evil.example/jwks");
    assert_eq!(judge(&stranger.sign(&header, &claims()), &EXPECTED, &keys(&signer)), Err(AssertionFault::Signature));
}

#[test]
fn texts_that_are_no_jwt_are_refused() {
    let huge = "a".repeat(1024 * 1024);
    assert_eq!(judge(&huge, &EXPECTED, &keys(&Signer::new(SigningAlg::Es256, "k"))), Err(AssertionFault::TooLong));
    for text in ["", ".", "..", "a.b.c", "e30.e30.", "e30.e30.e30.e30", "bnVsbA.bnVsbA.AA", "\u{e4}.\u{e4}.\u{e4}"] {
        assert_eq!(Assertion::read(text).err(), Some(AssertionFault::Malformed), "{text}");
    }
}

#[test]
fn a_member_that_is_there_twice_is_refused() {
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let claims = format!(r#"{{"iss":"{CLIENT}","iss":"x","sub":"{CLIENT}","aud":"{ISSUER}","exp":{NOW},"jti":"a"}}"#);
    let text = format!("{}.{}.AA", encode(r#"{"alg":"ES256"}"#), encode(&claims));
    assert_eq!(Assertion::read(&text).err(), Some(AssertionFault::Malformed));
}

/// Signs once; what follows changes what was signed.
fn signed() -> &'static (String, KeySet) {
    static SIGNED: std::sync::OnceLock<(String, KeySet)> = std::sync::OnceLock::new();
    SIGNED.get_or_init(|| {
        let signer = Signer::new(SigningAlg::Es256, "k");
        (signer.jwt(&claims()), keys(&signer))
    })
}

fn any_json() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|value| json!(value)),
        any::<i64>().prop_map(|value| json!(value)),
        "[ -~]{0,20}".prop_map(|value| json!(value)),
        prop::sample::select(vec![CLIENT, ISSUER, ENDPOINT, "none", "HS256", "RS256", "at+jwt"])
            .prop_map(|value| json!(value)),
        Just(json!([ISSUER, "https://h/t/other"])),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn no_change_of_a_signed_assertion_is_accepted(at in any::<prop::sample::Index>(), put in "[A-Za-z0-9._-]") {
        let (text, keys) = signed();
        let at = at.index(text.len());
        let mutated = format!("{}{put}{}", &text[..at], &text[at + 1..]);
        prop_assume!(mutated != *text);
        prop_assert!(judge(&mutated, &EXPECTED, keys).is_err(), "{mutated}");
        let inserted = format!("{}{put}{}", &text[..at], &text[at..]);
        prop_assert!(judge(&inserted, &EXPECTED, keys).is_err(), "{inserted}");
        prop_assert!(judge(&text[..at], &EXPECTED, keys).is_err());
    }

    #[test]
    fn other_headers_and_claims_need_another_signature(
        header_name in prop::sample::select(vec!["alg", "kid", "typ", "crit", "jwk", "x5c"]),
        claim_name in prop::sample::select(vec!["iss", "sub", "aud", "exp", "iat", "nbf", "jti"]),
        header_value in any_json(), claim_value in any_json(), in_header in any::<bool>(),
    ) {
        let (text, keys) = signed();
        let (message, signature) = text.rsplit_once('.').expect("three parts");
        let (header, body) = message.split_once('.').expect("two parts");
        let decode = |part: &str| -> Value {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("JSON")
        };
        let (mut header, mut body) = (decode(header), decode(body));
        let before = (header.clone(), body.clone());
        if in_header {
            header[header_name] = header_value;
        } else {
            body[claim_name] = claim_value;
        }
        prop_assume!((&header, &body) != (&before.0, &before.1));
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let mutated = format!("{}.{}.{signature}", encode(&header), encode(&body));
        prop_assert!(judge(&mutated, &EXPECTED, keys).is_err(), "{header} {body}");
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "[ -~]{0,80}") {
        let _ = judge(&text, &EXPECTED, &signed().1);
    }
}
