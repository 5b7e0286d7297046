//! The public keys of clients: JWK Sets (RFC 7517) that they registered, or that are found where they said.
//!
//! Invariant: nothing private is ever accepted or kept, and a key verifies only by algorithms that fit it.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaParameters,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use crate::agents::SigningAlg;

mod cache;
#[cfg(test)]
mod tests;

pub use cache::{ClientKeys, KeysError};

/// More than anyone rotates through.
const KEYS_MAX: usize = 16;
const RSA_BITS_MIN: usize = 2048;
const RSA_BITS_MAX: usize = 8192;
/// RFC 7518 sections 6.2.2, 6.3.2 and 6.4.1, RFC 8037 section 2.
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// What is wrong with a JWK Set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeysFault {
    /// No object with an array `keys` of objects.
    #[error("write a JWK Set: an object with an array `keys` (RFC 7517 section 5)")]
    NoSet,
    /// Whoever sent it has published their private key, or a shared one.
    #[error("a key has private members: send public keys only, and never use these again")]
    Private,
    /// RSA below 2048 bits is refused by every algorithm here; above 8192 it only costs time.
    #[error("an RSA key has {RSA_BITS_MIN} to {RSA_BITS_MAX} bits")]
    RsaSize,
    /// Coordinates or numbers that are no key.
    #[error("a key's members are malformed")]
    Malformed,
    /// Too many.
    #[error("a set has at most {KEYS_MAX} keys")]
    TooMany,
    /// Keys of other kinds are passed over; nothing was left.
    #[error("no key of the set verifies ES256, RS256, PS256 or EdDSA")]
    NoneUsable,
}

/// The keys of one client that can verify an assertion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySet(Vec<PublicKey>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct PublicKey {
    kid: Option<String>,
    /// The one algorithm that it is for, if it says.
    alg: Option<SigningAlg>,
    material: Material,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    /// An uncompressed point.
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
}

impl KeySet {
    /// Reads a JWK Set. Keys for encryption or of a kind that no algorithm here uses are passed over, as RFC 7517
    /// section 5 asks.
    ///
    /// # Errors
    /// [`KeysFault`], fit for whoever sent it.
    pub fn parse(set: &Value) -> Result<Self, KeysFault> {
        let keys = set.get("keys").and_then(Value::as_array).ok_or(KeysFault::NoSet)?;
        if keys.len() > KEYS_MAX {
            return Err(KeysFault::TooMany);
        }
        let mut usable = Vec::new();
        for key in keys {
            let key = key.as_object().ok_or(KeysFault::NoSet)?;
            if PRIVATE_MEMBERS.iter().any(|member| key.contains_key(*member)) {
                return Err(KeysFault::Private);
            }
            usable.extend(PublicKey::parse(key)?);
        }
        if usable.is_empty() { Err(KeysFault::NoneUsable) } else { Ok(Self(usable)) }
    }

    /// Whether there is a key of this name; without a name, every key may be the one.
    pub(super) fn knows(&self, kid: Option<&str>) -> bool {
        kid.is_none_or(|kid| self.0.iter().any(|key| key.kid.as_deref() == Some(kid)))
    }

    /// Whether a key of this name, or any key when the signer named none, made the signature (RFC 7515 section 5.2).
    pub(super) fn verifies(&self, kid: Option<&str>, alg: SigningAlg, message: &[u8], signature: &[u8]) -> bool {
        self.0
            .iter()
            .filter(|key| kid.is_none_or(|kid| key.kid.as_deref() == Some(kid)))
            .filter(|key| key.alg.is_none_or(|only| only == alg))
            .any(|key| key.material.verifies(alg, message, signature))
    }
}

impl PublicKey {
    /// Nothing for a key that is of no use here.
    fn parse(key: &Map<String, Value>) -> Result<Option<Self>, KeysFault> {
        let text = |member: &str| key.get(member).and_then(Value::as_str);
        let alg = match text("alg").map(alg_named) {
            None => None,
            Some(Some(alg)) => Some(alg),
            Some(None) => return Ok(None),
        };
        if text("use").is_some_and(|purpose| purpose != "sig") {
            return Ok(None);
        }
        let bytes = |member: &str| text(member).and_then(decode).ok_or(KeysFault::Malformed);
        let material = match (text("kty"), text("crv")) {
            (Some("EC"), Some("P-256")) => Material::p256(&bytes("x")?, &bytes("y")?)?,
            (Some("OKP"), Some("Ed25519")) => Material::ed25519(bytes("x")?)?,
            (Some("RSA"), _) => Material::rsa(bytes("n")?, bytes("e")?)?,
            _ => return Ok(None),
        };
        if alg.is_some_and(|alg| !material.fits(alg)) {
            return Err(KeysFault::Malformed);
        }
        Ok(Some(Self { kid: text("kid").map(str::to_owned), alg, material }))
    }
}

impl Material {
    fn p256(x: &[u8], y: &[u8]) -> Result<Self, KeysFault> {
        if x.len() != 32 || y.len() != 32 {
            return Err(KeysFault::Malformed);
        }
        Ok(Self::P256([&[4], x, y].concat()))
    }

    fn ed25519(x: Vec<u8>) -> Result<Self, KeysFault> {
        if x.len() == 32 { Ok(Self::Ed25519(x)) } else { Err(KeysFault::Malformed) }
    }

    fn rsa(mut n: Vec<u8>, e: Vec<u8>) -> Result<Self, KeysFault> {
        // Some encoders keep the sign byte that ASN.1 wants.
        let zeros = n.iter().take_while(|&&byte| byte == 0).count();
        n.drain(..zeros);
        let bits = n.first().map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
        if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
            return Err(KeysFault::RsaSize);
        }
        // An odd exponent from 3 on, without leading zeros, of a length that everybody uses.
        let odd = e.last().is_some_and(|last| last % 2 == 1);
        if odd && e != [1] && e[0] != 0 && e.len() <= 4 { Ok(Self::Rsa { n, e }) } else { Err(KeysFault::Malformed) }
    }

    const fn fits(&self, alg: SigningAlg) -> bool {
        matches!(
            (self, alg),
            (Self::P256(_), SigningAlg::Es256)
                | (Self::Ed25519(_), SigningAlg::EdDsa)
                | (Self::Rsa { .. }, SigningAlg::Rs256 | SigningAlg::Ps256)
        )
    }

    fn verifies(&self, alg: SigningAlg, message: &[u8], signature: &[u8]) -> bool {
        let rsa = |n: &[u8], e: &[u8], parameters: &'static RsaParameters| {
            RsaPublicKeyComponents { n, e }.verify(parameters, message, signature).is_ok()
        };
        match (self, alg) {
            (Self::P256(point), SigningAlg::Es256) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
            }
            (Self::Ed25519(key), SigningAlg::EdDsa) => {
                UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok()
            }
            (Self::Rsa { n, e }, SigningAlg::Rs256) => rsa(n, e, &RSA_PKCS1_2048_8192_SHA256),
            (Self::Rsa { n, e }, SigningAlg::Ps256) => rsa(n, e, &RSA_PSS_2048_8192_SHA256),
            _ => false,
        }
    }
}

/// An algorithm by its name in a header or a key. `Ed25519` is what RFC 9864 calls `EdDSA` on that curve.
pub(super) fn alg_named(name: &str) -> Option<SigningAlg> {
    match name {
        "ES256" => Some(SigningAlg::Es256),
        "RS256" => Some(SigningAlg::Rs256),
        "PS256" => Some(SigningAlg::Ps256),
        "EdDSA" | "Ed25519" => Some(SigningAlg::EdDsa),
        _ => None,
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()
}
