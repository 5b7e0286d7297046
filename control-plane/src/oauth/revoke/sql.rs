//! Queries of the revocation endpoint.

use tollgate_proto::{AgentId, AuthorizationId};

use crate::{db::TenantTx, secret::Digest};

/// The family of a refresh token of this agent, unless it has ended.
pub(super) async fn family_of(
    tx: &mut TenantTx,
    agent: AgentId,
    token: &Digest,
) -> Result<Option<AuthorizationId>, sqlx::Error> {
    let id = sqlx::query_scalar!(
        "SELECT authorizations.id FROM refresh_tokens AS token
         JOIN authorizations ON authorizations.id = token.authorization_id
         WHERE token.digest = $1 AND authorizations.agent_id = $2 AND authorizations.revoked_at IS NULL",
        token.as_bytes(),
        agent.uuid(),
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(id.map(AuthorizationId::from))
}
