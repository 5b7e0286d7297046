//! The authorization code grant (OAuth 2.1 section 4.1.3) with PKCE (RFC 7636), method S256.
//!
//! Invariant: one statement redeems a code, and only where everything about the request is right. A second request
//! that is right too, and comes too late to be a repetition, ends the family; one that is wrong ends nothing, so that
//! nobody can do that to somebody else.

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{Answer, family, refresh_token, sql};
use crate::{
    app::App,
    oauth::{client_auth::Presented, error::OAuthError, form::Form, issuer::Issuer},
    secret::{self, Digest, Purpose},
};

/// The grant type's name.
pub(super) const NAME: &str = "authorization_code";
/// A code that is redeemed again within this time was sent twice by its own client: retries and double clicks come
/// this fast, and whoever stole a code is refused either way. OAuth 2.1 section 4.1.3 wants the tokens revoked, as a
/// tenant may too (`strict_code_reuse`).
pub(super) const REPETITION_S: f64 = 2.0;
const REPLAYED: &str = "an authorization code was redeemed again";
/// RFC 7636 section 4.1.
const VERIFIER_LENGTH: std::ops::RangeInclusive<usize> = 43..=128;

/// A request to redeem a code, as far as it can be checked without the database.
pub(super) struct Redemption<'a> {
    /// Of the code.
    pub(super) code: Digest,
    /// What the verifier comes to.
    pub(super) challenge: String,
    /// OAuth 2.1 dropped the parameter, OAuth 2.0 clients send it: then it must be the one of the request.
    pub(super) redirect_uri: Option<&'a str>,
}

impl<'a> Redemption<'a> {
    fn read(form: &'a Form) -> Result<Self, OAuthError> {
        let missing = |name: &str| OAuthError::InvalidRequest(format!("`{name}` is missing").into());
        let code = form.get("code").ok_or_else(|| missing("code"))?;
        let verifier = form.get("code_verifier").ok_or_else(|| missing("code_verifier"))?;
        if !is_verifier(verifier) {
            return Err(OAuthError::InvalidRequest("`code_verifier` is not 43 to 128 unreserved characters".into()));
        }
        if !secret::well_formed(Purpose::AuthorizationCode, code) {
            return Err(OAuthError::InvalidGrant { reason: "the text is no authorization code" });
        }
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
        Ok(Self { code: Digest::of(code), challenge, redirect_uri: form.get("redirect_uri") })
    }
}

/// Redeems a code.
pub(super) async fn issue(app: &App, issuer: &Issuer, presented: Presented<'_>) -> Result<Answer, OAuthError> {
    let (standing, mut tx) = super::admit(app, issuer, presented, NAME).await?;
    let client = &standing.client;
    let redemption = Redemption::read(presented.form)?;
    let refresh = client.may_use(refresh_token::NAME).then(|| secret::generate(Purpose::RefreshToken));
    let stored = refresh.as_ref().map(|made| &made.digest);
    let prefix = family::server_prefix(app, issuer);
    let Some(family) = sql::redeem_code(&mut tx, client.agent, &redemption, stored, &prefix).await? else {
        let replayed = sql::replayed_code(&mut tx, client.agent, &redemption).await?;
        drop(tx);
        let Some(authorization) = replayed else {
            return Err(OAuthError::InvalidGrant { reason: "the code is not good for this request" });
        };
        family::end(app, issuer, client, authorization, REPLAYED).await?;
        return Err(OAuthError::InvalidGrant { reason: REPLAYED });
    };
    let issuing = family.begin(&mut tx, app, issuer, &standing, presented.form, None).await?;
    tx.commit().await?;
    Ok(issuing.answer(app, issuer, refresh.map(|made| made.text)).await?)
}

/// RFC 7636 section 4.1.
fn is_verifier(text: &str) -> bool {
    VERIFIER_LENGTH.contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifier_is_43_to_128_unreserved_characters() {
        for text in ["a".repeat(43), "-._~".repeat(32), "Az09".repeat(11)] {
            assert!(is_verifier(&text), "{text}");
        }
        for text in ["a".repeat(42), "a".repeat(129), "a".repeat(42) + "+", "a".repeat(42) + "ä", String::new()] {
            assert!(!is_verifier(&text), "{text}");
        }
    }
}
