//! Enrollment tokens as data planes are given them: a secret and, behind a dot, the fingerprint of the authority to
//! trust. The fingerprint is the SHA-256 of the authority's certificate in DER, in base64url; a token that people chose
//! themselves has none.
//!
//! Invariant: the secret is shown to nobody whose certificate does not lead to the authority of the fingerprint, or who
//! has not proved to know the secret.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// The length of a fingerprint in bytes.
pub const FINGERPRINT_LEN: usize = 32;

const SEPARATOR: char = '.';
/// Whoever sees an introduction may guess at the secret: nobody must get through them all.
const SECRET_CHARS_MIN: usize = 32;

/// A token that was read.
#[derive(Clone, PartialEq, Eq)]
pub struct EnrollmentToken {
    secret: String,
    authority: Option<[u8; FINGERPRINT_LEN]>,
}

/// Why a text is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Too easy to guess.
    #[error("an enrollment token has at least {SECRET_CHARS_MIN} characters (make one with `openssl rand -hex 32`)")]
    TooShort,
    /// Something that cannot be sent.
    #[error("an enrollment token has visible ASCII characters only")]
    Character,
}

impl EnrollmentToken {
    /// Reads a token as people have it.
    ///
    /// # Errors
    /// When it is too short, or has characters that no token has.
    pub fn read(text: &str) -> Result<Self, TokenError> {
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::Character);
        }
        let pinned = text.rsplit_once(SEPARATOR).and_then(|(secret, digits)| Some((secret, decode(digits)?)));
        let (secret, authority) = pinned.map_or((text, None), |(secret, authority)| (secret, Some(authority)));
        if secret.len() < SECRET_CHARS_MIN {
            return Err(TokenError::TooShort);
        }
        Ok(Self { secret: secret.to_owned(), authority })
    }

    /// What is to be shown to data planes: `secret` with the fingerprint behind it.
    #[must_use]
    pub fn write(secret: &str, authority: &[u8; FINGERPRINT_LEN]) -> String {
        format!("{secret}{SEPARATOR}{}", encode(authority))
    }

    /// What a control plane is shown.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// The fingerprint of the authority to trust, if it is known.
    #[must_use]
    pub const fn authority(&self) -> Option<&[u8; FINGERPRINT_LEN]> {
        self.authority.as_ref()
    }
}

impl fmt::Debug for EnrollmentToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnrollmentToken")
            .field("authority", &self.authority.map(|it| encode(&it)))
            .finish_non_exhaustive()
    }
}

fn encode(bytes: &[u8; FINGERPRINT_LEN]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(digits: &str) -> Option<[u8; FINGERPRINT_LEN]> {
    URL_SAFE_NO_PAD.decode(digits).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn a_token_is_read_as_it_was_written() {
        let authority = std::array::from_fn(|index| u8::try_from(index * 7 % 256).expect("below 256"));
        let token = EnrollmentToken::read(&EnrollmentToken::write(SECRET, &authority)).expect("a token");
        assert_eq!((token.secret(), token.authority()), (SECRET, Some(&authority)));
        assert!(!format!("{token:?}").contains(SECRET));
    }

    #[test]
    fn what_people_chose_has_no_fingerprint_whatever_stands_in_it() {
        for chosen in [SECRET.to_owned(), format!("{SECRET}.x"), format!("{}.{SECRET}", "a.b")] {
            let token = EnrollmentToken::read(&chosen).expect("a token");
            assert_eq!((token.secret(), token.authority()), (chosen.as_str(), None));
        }
    }

    #[test]
    fn what_can_be_guessed_or_not_be_sent_is_no_token() {
        assert_eq!(EnrollmentToken::read(&SECRET[1..]), Err(TokenError::TooShort));
        assert_eq!(EnrollmentToken::read(&EnrollmentToken::write("short", &[0; 32])), Err(TokenError::TooShort));
        assert_eq!(EnrollmentToken::read(&format!("{SECRET}\n{SECRET}")), Err(TokenError::Character));
        assert_eq!(EnrollmentToken::read(&format!("{SECRET}ä")), Err(TokenError::Character));
    }
}
