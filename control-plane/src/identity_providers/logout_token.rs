//! Logout tokens: how a provider says that somebody has signed out there (OpenID Connect Back-Channel Logout 1.0
//! sections 2.4 to 2.6).
//!
//! Invariant: a token is believed only when the provider signed it with a key of its own, for us, as a logout token: no
//! ID token and no access token passes for one. That each counts once is for whoever acts on it to see to.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use openidconnect::{
    JsonWebKey as _, SignatureVerificationError,
    core::{CoreJsonWebKey, CoreJwsSigningAlgorithm},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{
    Provider, ProviderError,
    discovery::{Metadata, discover, with_new_keys},
    relying_party::{ALGORITHMS, SUBJECT_LEN_MAX},
};
use crate::app::App;

/// The one event that a logout token is about (section 2.4).
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// The type of logout tokens, and that of all JWTs, which providers write that do not type theirs (section 2.4).
const TYPES: [&str; 2] = ["logout+jwt", "jwt"];
/// An honest one has some hundred bytes.
const LEN_MAX: usize = 16 * 1024;
const JTI_LEN_MAX: usize = 512;
/// For clocks that are ahead of ours.
const AHEAD: TimeDelta = TimeDelta::seconds(60);
/// For clocks that are behind.
const BEHIND: TimeDelta = TimeDelta::seconds(5);
/// So long it has to be remembered that a token was used, at most.
const LIFE_MAX: TimeDelta = TimeDelta::days(1);

/// What a provider says has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logout {
    /// The token's name: it counts once.
    pub jti: String,
    /// Until when it has to be remembered.
    pub expires_at: DateTime<Utc>,
    /// Whose sessions.
    pub whose: Whose,
}

/// Whose sessions have ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// All of the user with this `sub`.
    User(String),
    /// Those that belong to one session at the provider.
    Session {
        /// Its `sid`.
        sid: String,
        /// The user's `sub`, where the provider says it too.
        sub: Option<String>,
    },
}

/// Why a logout token ends nothing.
#[derive(Debug, thiserror::Error)]
pub enum LogoutFault {
    /// It breaks this rule.
    #[error("{0}")]
    Refused(Refusal),
    /// Whether it is good cannot be found out now.
    #[error(transparent)]
    Provider(#[from] ProviderError),
}

/// The rule that a logout token breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is no JWS in the compact form with claims in JSON.
    #[error("it is no signed JWT")]
    Malformed,
    /// RFC 7515 section 4.1.11.
    #[error("it has critical header parameters that nobody here understands")]
    Critical,
    /// `typ`.
    #[error("it is a JWT of another type (typ)")]
    Type,
    /// `alg`.
    #[error("its algorithm is not accepted (alg)")]
    Algorithm,
    /// The signature, or its key.
    #[error("no key of the identity provider signed it")]
    Signature,
    /// `iss`.
    #[error("it is from another issuer (iss)")]
    Issuer,
    /// `aud`.
    #[error("it is for somebody else (aud)")]
    Audience,
    /// `iat`.
    #[error("it does not say when it was issued, or that is in the future (iat)")]
    IssuedAt,
    /// `exp`.
    #[error("it has expired, or does not say when it does, or lives longer than a day (exp)")]
    Expiry,
    /// `jti`.
    #[error("it has no name of its own, or one that is too long (jti)")]
    Name,
    /// `events`.
    #[error("it is not about a logout (events)")]
    Event,
    /// `nonce`.
    #[error("it has a nonce, as only ID tokens may")]
    Nonce,
    /// `sub`, `sid`.
    #[error("it names neither a user nor a session (sub, sid)")]
    Nobody,
}

/// The JOSE header (RFC 7515 section 4.1).
#[derive(Deserialize)]
struct Head {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
}

/// A JWS in the compact form, apart.
struct Parts<'a> {
    head: Head,
    claims: Map<String, Value>,
    signed: &'a [u8],
    signature: Vec<u8>,
}

/// What a logout token of this provider says.
///
/// # Errors
/// [`LogoutFault::Refused`] for a token that breaks a rule, [`LogoutFault::Provider`] when the provider's keys cannot be
/// read.
pub async fn read(app: &App, provider: &Provider, token: &str) -> Result<Logout, LogoutFault> {
    let parts = Parts::of(token)?;
    let algorithm = parts.head.algorithm()?;
    let mut metadata = discover(app, provider).await?;
    let mut verified = parts.verify(&metadata, &algorithm);
    // The key may be one that the provider has only just begun to use.
    if verified == Err(Unverified::UnknownKey) && app.identity_providers.may_prompt(provider.id) {
        metadata = with_new_keys(app, provider, &metadata).await?;
        verified = parts.verify(&metadata, &algorithm);
    }
    verified.map_err(|_| Refusal::Signature)?;
    Ok(judge(&parts.claims, &provider.spec.issuer, &provider.spec.client_id, Utc::now())?)
}

