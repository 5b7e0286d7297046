//! Encryption at rest: envelope encryption with AES-256-GCM under a master key.
//!
//! Every sealed value has a data key of its own, wrapped by the master key, so that the bound on random nonces
//! (2^32 messages a key, NIST SP 800-38D section 8.3) never comes near. Layout of a sealed value:
//! `version (1) | master key id (8) | nonce (12) | wrapped data key (32 + 16) | nonce (12) | ciphertext | tag (16)`.
//!
//! Invariant: what is sealed opens only with the same associated data (tenant, table, column, row), so that rows
//! cannot be swapped.

use std::fmt;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest::{SHA256, digest},
    error::Unspecified,
    hkdf::{HKDF_SHA256, KeyType, Salt},
    rand,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

const VERSION: u8 = 1;
const KEY_LEN: usize = 32;
const KEY_ID_LEN: usize = 8;
const TAG_LEN: usize = 16;
const WRAPPED_LEN: usize = NONCE_LEN + KEY_LEN + TAG_LEN;
const HEADER_LEN: usize = 1 + KEY_ID_LEN + WRAPPED_LEN;

/// The key that wraps all others: 32 bytes.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; KEY_LEN]>);

/// Why a value could not be sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The text is not 32 bytes in base64.
    #[error("the master key must be 32 bytes in base64 on one line (make one with `openssl rand -base64 32`)")]
    MasterKey,
    /// Sealed with a master key that is not loaded.
    #[error("the value was sealed with another master key")]
    OtherKey,
    /// Not a sealed value, changed since, or sealed for another row.
    #[error("the sealed value is damaged or belongs elsewhere")]
    Damaged,
    /// The random generator or the cipher failed.
    #[error("sealing failed")]
    Cipher,
}

impl MasterKey {
    /// A new random key.
    ///
    /// # Errors
    /// When the system's random generator fails.
    pub fn generate() -> Result<Self, SealError> {
        let mut key = Zeroizing::new([0; KEY_LEN]);
        rand::fill(key.as_mut()).map_err(|Unspecified| SealError::Cipher)?;
        Ok(Self(key))
    }

    /// Reads the form that key files hold: base64, one line.
    ///
    /// # Errors
    /// [`SealError::MasterKey`] when it is anything else.
    pub fn from_base64(text: &str) -> Result<Self, SealError> {
        let bytes = Zeroizing::new(STANDARD.decode(text.trim()).map_err(|_| SealError::MasterKey)?);
        let key = bytes.as_slice().try_into().map_err(|_| SealError::MasterKey)?;
        Ok(Self(Zeroizing::new(key)))
    }

