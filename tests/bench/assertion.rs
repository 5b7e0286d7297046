//! Client assertions (RFC 7523), each good once.

use std::time::SystemTime;

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use uuid::Uuid;

/// A client's ES256 key.
pub(crate) struct Signer {
    pair: EcdsaKeyPair,
    random: SystemRandom,
    audience: String,
}

impl Signer {
    /// A new key, for assertions to `audience`.
    pub(crate) fn new(audience: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a P-256 key");
        Self { pair, random: SystemRandom::new(), audience: audience.to_owned() }
    }

    /// The public half, as a JWK Set.
    pub(crate) fn jwks(&self) -> Value {
        // The point: 04 | x | y.
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        let encode = |coordinate: &[u8]| URL_SAFE_NO_PAD.encode(coordinate);
        json!({"keys": [{"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "bench", "x": encode(x), "y": encode(y)}]})
    }

    /// The parameters that authenticate `client_id`.
    pub(crate) fn assertion(&self, client_id: &str) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
        let claims = json!({
            "iss": client_id, "sub": client_id, "aud": self.audience, "iat": now, "exp": now + 60,
            "jti": Uuid::new_v4(),
        });
        let part = |part: Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let message = format!("{}.{}", part(json!({"alg": "ES256", "kid": "bench", "typ": "JWT"})), part(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.sign(message.as_bytes()));
        format!(
            "client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer\
             &client_assertion={message}.{signature}"
        )
    }

    /// One signature.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(&self.random, message).expect("a P-256 key signs").as_ref().to_vec()
    }
}
