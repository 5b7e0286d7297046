//! Token revocation (RFC 7009): a client says that it no longer needs a token.
//!
//! Invariant: a client can revoke its own tokens only, and the answer is the same whether there was anything to revoke
//! (section 2.2). It comes after the connected data planes have heard of it, or have had half a second to.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use serde_json::json;
use tollgate_proto::AuthorizationId;

use super::{
    access_token,
    client::Client,
    client_auth::{self, Presented},
    error::{self, OAuthError},
    form::Form,
    issuer::Issuer,
};
use crate::{
    app::App,
    audit,
    db::TenantTx,
    revocations::{self, PATIENCE, Revoked},
    secret::{self, Digest, Purpose},
};

mod sql;

/// `POST` of the revocation endpoint. `token_type_hint` is ignored: a token's text tells what it is.
pub(super) async fn answer(
    State(app): State<Arc<App>>,
    issuer: Issuer,
    request: Request,
) -> Result<Response, OAuthError> {
    let (parts, body) = request.into_parts();
    let form = Form::read(&parts.headers, body).await?;
    let presented = Presented { headers: &parts.headers, form: &form, server: None };
    let (standing, opened) = client_auth::authenticate(&app, &issuer, presented).await?;
    let client = standing.client;
    let token = form.get("token").ok_or(OAuthError::InvalidRequest("`token` is missing".into()))?;
    let mut tx = opened.transaction(&app).await?;
    if let Some(own) = Own::find(&app, &mut tx, &issuer, &client, token).await? {
        let revision = own.revoke(&mut tx, &client).await?;
        tx.commit().await?;
        revocations::enforced(&app, issuer.tenant, revision, PATIENCE).await;
    }
    let mut response = StatusCode::OK.into_response();
    error::never_store(response.headers_mut());
    Ok(response)
}

/// What the client means by the token that it sent.
enum Own {
    /// With a refresh token the whole family ends (section 2.1).
    Family(AuthorizationId),
    /// With an access token that one alone.
    Token(access_token::Known),
}

impl Own {
    async fn find(
        app: &App,
        tx: &mut TenantTx,
        issuer: &Issuer,
        client: &Client,
        token: &str,
    ) -> Result<Option<Self>, OAuthError> {
        if secret::well_formed(Purpose::RefreshToken, token) {
            return Ok(sql::family_of(tx, client.agent, &Digest::of(token)).await?.map(Self::Family));
        }
        let known = access_token::read(app, tx, issuer, token).await?;
        Ok(known.filter(|known| known.client_id == client.client_id).map(Self::Token))
    }

    /// Answers the revocation's number.
    async fn revoke(self, tx: &mut TenantTx, client: &Client) -> Result<i64, sqlx::Error> {
        let (what, action, kind, id) = match self {
            Self::Family(id) => (Revoked::GrantFamily(id), "authorization.revoke", "authorization", id.to_string()),
            Self::Token(known) => {
                let expires_at = DateTime::from_timestamp(known.expires_at, 0).unwrap_or(DateTime::<Utc>::MAX_UTC);
                let what = Revoked::Token { jti: known.jti, expires_at };
                (what, "access_token.revoke", "access_token", known.jti.to_string())
            }
        };
        let revision = revocations::revoke(tx, what, "its client revoked it").await?;
        let event = audit::Event {
            actor: &format!("agent:{}", client.name),
            action,
            object_kind: kind,
            object_id: &id,
            object_name: &client.name,
            detail: json!({ "agent": client.agent.to_string() }),
        };
        audit::record(tx, event).await?;
        Ok(revision)
    }
}
