//! A secret as it comes in: a reference that says where it is.
//!
//! Invariant: it does not print, and only the value itself is taken here: this process reads no environment and no files
//! on a caller's word.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

const LITERAL: &str = "literal:";

/// `literal:` and the secret. `tollgate apply` takes `env:NAME` and `file:PATH` too, and sends what it found there.
#[derive(Clone)]
pub struct SecretRef(Zeroizing<String>);

impl SecretRef {
    /// The secret, or what is wrong with the reference.
    pub(super) fn value(&self) -> Result<Zeroizing<String>, &'static str> {
        if let Some(value) = self.0.strip_prefix(LITERAL) {
            return Ok(Zeroizing::new(value.to_owned()));
        }
        Err(if self.0.starts_with("env:") || self.0.starts_with("file:") {
            "`env:` and `file:` are resolved by `tollgate apply`, where it runs: send `literal:` and the value"
        } else {
            "write `literal:` and the value"
        })
    }
}

impl<'de> Deserialize<'de> for SecretRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

impl Serialize for SecretRef {
    /// Nothing of it, whoever asks.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_none()
    }
}

impl fmt::Debug for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretRef(…)")
    }
}
