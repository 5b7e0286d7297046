//! Queries about agents' secrets.

use chrono::{DateTime, Utc};
use tollgate_proto::{AgentId, CredentialId};

use super::Credential;
use crate::{db::TenantTx, secret::Digest};

pub(super) async fn list(tx: &mut TenantTx, agent: AgentId) -> Result<Vec<Credential>, sqlx::Error> {
    sqlx::query!(
        "SELECT id, digest, created_at, created_by, expires_at, last_used_at
         FROM agent_credentials WHERE agent_id = $1 ORDER BY created_at, id",
        agent.uuid()
    )
    .map(|row| Credential {
        id: row.id.into(),
        fingerprint: Digest::fingerprint(&row.digest),
        created_at: row.created_at,
        created_by: row.created_by,
        expires_at: row.expires_at,
        last_used_at: row.last_used_at,
    })
    .fetch_all(&mut **tx)
    .await
}

pub(super) async fn lock_agent(tx: &mut TenantTx, agent: AgentId) -> Result<(), sqlx::Error> {
    sqlx::query!("SELECT id FROM agents WHERE id = $1 FOR NO KEY UPDATE", agent.uuid())
        .fetch_optional(&mut **tx)
        .await
        .map(drop)
}

pub(super) async fn count_active(tx: &mut TenantTx, agent: AgentId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM agent_credentials
           WHERE agent_id = $1 AND (expires_at IS NULL OR expires_at > now())"#,
        agent.uuid()
    )
    .fetch_one(&mut **tx)
    .await
}

pub(super) async fn insert(
    tx: &mut TenantTx,
    id: CredentialId,
    agent: AgentId,
    digest: &Digest,
    actor: &str,
) -> Result<DateTime<Utc>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!(
        "INSERT INTO agent_credentials (tenant_id, id, agent_id, digest, created_by) VALUES ($1, $2, $3, $4, $5)
         RETURNING created_at",
        tenant,
        id.uuid(),
        agent.uuid(),
        digest.as_bytes(),
        actor,
    )
    .fetch_one(&mut **tx)
    .await
}

/// Answers the digest of the secret that is gone.
pub(super) async fn delete(
    tx: &mut TenantTx,
    agent: AgentId,
    id: CredentialId,
) -> Result<Option<Vec<u8>>, sqlx::Error> {
    sqlx::query_scalar!(
        "DELETE FROM agent_credentials WHERE agent_id = $1 AND id = $2 RETURNING digest",
        agent.uuid(),
        id.uuid()
    )
    .fetch_optional(&mut **tx)
    .await
}
