//! The public keys that verify a tenant's tokens, as a JWK Set (RFC 7517 section 5).

use std::sync::Arc;

use axum::{extract::State, http::HeaderMap, response::Response};

use super::{document, error::OAuthError, issuer::Issuer, keys};
use crate::app::App;

/// Third parties look again after this long, so a new key is published that long before it signs.
const MAX_AGE_S: u32 = 300;

/// `GET`, `HEAD` of a tenant's JWK Set.
pub(super) async fn show(
    State(app): State<Arc<App>>,
    issuer: Issuer,
    headers: HeaderMap,
) -> Result<Response, OAuthError> {
    keys::ensure(&app, issuer.tenant).await?;
    let mut tx = app.db.tenant(issuer.tenant).await?;
    let jwks = keys::public_jwks(&mut tx).await?;
    tx.commit().await?;
    Ok(document::answer(&headers, jwks, MAX_AGE_S))
}
