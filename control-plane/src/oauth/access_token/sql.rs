//! Queries about opaque access tokens.

use tollgate_proto::{AuthorizationId, UserId};

use super::Minted;
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
