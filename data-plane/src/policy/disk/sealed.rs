//! The file of one tenant's policy, which holds secrets: sealed with a key that only whoever knows the enrollment token
//! can derive, so that a copy of the disk is no copy of the tenant's keys.
//!
//! Invariant: a file opens for its own tenant only, and only whole. Layout: `nonce (12) | AES-256-GCM | tag (16)`.

use std::{fmt, io};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Salt},
    rand,
};
use tollgate_proto::TenantId;

/// What policies on disk are sealed with.
pub(super) struct DiskKey(LessSafeKey);

impl DiskKey {
    /// Derived with HKDF-SHA-256 (RFC 5869).
    pub(super) fn derive(enrollment_token: &str) -> Self {
        let derived = Salt::new(HKDF_SHA256, b"tollgate").extract(enrollment_token.as_bytes());
        let key = derived.expand(&[b"policy on disk"], &AES_256_GCM).map(UnboundKey::from);
        Self(LessSafeKey::new(key.expect("the cipher's key is within HKDF's bound")))
    }

    /// # Errors
    /// When the system's random generator fails.
    pub(super) fn seal(&self, tenant: TenantId, policy: Vec<u8>) -> io::Result<Vec<u8>> {
        let failed = |_| io::Error::other("the policy cannot be sealed");
        let mut random = [0; NONCE_LEN];
        rand::fill(&mut random).map_err(failed)?;
        let (nonce, mut text) = (Nonce::assume_unique_for_key(random), policy);
        self.0.seal_in_place_append_tag(nonce, place(tenant), &mut text).map_err(failed)?;
        Ok([random.as_slice(), &text].concat())
    }

    /// `None` when it is damaged, another tenant's, or sealed with another key.
    pub(super) fn open(&self, tenant: TenantId, sealed: &[u8]) -> Option<Vec<u8>> {
        let (random, text) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let (nonce, mut text) = (Nonce::assume_unique_for_key(*random), text.to_vec());
        let length = self.0.open_in_place(nonce, place(tenant), &mut text).ok()?.len();
        text.truncate(length);
        Some(text)
    }
}

impl fmt::Debug for DiskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DiskKey(…)")
    }
}

fn place(tenant: TenantId) -> Aad<[u8; 16]> {
    Aad::from(*tenant.uuid().as_bytes())
}
