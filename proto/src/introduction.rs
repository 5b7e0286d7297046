//! How a control plane proves that it knows the token of a data plane which does not know yet whom to trust.
//!
//! Invariant: a proof is for one nonce and one authority, and says nothing of the token to who does not know it.

use aws_lc_rs::{
    constant_time::verify_slices_are_equal,
    hkdf::{HKDF_SHA256, Salt},
    hmac::{self, HMAC_SHA256, Key},
};

/// The length of a nonce in bytes.
pub const NONCE_LEN: usize = 32;

/// What proves, to the sender of `nonce`, that who knows `token` stands behind `authority` (a certificate in DER).
#[must_use]
pub fn prove(token: &str, nonce: &[u8], authority: &[u8]) -> Vec<u8> {
    hmac::sign(&key(token), &[nonce, authority].concat()).as_ref().to_vec()
}

/// Whether `proof` is what [`prove`] makes, compared in constant time.
#[must_use]
pub fn verify(token: &str, nonce: &[u8], authority: &[u8], proof: &[u8]) -> bool {
    verify_slices_are_equal(&prove(token, nonce, authority), proof).is_ok()
}

fn key(token: &str) -> Key {
    let derived = Salt::new(HKDF_SHA256, b"tollgate").extract(token.as_bytes());
    Key::from(derived.expand(&[b"introduction"], HMAC_SHA256).expect("the key of an HMAC is within HKDF's bound"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_for_its_token_its_nonce_and_its_authority_alone() {
        let proof = prove("token", &[1; NONCE_LEN], b"authority");
        assert!(verify("token", &[1; NONCE_LEN], b"authority", &proof));
        assert!(!verify("other", &[1; NONCE_LEN], b"authority", &proof));
        assert!(!verify("token", &[2; NONCE_LEN], b"authority", &proof));
        assert!(!verify("token", &[1; NONCE_LEN], b"another", &proof));
        assert!(!verify("token", &[1; NONCE_LEN], b"authority", &[]));
    }
}
