//! The public half of a signing key, as a JWK (RFC 7517).
//!
//! Invariant: what is published is what this type lists; a private member of a row has no way out.

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

/// One of a point's coordinates on P-256, in bytes.
const COORDINATE_LEN: usize = 32;
/// SEC 1 section 2.3.3: what an uncompressed point begins with.
const UNCOMPRESSED: u8 = 4;

/// The public half of a key. Reading a stored one through this type drops every member that is not listed here, so
/// that nothing private can be published, whatever a row holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PublicKey {
    kty: Kty,
    crv: Crv,
    pub(super) alg: Alg,
    #[serde(rename = "use")]
    purpose: Use,
    /// RFC 7638 thumbprint.
    pub(super) kid: String,
    x: String,
    y: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Kty {
    #[serde(rename = "EC")]
    EllipticCurve,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Crv {
    #[serde(rename = "P-256")]
    P256,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Alg {
    #[serde(rename = "ES256")]
    Es256,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Use {
    #[serde(rename = "sig")]
    Signature,
}

impl PublicKey {
    /// From an uncompressed point: `04 | x | y`.
    pub(super) fn of_point(point: &[u8]) -> Option<Self> {
        let (&UNCOMPRESSED, coordinates) = point.split_first()? else { return None };
        let (x, y) = coordinates.split_at_checked(COORDINATE_LEN)?;
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        // RFC 7638 section 3.2: the required members, in lexicographic order, without white space.
        let required = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let kid = URL_SAFE_NO_PAD.encode(digest(&SHA256, required.as_bytes()));
        Some(Self { kty: Kty::EllipticCurve, crv: Crv::P256, alg: Alg::Es256, purpose: Use::Signature, kid, x, y })
    }
}
