//! `private_key_jwt`: a client proves who it is by a JWT that it signed (RFC 7523 sections 2.2 and 3).
//!
//! Invariant: an assertion is accepted for one client, one audience, at most ten minutes and one algorithm that was
//! chosen by us or at registration, never by the assertion alone. That it is used once is `sql::use_assertion`'s to
//! see to.

use aws_lc_rs::digest::{Context, SHA256};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use tollgate_proto::AgentId;

use super::client_keys::{KeySet, alg_named};
use crate::agents::SigningAlg;

/// RFC 7523 section 2.2: `client_assertion_type`.
pub(super) const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// An honest one has some hundred bytes.
const LEN_MAX: usize = 8 * 1024;
const LIFE_S_MAX: i64 = 10 * 60;
/// For clocks that are ahead of ours.
const AHEAD_S_MAX: i64 = 60;
/// For clocks that are behind.
const LEEWAY_S: i64 = 5;
const JTI_LEN_MAX: usize = 512;
/// JWTs that mean something else and must not be taken for an assertion (RFC 8725 section 3.11).
const FOREIGN_TYPES: [&str; 7] = [
    "at+jwt",
    "dpop+jwt",
    "logout+jwt",
    "oauth-authz-req+jwt",
    "oauth-id-jag+jwt",
    "secevent+jwt",
    "token-introspection+jwt",
];

/// Why an assertion proves nothing. For the log: a client learns no more than that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum AssertionFault {
    #[error("it is longer than {LEN_MAX} bytes")]
    TooLong,
    #[error("it is no signed JWT with the claims that are required")]
    Malformed,
    #[error("it has critical header parameters that nobody here understands")]
    Critical,
    #[error("it is a JWT of another type")]
    ForeignType,
    #[error("its algorithm is not accepted, or is not the registered one")]
    Algorithm,
    #[error("its issuer, its subject and the client are not the same")]
    Subject,
    #[error("it is for somebody else")]
    Audience,
    #[error("it has expired")]
    Expired,
    #[error("it is not valid yet")]
    NotYetValid,
    #[error("it is valid for more than ten minutes")]
    TooLongLived,
    #[error("no key of the client has its `kid`")]
    UnknownKey,
    #[error("the signature is wrong")]
    Signature,
}

/// What an assertion must fit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected<'a> {
    pub(super) client_id: &'a str,
    /// The algorithm that the client registered, if it did.
    pub(super) alg: Option<SigningAlg>,
    pub(super) issuer: &'a str,
    /// The token endpoint's URL, where that is an audience too.
    pub(super) token_endpoint: Option<&'a str>,
    /// Unix seconds.
    pub(super) now: i64,
}

/// A JWT that reads like an assertion. Nothing in it is true yet.
pub(super) struct Assertion {
    alg: SigningAlg,
    kid: Option<String>,
    claims: Claims,
    /// What is signed: header and claims, as they came.
    message: String,
    signature: Vec<u8>,
}

/// An assertion that proves what it says, if it is the first of its `jti`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Accepted<'a> {
    pub(super) jti: &'a str,
    /// Unix seconds: no copy is accepted after.
    pub(super) expires_at: i64,
    /// Whom it was addressed to.
    pub(super) audience: &'a str,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: NumericDate,
    nbf: Option<NumericDate>,
    iat: Option<NumericDate>,
    jti: String,
}

/// RFC 7519 section 4.1.3; more than one member is how an assertion is carried elsewhere.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Array([String; 1]),
}

/// RFC 7519 section 2: seconds, with a fraction if the client likes.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "f64")]
struct NumericDate(i64);

impl TryFrom<f64> for NumericDate {
    type Error = &'static str;

    #[allow(clippy::cast_possible_truncation, reason = "the range is checked, the fraction is not wanted")]
    fn try_from(seconds: f64) -> Result<Self, Self::Error> {
        if (0.0..1e12).contains(&seconds) { Ok(Self(seconds as i64)) } else { Err("no date of this age") }
    }
}