    /// The form that key files hold.
    #[must_use]
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(self.0.as_ref()))
    }

    /// A key for one purpose, derived with HKDF-SHA-256 (RFC 5869).
    ///
    /// # Panics
    /// Never: the output is as long as the hash.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> Zeroizing<[u8; KEY_LEN]> {
        struct Len;
        impl KeyType for Len {
            fn len(&self) -> usize {
                KEY_LEN
            }
        }
        let mut derived = Zeroizing::new([0; KEY_LEN]);
        Salt::new(HKDF_SHA256, b"tollgate")
            .extract(self.0.as_ref())
            .expand(&[purpose.as_bytes()], Len)
            .and_then(|okm| okm.fill(derived.as_mut()))
            .expect("32 bytes are within HKDF's bound");
        derived
    }

    fn id(&self) -> [u8; KEY_ID_LEN] {
        let mut id = [0; KEY_ID_LEN];
        let hash = digest(&SHA256, self.derive("key id").as_ref());
        id.copy_from_slice(&hash.as_ref()[..KEY_ID_LEN]);
        id
    }

    /// Seals `plain` for the place that `associated` names (`tenant|table|column|row`).
    ///
    /// # Errors
    /// [`SealError::Cipher`] when the random generator fails.
    pub fn seal(&self, associated: &str, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut data_key = Zeroizing::new([0; KEY_LEN]);
        rand::fill(data_key.as_mut()).map_err(|Unspecified| SealError::Cipher)?;
        let mut sealed = Vec::with_capacity(HEADER_LEN + NONCE_LEN + plain.len() + TAG_LEN);
        sealed.push(VERSION);
        sealed.extend_from_slice(&self.id());
        sealed.extend(encrypt(&self.0, associated, data_key.as_ref())?);
        sealed.extend(encrypt(&data_key, associated, plain)?);
        Ok(sealed)
    }

    /// Opens what [`MasterKey::seal`] made for the same `associated`.
    ///
    /// # Errors
    /// [`SealError::OtherKey`] or [`SealError::Damaged`].
    pub fn open(&self, associated: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (header, body) = sealed.split_at_checked(HEADER_LEN).ok_or(SealError::Damaged)?;
        if header[0] != VERSION {
            return Err(SealError::Damaged);
        }
        if header[1..=KEY_ID_LEN] != self.id() {
            return Err(SealError::OtherKey);
        }
        let data_key = decrypt(&self.0, associated, &header[1 + KEY_ID_LEN..])?;
        let data_key = data_key.as_slice().try_into().map_err(|_| SealError::Damaged)?;
        decrypt(&Zeroizing::new(data_key), associated, body)
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

fn cipher(key: &Zeroizing<[u8; KEY_LEN]>) -> Result<LessSafeKey, SealError> {
    let key = UnboundKey::new(&AES_256_GCM, key.as_ref()).map_err(|Unspecified| SealError::Cipher)?;
    Ok(LessSafeKey::new(key))
}

/// `nonce | ciphertext | tag`.
pub(crate) fn encrypt(key: &Zeroizing<[u8; KEY_LEN]>, associated: &str, plain: &[u8]) -> Result<Vec<u8>, SealError> {
    let mut nonce = [0; NONCE_LEN];
    rand::fill(&mut nonce).map_err(|Unspecified| SealError::Cipher)?;
    let mut text = plain.to_vec();
    cipher(key)?
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(associated), &mut text)
        .map_err(|Unspecified| SealError::Cipher)?;
    Ok([nonce.as_slice(), &text].concat())
}

/// Opens what [`encrypt`] made for the same `associated`.
pub(crate) fn decrypt(
    key: &Zeroizing<[u8; KEY_LEN]>,
    associated: &str,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let (nonce, text) = sealed.split_at_checked(NONCE_LEN).ok_or(SealError::Damaged)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|Unspecified| SealError::Damaged)?;
    let mut text = Zeroizing::new(text.to_vec());
    let plain_len = cipher(key)?
        .open_in_place(nonce, Aad::from(associated), text.as_mut())
        .map_err(|Unspecified| SealError::Damaged)?
        .len();
    text.truncate(plain_len);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_value_opens_for_its_own_row_only() {
        let key = MasterKey::generate().expect("a key");
        let sealed = key.seal("t|signing_keys|private|k1", b"secret").expect("sealed");
        assert_eq!(key.open("t|signing_keys|private|k1", &sealed).expect("opens").as_slice(), b"secret");
        assert_eq!(key.open("t|signing_keys|private|k2", &sealed), Err(SealError::Damaged));
    }

    #[test]
    fn another_master_key_is_recognised() {
        let sealed = MasterKey::generate().expect("a key").seal("a", b"secret").expect("sealed");
        assert_eq!(MasterKey::generate().expect("a key").open("a", &sealed), Err(SealError::OtherKey));
    }

    #[test]
    fn a_flipped_bit_anywhere_is_noticed() {
        let key = MasterKey::generate().expect("a key");
        let sealed = key.seal("a", b"secret").expect("sealed");
        for index in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[index] ^= 1;
            assert!(key.open("a", &damaged).is_err(), "byte {index}");
            assert!(key.open("a", &sealed[..index]).is_err(), "cut at {index}");
        }
    }

    #[test]
    fn the_file_form_survives_the_round_trip() {
        let key = MasterKey::generate().expect("a key");
        let read = MasterKey::from_base64(&format!("{}\n", *key.to_base64())).expect("reads");
        assert_eq!(read.id(), key.id());
        assert_eq!(MasterKey::from_base64("c2hvcnQ=").expect_err("too short"), SealError::MasterKey);
    }
}
