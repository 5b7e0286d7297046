//! Queries about registrations.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use tollgate_proto::AgentId;

use crate::{agents::AuthMethod, db::TenantTx, secret::Digest};

/// A registration and what decides about changes to it.
pub(super) struct Held {
    pub(super) agent: AgentId,
    pub(super) name: String,
    pub(super) created_at: DateTime<Utc>,
    pub(super) auth_method: AuthMethod,
    pub(super) metadata: Map<String, Value>,
    pub(super) digest: Vec<u8>,
    /// A user has allowed it something, or somebody of the tenant granted it something.
    pub(super) is_relied_on: bool,
}

/// An agent that nobody uses.
pub(super) struct Idle {
    pub(super) id: AgentId,
    pub(super) name: String,
    pub(super) confirmed: bool,
}

/// The agent of the public client with this metadata, managed by `token` from now on.
pub(super) async fn again(
    tx: &mut TenantTx,
    metadata: &Digest,
    token: &Digest,
) -> Result<Option<(AgentId, DateTime<Utc>)>, sqlx::Error> {
    let known = sqlx::query!(
        "UPDATE agents SET registration_token_digest = $2, last_used_at = now()
         WHERE metadata_digest = $1 AND origin = 'registration' AND auth_method = 'none' RETURNING id, created_at",
        metadata.as_bytes(),
        token.as_bytes(),
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(known.map(|known| (known.id.into(), known.created_at)))
}

/// The registration that the token with this digest manages.
pub(super) async fn held(tx: &mut TenantTx, token: &Digest) -> Result<Option<Held>, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT id, name, created_at, auth_method AS "auth_method: AuthMethod", metadata, metadata_digest AS "digest!",
                  confirmed_at IS NOT NULL
                      OR EXISTS(SELECT FROM grants WHERE agent_id = agents.id AND created_by <> 'system')
                      AS "is_relied_on!"
           FROM agents WHERE registration_token_digest = $1 FOR NO KEY UPDATE"#,
        token.as_bytes()
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(|row| {
        Ok(Held {
            agent: row.id.into(),
            name: row.name,
            created_at: row.created_at,
            auth_method: row.auth_method,
            metadata: serde_json::from_value(row.metadata).map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
            digest: row.digest,
            is_relied_on: row.is_relied_on,
        })
    })
    .transpose()
}

/// Whether there is such an agent, and it came by another way.
pub(super) async fn is_not_registered(tx: &mut TenantTx, agent: AgentId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS(SELECT FROM agents WHERE id = $1 AND origin <> 'registration') AS "exists!""#,
        agent.uuid()
    )
    .fetch_one(&mut **tx)
    .await
}

/// Lets another token manage the registration, or none.
pub(super) async fn set_token(tx: &mut TenantTx, agent: AgentId, token: Option<&Digest>) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE agents SET registration_token_digest = $2 WHERE id = $1",
        agent.uuid(),
        token.map(Digest::as_bytes),
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// Whether this is one of the agent's secrets.
pub(super) async fn has_secret(tx: &mut TenantTx, agent: AgentId, secret: &Digest) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS(SELECT FROM agent_credentials WHERE agent_id = $1 AND digest = $2
                         AND (expires_at IS NULL OR expires_at > now())) AS "exists!""#,
        agent.uuid(),
        secret.as_bytes(),
    )
    .fetch_one(&mut **tx)
    .await
}

/// Agents that nobody uses, the oldest first, held until the transaction ends. One that waits for approval is given a
/// week, since operators have weekends.
pub(super) async fn idle(tx: &mut TenantTx, unconfirmed_ttl_s: u32, limit: i64) -> Result<Vec<Idle>, sqlx::Error> {
    sqlx::query_as!(
        Idle,
        r#"SELECT id, name, confirmed_at IS NOT NULL AS "confirmed!" FROM agents
           WHERE origin <> 'admin' AND state <> 'suspended'
             AND CASE
                 WHEN confirmed_at IS NULL THEN
                     greatest(created_at, last_used_at, metadata_fetched_at)
                         < now() - greatest(make_interval(secs => $1),
                                            CASE WHEN state = 'waiting' THEN interval '7 days' END)
                     AND NOT EXISTS(SELECT FROM grants WHERE agent_id = agents.id AND created_by <> 'system')
                 ELSE greatest(confirmed_at, last_used_at) < now() - interval '90 days'
             END
             AND NOT EXISTS(
                 SELECT FROM authorizations
                 JOIN refresh_tokens ON refresh_tokens.authorization_id = authorizations.id
                 WHERE authorizations.agent_id = agents.id AND authorizations.revoked_at IS NULL
                   AND authorizations.expires_at > now() AND refresh_tokens.expires_at > now())
           ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED"#,
        f64::from(unconfirmed_ttl_s),
        limit,
    )
    .fetch_all(&mut **tx)
    .await
}
