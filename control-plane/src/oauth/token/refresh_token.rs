//! The refresh token grant (OAuth 2.1 section 4.3): rotation that forgives clients which refresh from one stored token
//! several times at once, and notices a stolen one.
//!
//! A used token is good again as long as none of its successors was used: then the answer was lost, or several
//! processes share the token. Each such use gives another successor of the same family. Once a successor was used,
//! someone else still has the old token, and the family ends.
//!
//! Invariant: one statement uses a token. Only the client that it was issued to can end the family with it.

use super::{Answer, family, sql};
use crate::{
    agents::AuthMethod,
    app::App,
    oauth::{client_auth::Presented, error::OAuthError, issuer::Issuer, sql::Standing},
    secret::{self, Digest, Purpose},
};

/// The grant type's name.
pub(super) const NAME: &str = "refresh_token";
/// How long an unused token stays good.
pub(super) const IDLE_DAYS: i32 = 30;
/// For how long after its first use a token is good again.
pub(super) const GRACE_HOURS: i32 = 24;
/// How often it is.
pub(super) const REUSES_MAX: i32 = 32;
/// Whoever uses a token too often within this time is refused and no more: clients retry in loops.
pub(super) const BURST_S: f64 = 120.0;
const REUSED: &str = "a refresh token was used again after its successor";

/// Exchanges a refresh token.
pub(super) async fn issue(app: &App, issuer: &Issuer, presented: Presented<'_>) -> Result<Answer, OAuthError> {
    let (standing, mut tx) = super::admit(app, issuer, presented, NAME).await?;
    let (client, form) = (&standing.client, presented.form);
    let text = form.get("refresh_token");
    let text = text.ok_or(OAuthError::InvalidRequest("`refresh_token` is missing".into()))?;
    if !secret::well_formed(Purpose::RefreshToken, text) {
        return Err(OAuthError::InvalidGrant { reason: "the text is no refresh token" });
    }
    let used = Digest::of(text);
    let successor = secret::generate(Purpose::RefreshToken);
    let exchange = sql::Exchange { used: &used, successor: &successor.digest, rotates: rotates(&standing) };
    let prefix = family::server_prefix(app, issuer);
    let Some((family, rotated)) = sql::refresh(&mut tx, client.agent, &exchange, &prefix).await? else {
        let stolen = sql::stolen(&mut tx, client.agent, &used).await?;
        drop(tx);
        let Some(authorization) = stolen else {
            return Err(OAuthError::InvalidGrant { reason: "the refresh token is not good for this client" });
        };
        family::end(app, issuer, client, authorization, REUSED).await?;
        return Err(OAuthError::InvalidGrant { reason: REUSED });
    };
    let issuing = family.begin(&mut tx, app, issuer, &standing, form, form.get("scope")).await?;
    tx.commit().await?;
    Ok(issuing.answer(app, issuer, rotated.then_some(successor.text)).await?)
}

/// Whether each use of a token gives another. Whoever proves with a key of its own who it is cannot lose a token to
/// somebody who could use it, so that it keeps the one it has (OAuth 2.1 section 4.3.1), unless the tenant wants it
/// otherwise.
fn rotates(standing: &Standing) -> bool {
    standing.client.auth_method != AuthMethod::PrivateKeyJwt || standing.tenant.always_rotates
}
