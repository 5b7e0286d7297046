//! Private keys of clients of ours: read from PEM or JWK, kept as PKCS #8.
//!
//! Invariant: what comes out signs ES256 (RFC 7518 section 3.4), and fits the public key that a JWK brings along.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde::Deserialize;
use zeroize::Zeroizing;

/// What a PEM text begins a line with.
const PEM_BEGIN: &str = "-----BEGIN ";

/// The members of a JWK that make a P-256 private key (RFC 7518 section 6.2).
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: String,
    x: String,
    y: String,
    d: String,
}

/// The key in PKCS #8, DER; `None` when the text is no P-256 private key.
pub(super) fn read(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let text = text.trim();
    let pair = if text.starts_with('{') { from_jwk(text) } else { from_pem(text) }?;
    pair.to_pkcs8v1().ok().map(|document| Zeroizing::new(document.as_ref().to_vec()))
}

fn from_jwk(text: &str) -> Option<EcdsaKeyPair> {
    let jwk: Jwk = serde_json::from_str(text).ok()?;
    if jwk.kty != "EC" || jwk.crv != "P-256" {
        return None;
    }
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).ok().filter(|bytes| bytes.len() == 32);
    let d = Zeroizing::new(jwk.d);
    let private = Zeroizing::new(decode(&d)?);
    let public = [vec![4], decode(&jwk.x)?, decode(&jwk.y)?].concat();
    EcdsaKeyPair::from_private_key_and_public_key(&ECDSA_P256_SHA256_FIXED_SIGNING, &private, &public).ok()
}

/// PKCS #8 or SEC 1, also where the line breaks were lost on the way, as in a form.
fn from_pem(text: &str) -> Option<EcdsaKeyPair> {
    let (_, rest) = text.split_once(PEM_BEGIN)?;
    let (label, rest) = rest.split_once("-----")?;
    if !matches!(label, "PRIVATE KEY" | "EC PRIVATE KEY") {
        return None;
    }
    let (body, _) = rest.split_once("-----END ")?;
    let body: Zeroizing<String> = Zeroizing::new(body.split_ascii_whitespace().collect());
    let der = Zeroizing::new(STANDARD.decode(body.as_bytes()).ok()?);
    EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, &der).ok()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        encoding::{AsBigEndian as _, EcPrivateKeyBin},
        signature::KeyPair as _,
    };
    use serde_json::json;

    use super::*;

    /// A key as PEM, as JWK, and its public point.
    fn key() -> (String, String, Vec<u8>) {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        let pkcs8 = pair.to_pkcs8v1().expect("a document");
        let pem =
            format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(pkcs8.as_ref()));
        let public = pair.public_key().as_ref().to_vec();
        let private: EcPrivateKeyBin<'static> = pair.private_key().as_be_bytes().expect("bytes");
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let jwk = json!({
            "kty": "EC", "crv": "P-256", "kid": "k1",
            "x": encode(&public[1..33]), "y": encode(&public[33..]), "d": encode(private.as_ref()),
        });
        (pem, jwk.to_string(), public)
    }

    fn public_of(pkcs8: &[u8]) -> Vec<u8> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).expect("a key");
        pair.public_key().as_ref().to_vec()
    }

    #[test]
    fn pem_and_jwk_are_the_same_key() {
        let (pem, jwk, public) = key();
        assert_eq!(public_of(&read(&pem).expect("PEM")), public);
        assert_eq!(public_of(&read(&jwk).expect("a JWK")), public);
        assert_eq!(public_of(&read(&pem.replace('\n', " ")).expect("PEM on one line")), public);
    }

    #[test]
    fn a_jwk_whose_halves_do_not_fit_is_none() {
        let (_, one, _) = key();
        let (_, other, _) = key();
        let mut mixed: serde_json::Value = serde_json::from_str(&one).expect("JSON");
        mixed["d"] = serde_json::from_str::<serde_json::Value>(&other).expect("JSON")["d"].clone();
        assert!(read(&mixed.to_string()).is_none());
    }

    #[test]
    fn nothing_else_is_a_private_key() {
        for text in ["", "hunter2", "{}", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "-----BEGIN "]
        {
            assert!(read(text).is_none(), "{text}");
        }
    }
}