impl Assertion {
    /// Reads a text, cheaply.
    pub(super) fn read(text: &str) -> Result<Self, AssertionFault> {
        if text.len() > LEN_MAX {
            return Err(AssertionFault::TooLong);
        }
        let (message, signature) = text.rsplit_once('.').ok_or(AssertionFault::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(AssertionFault::Malformed)?;
        let header: Header = part(header)?;
        if header.crit.is_some() {
            return Err(AssertionFault::Critical);
        }
        if header.typ.as_deref().is_some_and(is_foreign) {
            return Err(AssertionFault::ForeignType);
        }
        let alg = alg_named(&header.alg).ok_or(AssertionFault::Algorithm)?;
        let claims: Claims = part(claims)?;
        if claims.jti.is_empty() || claims.jti.len() > JTI_LEN_MAX {
            return Err(AssertionFault::Malformed);
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| AssertionFault::Malformed)?;
        Ok(Self { alg, kid: header.kid, claims, message: message.to_owned(), signature })
    }

    /// Whom it claims to be.
    pub(super) fn client_id(&self) -> &str {
        &self.claims.iss
    }

    /// The key that it names.
    pub(super) fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Checks everything about it but whether it was used before.
    pub(super) fn accept(&self, expected: &Expected<'_>, keys: &KeySet) -> Result<Accepted<'_>, AssertionFault> {
        if expected.alg.is_some_and(|registered| registered != self.alg) {
            return Err(AssertionFault::Algorithm);
        }
        if self.claims.iss != expected.client_id || self.claims.sub != expected.client_id {
            return Err(AssertionFault::Subject);
        }
        let audience = self.claims.aud.only();
        if audience != expected.issuer && Some(audience) != expected.token_endpoint {
            return Err(AssertionFault::Audience);
        }
        let expires_at = self.check_times(expected.now)?;
        if !keys.knows(self.kid()) {
            return Err(AssertionFault::UnknownKey);
        }
        if !keys.verifies(self.kid(), self.alg, self.message.as_bytes(), &self.signature) {
            return Err(AssertionFault::Signature);
        }
        Ok(Accepted { jti: &self.claims.jti, expires_at, audience })
    }

    fn check_times(&self, now: i64) -> Result<i64, AssertionFault> {
        let NumericDate(exp) = self.claims.exp;
        if exp + LEEWAY_S <= now {
            return Err(AssertionFault::Expired);
        }
        let future = |date: Option<NumericDate>| date.is_some_and(|NumericDate(at)| at > now + AHEAD_S_MAX);
        if future(self.claims.nbf) || future(self.claims.iat) {
            return Err(AssertionFault::NotYetValid);
        }
        let issued_at = self.claims.iat.map_or(now, |NumericDate(iat)| iat);
        if exp - issued_at > LIFE_S_MAX || exp - now > LIFE_S_MAX + AHEAD_S_MAX {
            return Err(AssertionFault::TooLongLived);
        }
        Ok(exp + LEEWAY_S)
    }
}

impl Audience {
    const fn only(&self) -> &str {
        match self {
            Self::One(audience) | Self::Array([audience]) => audience.as_str(),
        }
    }
}

/// What is remembered of a used assertion: SHA-256 over the client and its `jti`.
pub(super) fn digest(client: AgentId, jti: &str) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    context.update(client.uuid().as_bytes());
    context.update(jti.as_bytes());
    context.finish().as_ref().to_vec()
}

fn part<T: DeserializeOwned>(text: &str) -> Result<T, AssertionFault> {
    let json = URL_SAFE_NO_PAD.decode(text).map_err(|_| AssertionFault::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| AssertionFault::Malformed)
}

/// RFC 7515 section 4.1.9: `application/` may be left out, and case does not matter.
fn is_foreign(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    FOREIGN_TYPES.contains(&typ.strip_prefix("application/").unwrap_or(&typ))
}

#[cfg(test)]
mod tests;
