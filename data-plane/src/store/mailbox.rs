//! Messages between data planes: whoever holds a call's stream reads a mailbox, and any data plane that gets
//! something for that call puts it there.
//!
//! Invariant: what was taken into a mailbox is read in its order, once by its one reader, unless the mailbox
//! expires first. A wake-up that gets lost costs a second, never a message.

use std::{fmt, str::FromStr, time::Duration};

use aws_lc_rs::rand;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::StoreError;

/// Messages that may wait in one mailbox.
pub const MAIL_MAX: usize = 256;
/// Bytes that may wait in one mailbox: the largest answer of a server, and room for what came before it.
pub const MAIL_BYTES_MAX: usize = 20 * 1024 * 1024;
/// How often a reader looks though nobody woke it.
pub(super) const POLL_EVERY: Duration = Duration::from_secs(1);

const ID_BYTES: usize = 16;

/// What a mailbox is known by within its owner: 16 random bytes, written as 22 characters of base64url.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MailboxId([u8; ID_BYTES]);

/// A text that is no mailbox id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a mailbox id: expected 16 bytes in unpadded base64url")]
pub struct MailboxIdError;

/// One message of a mailbox.
#[derive(Clone, PartialEq, Eq)]
pub struct Mail {
    /// Where it stands: later messages have larger positions. Reading on after it forgets it.
    pub position: u64,
    /// What was sent.
    pub message: Bytes,
}

impl MailboxId {
    /// The bytes, for what is sealed.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; ID_BYTES] {
        self.0
    }

    /// The id of these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; ID_BYTES]) -> Self {
        Self(bytes)
    }

    /// A new id that cannot be guessed.
    ///
    /// # Errors
    /// [`StoreError::Random`] when the system's random generator fails.
    pub fn generate() -> Result<Self, StoreError> {
        let mut bytes = [0; ID_BYTES];
        rand::fill(&mut bytes).map_err(|_| StoreError::Random)?;
        Ok(Self(bytes))
    }
}

impl FromStr for MailboxId {
    type Err = MailboxIdError;

    fn from_str(text: &str) -> Result<Self, MailboxIdError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| MailboxIdError)?;
        bytes.try_into().map(Self).map_err(|_| MailboxIdError)
    }
}

impl TryFrom<String> for MailboxId {
    type Error = MailboxIdError;

    fn try_from(text: String) -> Result<Self, MailboxIdError> {
        text.parse()
    }
}

impl From<MailboxId> for String {
    fn from(id: MailboxId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for MailboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for MailboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MailboxId(…)")
    }
}

impl fmt::Debug for Mail {
    /// Never what it says: messages hold what people answered.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mail({}, {} bytes)", self.position, self.message.len())
    }
}
