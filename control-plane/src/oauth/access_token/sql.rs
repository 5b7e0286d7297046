//! Queries about opaque access tokens.

use serde_json::Value;
use tollgate_proto::{AgentId, AuthorizationId, UserId};

use super::{Minted, read::Known};
use crate::{db::TenantTx, secret::Digest};

/// Stores what a reference stands for.
#[expect(clippy::cast_precision_loss, reason = "seconds since 1970 need 31 of the 53 bits")]
pub(super) async fn insert(tx: &mut TenantTx, digest: &Digest, minted: &Minted) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let contents = &minted.contents;
    let on_behalf = contents.on_behalf.as_ref();
    sqlx::query!(
        "INSERT INTO access_tokens (tenant_id, digest, jti, authorization_id, agent_id, user_id, resource, scope,
                                    issued_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, to_timestamp($9), to_timestamp($10))",
        tenant,
        digest.as_bytes(),
        minted.jti,
        on_behalf.map(|acting| acting.authorization).map(AuthorizationId::uuid),
        contents.agent.uuid(),
        on_behalf.map(|acting| acting.user).map(UserId::uuid),
        contents.audience,
        contents.scope,
        minted.issued_at as f64,
        minted.expires_at() as f64,
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// What a reference stands for, expired or not.
pub(super) async fn find(tx: &mut TenantTx, digest: &Digest) -> Result<Option<Known>, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT token.jti, token.authorization_id, token.user_id, token.resource, token.scope, token.issued_at,
                  token.expires_at, agents.id AS agent_id, agents.document_url
           FROM access_tokens AS token JOIN agents ON agents.id = token.agent_id
           WHERE token.digest = $1"#,
        digest.as_bytes(),
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(|row| Known {
        jti: row.jti,
        client_id: row.document_url.unwrap_or_else(|| AgentId::from(row.agent_id).to_string()),
        user: row.user_id.map(UserId::from),
        authorization: row.authorization_id.map(AuthorizationId::from),
        kid: None,
        audience: row.resource,
        scope: row.scope,
        issued_at: row.issued_at.timestamp(),
        expires_at: row.expires_at.timestamp(),
    }))
}

/// The public half of a signing key, as a JWK.
pub(super) async fn public_key(tx: &mut TenantTx, kid: &str) -> Result<Option<Value>, sqlx::Error> {
    sqlx::query_scalar!("SELECT public_jwk FROM signing_keys WHERE kid = $1", kid).fetch_optional(&mut **tx).await
}