/// What verified claims say (section 2.6, steps 4 to 7).
fn judge(claims: &Map<String, Value>, issuer: &str, client_id: &str, now: DateTime<Utc>) -> Result<Logout, Refusal> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("iss") != Some(issuer) {
        return Err(Refusal::Issuer);
    }
    let ours = |audience: &Value| audience.as_str() == Some(client_id);
    let alone = |audiences: &Vec<Value>| audiences.len() == 1 && audiences.iter().all(ours);
    if !claims.get("aud").is_some_and(|audience| ours(audience) || audience.as_array().is_some_and(alone)) {
        return Err(Refusal::Audience);
    }
    moment(claims, "iat").filter(|issued_at| *issued_at <= now + AHEAD).ok_or(Refusal::IssuedAt)?;
    let expires_at = moment(claims, "exp").filter(|exp| *exp + BEHIND > now && *exp <= now + LIFE_MAX);
    let expires_at = expires_at.ok_or(Refusal::Expiry)?;
    if !claims.get("events").and_then(|events| events.get(EVENT)).is_some_and(Value::is_object) {
        return Err(Refusal::Event);
    }
    if claims.contains_key("nonce") {
        return Err(Refusal::Nonce);
    }
    let jti = text("jti").filter(|jti| !jti.is_empty() && jti.len() <= JTI_LEN_MAX).ok_or(Refusal::Name)?;
    let whose = match (named(claims, "sub")?, named(claims, "sid")?) {
        (sub, Some(sid)) => Whose::Session { sid, sub },
        (Some(sub), None) => Whose::User(sub),
        (None, None) => return Err(Refusal::Nobody),
    };
    Ok(Logout { jti: jti.to_owned(), expires_at: expires_at + BEHIND, whose })
}

/// A claim that names somebody, if it is there.
fn named(claims: &Map<String, Value>, claim: &str) -> Result<Option<String>, Refusal> {
    let Some(value) = claims.get(claim) else { return Ok(None) };
    let text = value.as_str().filter(|text| !text.is_empty() && text.len() <= SUBJECT_LEN_MAX);
    text.map(|text| Some(text.to_owned())).ok_or(Refusal::Nobody)
}

/// A NumericDate (RFC 7519 section 2), to the second.
#[expect(clippy::cast_possible_truncation, reason = "what is beyond the range is no moment, and is refused as one")]
fn moment(claims: &Map<String, Value>, claim: &str) -> Option<DateTime<Utc>> {
    let seconds = claims.get(claim).and_then(Value::as_f64)?;
    DateTime::from_timestamp(seconds as i64, 0)
}

/// Why a signature proves nothing.
#[derive(Debug, PartialEq, Eq)]
enum Unverified {
    /// The provider published no key of this name.
    UnknownKey,
    /// None of its keys made it.
    WrongSignature,
}

impl<'a> Parts<'a> {
    fn of(token: &'a str) -> Result<Self, Refusal> {
        if token.len() > LEN_MAX {
            return Err(Refusal::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Refusal::Malformed)?;
        let (head, claims) = signed.split_once('.').ok_or(Refusal::Malformed)?;
        Ok(Self {
            head: decoded(head)?,
            claims: decoded(claims)?,
            signed: signed.as_bytes(),
            signature: URL_SAFE_NO_PAD.decode(signature).map_err(|_| Refusal::Malformed)?,
        })
    }

    fn verify(&self, metadata: &Metadata, algorithm: &CoreJwsSigningAlgorithm) -> Result<(), Unverified> {
        let named = |key: &&CoreJsonWebKey| match (&self.head.kid, key.key_id()) {
            (Some(kid), Some(id)) => kid == id.as_str(),
            (Some(_), None) => false,
            (None, _) => true,
        };
        let mut outcome = Err(Unverified::UnknownKey);
        for key in metadata.jwks().keys().iter().filter(named) {
            match key.verify_signature(algorithm, self.signed, &self.signature) {
                Ok(()) => return Ok(()),
                // A key of another type is none that it could have been.
                Err(SignatureVerificationError::InvalidKey(_)) => {}
                Err(_) => outcome = Err(Unverified::WrongSignature),
            }
        }
        outcome
    }
}

impl Head {
    /// The algorithm, when the header is one that a logout token may have.
    fn algorithm(&self) -> Result<CoreJwsSigningAlgorithm, Refusal> {
        if self.crit.is_some() {
            return Err(Refusal::Critical);
        }
        // RFC 7515 section 4.1.9: without the prefix where there is no other slash.
        let bare = self.typ.as_ref().map(|typ| typ.to_ascii_lowercase());
        let bare = bare.as_deref().map(|typ| typ.strip_prefix("application/").unwrap_or(typ));
        if bare.is_some_and(|typ| !TYPES.contains(&typ)) {
            return Err(Refusal::Type);
        }
        let algorithm = serde_json::from_value(Value::from(self.alg.as_str())).map_err(|_| Refusal::Algorithm)?;
        if ALGORITHMS.contains(&algorithm) { Ok(algorithm) } else { Err(Refusal::Algorithm) }
    }
}

impl From<Refusal> for LogoutFault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

fn decoded<T: DeserializeOwned>(part: &str) -> Result<T, Refusal> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| Refusal::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| Refusal::Malformed)
}
