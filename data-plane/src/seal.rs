//! Small values that travel through agents and come back: sealed, so that an agent can neither read nor change nor
//! borrow them, and any data plane can open what another one sealed.
//!
//! Each value has a key and a nonce of its own, drawn from 24 random bytes, so that a tenant's key never comes near
//! the number of random nonces that AES-GCM bears (2^32, NIST SP 800-38D section 8.3). Layout, in base64url:
//! `random (24) | AES-256-GCM(expires_at (8) | plaintext) | tag (16)`.
//!
//! Invariant: what was sealed opens only for the same tenant, the same purpose and the same bindings, and only before
//! it expires. Whatever does not open is `None`: why it does not is nobody's business but an attacker's.

use std::fmt;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Prk},
    rand,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::policy::Tenant;

/// The length of a key's secret in bytes.
pub const SECRET_LEN: usize = 32;
/// What makes a value's key differ from every other's.
const SALT_LEN: usize = 12;
const EXPIRY_LEN: usize = 8;

/// What a sealed value is for: one kind never opens as another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The `requestState` of an `input_required` result.
    RequestState,
    /// The id under which a server's request reaches a legacy agent.
    ServerRequestId,
    /// The cursor of a merged list.
    Cursor,
    /// A task's id.
    TaskId,
}

/// A tenant's keys: the first one seals, all of them open.
#[derive(Debug, Default)]
pub struct SealingKeys(Vec<SealingKey>);

struct SealingKey {
    id: String,
    secret: Prk,
}

/// Why nothing could be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The tenant's policy has no key to seal with.
    #[error("the tenant has no sealing key")]
    NoKey,
    /// The system's random generator or the cipher failed.
    #[error("sealing failed")]
    Cipher,
}

impl SealingKeys {
    /// Keys as the policy has them, by id; `None` when a secret has not [`SECRET_LEN`] bytes.
    pub fn new<'a>(keys: impl IntoIterator<Item = (String, &'a [u8])>) -> Option<Self> {
        let key = |(id, secret): (String, &[u8])| {
            let whole = secret.len() == SECRET_LEN;
            whole.then(|| SealingKey { id, secret: Prk::new_less_safe(HKDF_SHA256, secret) })
        };
        keys.into_iter().map(key).collect::<Option<_>>().map(Self)
    }
}

/// Seals `plaintext` for whoever presents the same bindings before `expires_at` (unix seconds). The tenant and the
/// purpose are bound in any case; `bound_to` adds what else must be the same: the agent, the user, the endpoint.
///
/// # Errors
/// When there is no key, or the random generator fails.
pub fn seal(
    tenant: &Tenant,
    purpose: Purpose,
    bound_to: &[&[u8]],
    expires_at: i64,
    plaintext: &[u8],
) -> Result<String, SealError> {
    let key = tenant.sealing.0.first().ok_or(SealError::NoKey)?;
    let mut random = [0; SALT_LEN + NONCE_LEN];
    rand::fill(&mut random).map_err(|_| SealError::Cipher)?;
    let (cipher, nonce) = key.cipher(purpose, &random).ok_or(SealError::Cipher)?;
    let mut text = Vec::with_capacity(EXPIRY_LEN + plaintext.len() + AES_256_GCM.tag_len());
    text.extend_from_slice(&expires_at.to_be_bytes());
    text.extend_from_slice(plaintext);
    let bindings = Aad::from(bindings(tenant, bound_to));
    cipher.seal_in_place_append_tag(nonce, bindings, &mut text).map_err(|_| SealError::Cipher)?;
    Ok(URL_SAFE_NO_PAD.encode([random.as_slice(), &text].concat()))
}

/// Opens what [`seal`] made for the same tenant, purpose and bindings, unless it has expired at `now` (unix seconds).
#[must_use]
pub fn open(tenant: &Tenant, purpose: Purpose, bound_to: &[&[u8]], now: i64, sealed: &str) -> Option<Vec<u8>> {
    let sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
    let (random, text) = sealed.split_first_chunk()?;
    let bindings = bindings(tenant, bound_to);
    let opened = tenant.sealing.0.iter().find_map(|key| {
        let (cipher, nonce) = key.cipher(purpose, random)?;
        let mut text = text.to_vec();
        let length = cipher.open_in_place(nonce, Aad::from(&bindings), &mut text).ok()?.len();
        text.truncate(length);
        Some(text)
    })?;
    let (expires_at, plaintext) = opened.split_first_chunk()?;
    (now < i64::from_be_bytes(*expires_at)).then(|| plaintext.to_vec())
}

impl SealingKey {
    /// The cipher of one value: HKDF-Expand (RFC 5869) over the purpose and the value's salt.
    fn cipher(&self, purpose: Purpose, random: &[u8; SALT_LEN + NONCE_LEN]) -> Option<(LessSafeKey, Nonce)> {
        let (salt, nonce) = random.split_at(SALT_LEN);
        let info = [purpose.label(), salt];
        let key = UnboundKey::from(self.secret.expand(&info, &AES_256_GCM).ok()?);
        Some((LessSafeKey::new(key), Nonce::try_assume_unique_for_key(nonce).ok()?))
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKey({})", self.id)
    }
}

impl Purpose {
    /// No label is the beginning of another.
    const fn label(self) -> &'static [u8] {
        match self {
            Self::RequestState => b"tollgate request state|",
            Self::ServerRequestId => b"tollgate server request id|",
            Self::Cursor => b"tollgate cursor|",
            Self::TaskId => b"tollgate task id|",
        }
    }
}

/// Each part behind its length, so that no two lists of parts look alike.
fn bindings(tenant: &Tenant, bound_to: &[&[u8]]) -> Vec<u8> {
    let id = tenant.id.uuid();
    let mut bindings = id.as_bytes().to_vec();
    for part in bound_to {
        bindings.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bindings.extend_from_slice(part);
    }
    bindings
}

#[cfg(test)]
mod tests;
