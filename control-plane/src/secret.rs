//! Secrets that Tollgate makes: client secrets, API keys, codes, tokens, sign-in links, session cookies.
//!
//! A secret is `prefix_` + 43 base64url characters (256 random bits) + 6 hex digits of a CRC-32 over what stands
//! before, so that a scanner or a typo check can tell one offline. With 256 bits of entropy a plain SHA-256 is what
//! the database keeps; a slow hash would only slow us.
//!
//! Invariant: the text of a secret is shown once, to whom asked for it, and never logged or stored.

use std::fmt;

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

pub mod terms;
#[cfg(test)]
pub(crate) mod work;

const RANDOM_BYTES: usize = 32;
const CHECKSUM_DIGITS: usize = 6;

/// What a secret is for; its prefix says so to people and scanners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// `tgs_…`: an OAuth client secret.
    Client,
    /// `tgk_…`: a key for the REST API.
    ApiKey,
    /// `tgl_…`: a one-time sign-in link.
    SignInLink,
    /// `tgw_…`: a sign-in session.
    Session,
    /// `tgc_…`: an authorization code.
    AuthorizationCode,
    /// `tgr_…`: a refresh token.
    RefreshToken,
    /// `tga_…`: an opaque access token.
    AccessToken,
    /// `tgi_…`: an initial access token (RFC 7591 section 3).
    InitialAccessToken,
    /// `tgm_…`: a registration access token, with which a client manages its registration (RFC 7592 section 3).
    RegistrationAccessToken,
    /// `tge_…`: an enrollment token.
    EnrollmentToken,
}

impl Purpose {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Client => "tgs_",
            Self::ApiKey => "tgk_",
            Self::SignInLink => "tgl_",
            Self::Session => "tgw_",
            Self::AuthorizationCode => "tgc_",
            Self::RefreshToken => "tgr_",
            Self::AccessToken => "tga_",
            Self::InitialAccessToken => "tgi_",
            Self::RegistrationAccessToken => "tgm_",
            Self::EnrollmentToken => "tge_",
        }
    }
}

/// SHA-256 of a secret's text: what is stored and looked up.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of any presented text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        #[cfg(test)]
        work::hashed();
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
        Self(bytes)
    }

    /// As the database stores it.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Compares in constant time.
    #[must_use]
    pub fn matches(&self, stored: &[u8]) -> bool {
        #[cfg(test)]
        work::compared();
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.0, stored).is_ok()
    }

    /// The first bytes in hex, to tell secrets apart without showing them: `sha256:ab12cd34`.
    #[must_use]
    pub fn fingerprint(stored: &[u8]) -> String {
        let hex: String = stored.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{hex}")
    }
}

impl From<[u8; 32]> for Digest {
    /// One that somebody else has made.
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Self::fingerprint(&self.0))
    }
}

/// A freshly made secret.
pub struct Generated {
    /// The text, to be shown once.
    pub text: Zeroizing<String>,
    /// What to store.
    pub digest: Digest,
}

/// Makes a secret.
///
/// # Panics
/// When the system's random generator fails, because nothing secret can be made then.
#[must_use]
pub fn generate(purpose: Purpose) -> Generated {
    let mut random = Zeroizing::new([0; RANDOM_BYTES]);
    rand::fill(random.as_mut()).expect("the system's random generator works");
    let body = format!("{}{}", purpose.prefix(), URL_SAFE_NO_PAD.encode(random.as_ref()));
    let text = Zeroizing::new(format!("{body}{}", checksum(&body)));
    let digest = Digest::of(&text);
    Generated { text, digest }
}

/// Whether `text` can be a secret of this purpose: a typo is told without a look-up.
#[must_use]
pub fn well_formed(purpose: Purpose, text: &str) -> bool {
    text.starts_with(purpose.prefix())
        && text
            .split_at_checked(text.len().saturating_sub(CHECKSUM_DIGITS))
            .is_some_and(|(body, given)| checksum(body) == given)
}

fn checksum(body: &str) -> String {
    format!("{:06x}", crc32fast::hash(body.as_bytes()) & 0x00ff_ffff)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_secret_is_well_formed_for_its_purpose_only() {
        let secret = generate(Purpose::Client);
        assert!(well_formed(Purpose::Client, &secret.text));
        assert!(!well_formed(Purpose::ApiKey, &secret.text));
        assert!(secret.digest.matches(Digest::of(&secret.text).as_bytes()));
    }

    #[test]
    fn a_typo_is_noticed() {
        let text = generate(Purpose::ApiKey).text;
        let typo = text.replacen(text.chars().nth(9).expect("long enough"), "~", 1);
        assert!(!well_formed(Purpose::ApiKey, &typo));
        for broken in ["", "tgk_", "tgk_ä", "ä"] {
            assert!(!well_formed(Purpose::ApiKey, broken), "{broken}");
        }
    }

    #[test]
    fn no_two_secrets_of_a_million_are_alike() {
        let secrets: HashSet<Digest> = (0..1_000_000).map(|_| generate(Purpose::AuthorizationCode).digest).collect();
        assert_eq!(secrets.len(), 1_000_000);
    }

    #[test]
    fn a_secret_is_256_bits_each_of_them_as_likely_as_not() {
        const DRAWS: u32 = 20_000;
        let mut ones = [0_u32; 8 * RANDOM_BYTES];
        for _ in 0..DRAWS {
            let text = generate(Purpose::RefreshToken).text;
            let drawn = text.strip_prefix("tgr_").and_then(|rest| rest.get(..rest.len() - CHECKSUM_DIGITS));
            let drawn = drawn.expect("prefix, bits, checksum");
            assert_eq!(drawn.len(), 43, "256 bits at six a character");
            let bytes = URL_SAFE_NO_PAD.decode(drawn).expect("base64url");
            for (at, count) in ones.iter_mut().enumerate() {
                *count += u32::from(bytes[at / 8] >> (at % 8) & 1);
            }
        }
        // Eight standard deviations (of 71) to either side of the middle: chance exceeds that once in 10^13 runs.
        for (at, count) in ones.iter().enumerate() {
            assert!(count.abs_diff(DRAWS / 2) < 566, "bit {at} was set {count} times");
        }
    }
}
