use serde_json::json;

use super::*;
use crate::oauth::testing::Signer;

fn fault(set: &Value) -> KeysFault {
    KeySet::parse(set).expect_err("a fault")
}

#[test]
fn a_set_of_public_keys_is_read_and_others_are_passed_over() {
    let signer = Signer::new(SigningAlg::Es256, "k");
    let mut encryption = Signer::new(SigningAlg::Es256, "e").jwk();
    encryption["use"] = json!("enc");
    let set = json!({ "keys": [
        signer.jwk(),
        encryption,
        { "kty": "EC", "crv": "P-384", "x": "AA", "y": "AA" },
        { "kty": "OKP", "crv": "X25519", "x": "AA" },
        { "kty": "RSA", "alg": "RSA-OAEP", "n": "AA", "e": "AQAB" },
        { "kty": "new" },
    ] });
    let keys = KeySet::parse(&set).expect("a key set");
    assert_eq!(keys.0.len(), 1);
    assert!(keys.knows(Some("k")) && keys.knows(None) && !keys.knows(Some("e")));
}

#[test]
fn private_members_are_refused_whatever_the_key() {
    for member in PRIVATE_MEMBERS {
        let mut set = Signer::new(SigningAlg::Es256, "k").jwks();
        set["keys"][0][member] = json!("AA");
        assert_eq!(fault(&set), KeysFault::Private, "{member}");
    }
    assert_eq!(fault(&json!({ "keys": [{ "kty": "oct", "k": "c2VjcmV0" }] })), KeysFault::Private);
}

#[test]
fn rsa_keys_have_a_size_that_protects() {
    let rsa = |bits: usize, e: &str| {
        let n = [&[0x80_u8][..], &vec![1; bits / 8 - 1]].concat();
        KeySet::parse(&json!({ "keys": [{ "kty": "RSA", "n": URL_SAFE_NO_PAD.encode(n), "e": e }] })).map(drop)
    };
    assert_eq!(rsa(2048, "AQAB"), Ok(()));
    assert_eq!(rsa(8192, "AQAB"), Ok(()));
    assert_eq!(rsa(2040, "AQAB"), Err(KeysFault::RsaSize));
    assert_eq!(rsa(1024, "AQAB"), Err(KeysFault::RsaSize));
    assert_eq!(rsa(8200, "AQAB"), Err(KeysFault::RsaSize));
    for e in ["", "AQ", "AA", "Ag", "AAEAAQ", "AQAAAAE"] {
        assert_eq!(rsa(2048, e), Err(KeysFault::Malformed), "{e}");
    }
    // 2047 bits, written with the length of 2048.
    let short = [&[0x40_u8][..], &[1; 255]].concat();
    let set = json!({ "keys": [{ "kty": "RSA", "n": URL_SAFE_NO_PAD.encode(short), "e": "AQAB" }] });
    assert_eq!(fault(&set), KeysFault::RsaSize);
}

#[test]
fn what_is_no_set_or_no_key_is_named() {
    for set in [json!(null), json!([]), json!({}), json!({ "keys": {} }), json!({ "keys": [1] })] {
        assert_eq!(fault(&set), KeysFault::NoSet, "{set}");
    }
    assert_eq!(fault(&json!({ "keys": [] })), KeysFault::NoneUsable);
    assert_eq!(fault(&json!({ "keys": [{ "kty": "new" }] })), KeysFault::NoneUsable);
    let key = Signer::new(SigningAlg::EdDsa, "k").jwk();
    assert_eq!(fault(&json!({ "keys": vec![key; KEYS_MAX + 1] })), KeysFault::TooMany);
    for key in [
        json!({ "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA" }),
        json!({ "kty": "EC", "crv": "P-256", "x": "AA" }),
        json!({ "kty": "OKP", "crv": "Ed25519", "x": "!" }),
        json!({ "kty": "RSA", "e": "AQAB" }),
    ] {
        assert_eq!(fault(&json!({ "keys": [key] })), KeysFault::Malformed, "{key}");
    }
    let mut misfit = Signer::new(SigningAlg::EdDsa, "k").jwks();
    misfit["keys"][0]["alg"] = json!("ES256");
    assert_eq!(fault(&misfit), KeysFault::Malformed);
}
