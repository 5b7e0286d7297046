//! What a client proves itself with where it holds a private key: a JWT that it signs (RFC 7523 section 2.2).
//!
//! Invariant: an assertion is for one authorization server, lives a minute, and is never used twice.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use uuid::Uuid;

const LIFE_S: i64 = 60;

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    jti: String,
    iat: i64,
    exp: i64,
}

/// An assertion of this client for this authorization server, at `now` in unix seconds; `None` when the key cannot sign.
pub(super) fn sign(key: &EncodingKey, kid: Option<&str>, client_id: &str, audience: &str, now: i64) -> Option<String> {
    let header = Header { kid: kid.map(str::to_owned), ..Header::new(Algorithm::ES256) };
    let claims = Claims {
        iss: client_id,
        sub: client_id,
        aud: audience,
        jti: Uuid::new_v4().to_string(),
        iat: now,
        exp: now + LIFE_S,
    };
    jsonwebtoken::encode(&header, &claims, key).ok()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use jsonwebtoken::{DecodingKey, Validation};
    use serde_json::Value;

    use super::*;

    #[test]
    fn an_assertion_says_who_signs_for_whom() {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let key = EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref());
        let now = chrono::Utc::now().timestamp();
        let issuer = "https://login.example.com";
        let sign = || sign(&key, Some("k1"), "tollgate", issuer, now).unwrap();
        let (first, second) = (sign(), sign());
        assert_ne!(first, second, "each has an id of its own");

        let point = pair.public_key().as_ref();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&[issuer]);
        validation.set_issuer(&["tollgate"]);
        let public = DecodingKey::from_ec_components(&x, &y).unwrap();
        let read = jsonwebtoken::decode::<Value>(&first, &public, &validation).unwrap();
        assert_eq!(read.header.kid.as_deref(), Some("k1"));
        assert_eq!(read.claims["sub"], "tollgate");
        assert_eq!(read.claims["exp"], now + LIFE_S);
    }
}
