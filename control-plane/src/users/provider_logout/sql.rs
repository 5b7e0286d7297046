//! Queries about what ends with a session at an identity provider.

use chrono::{DateTime, Utc};
use tollgate_proto::{AuthorizationId, IdentityProviderId};
use uuid::Uuid;

use crate::{db::TenantTx, secret::Digest};

/// A sign-in session, live or not, that belongs to a session at a provider.
pub(super) struct Known {
    pub(super) session_digest: Vec<u8>,
    pub(super) user_id: Uuid,
}

/// Uses up a logout token; false when it was used before.
pub(super) async fn use_token(
    tx: &mut TenantTx,
    digest: &Digest,
    expires_at: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let used = sqlx::query!(
        "INSERT INTO used_logout_tokens (tenant_id, digest, expires_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        tx.tenant().uuid(),
        digest.as_bytes(),
        expires_at
    );
    used.execute(&mut **tx).await.map(|done| done.rows_affected() == 1)
}

/// Waits for whoever else changes the tenant, as the first thing that locks.
pub(super) async fn lock_tenant(tx: &mut TenantTx) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!("SELECT id FROM tenants WHERE id = $1 FOR NO KEY UPDATE", tenant)
        .fetch_one(&mut **tx)
        .await
        .map(drop)
}

/// What belongs to the session `sid` of the provider; of the user with this `sub` there, where it is told.
pub(super) async fn sessions(
    tx: &mut TenantTx,
    provider: IdentityProviderId,
    sid: &str,
    sub: Option<&str>,
) -> Result<Vec<Known>, sqlx::Error> {
    sqlx::query_as!(
        Known,
        "SELECT s.session_digest, s.user_id FROM provider_sessions s
         WHERE s.tenant_id = $1 AND s.identity_provider_id = $2 AND s.sid = $3
           AND ($4::text IS NULL OR EXISTS (
               SELECT FROM user_identities i
               WHERE i.tenant_id = s.tenant_id AND i.identity_provider_id = s.identity_provider_id
                 AND i.user_id = s.user_id AND i.subject = $4))
         ORDER BY s.session_digest",
        tx.tenant().uuid(),
        provider.uuid(),
        sid,
        sub
    )
    .fetch_all(&mut **tx)
    .await
}

/// Answers how many sessions that were.
pub(super) async fn delete_session(tx: &mut TenantTx, digest: &[u8]) -> Result<usize, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let deleted = sqlx::query!("DELETE FROM console_sessions WHERE tenant_id = $1 AND digest = $2", tenant, digest);
    deleted.execute(&mut **tx).await.map(|done| usize::from(done.rows_affected() > 0))
}

/// The grant families that began in a session and live.
pub(super) async fn families_of(tx: &mut TenantTx, digest: &[u8]) -> Result<Vec<AuthorizationId>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let families = sqlx::query_scalar!(
        "SELECT id FROM authorizations
         WHERE tenant_id = $1 AND session_digest = $2 AND revoked_at IS NULL AND expires_at > now() ORDER BY id",
        tenant,
        digest
    );
    Ok(families.fetch_all(&mut **tx).await?.into_iter().map(AuthorizationId::from).collect())
}

/// Tokens that have expired: a minute is for clocks that are apart.
pub(super) async fn purge_tokens(tx: &mut TenantTx) -> Result<u64, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "DELETE FROM used_logout_tokens WHERE tenant_id = $1 AND expires_at < now() - interval '1 minute'",
        tenant
    )
    .execute(&mut **tx)
    .await
    .map(|done| done.rows_affected())
}

/// Those whose sign-in session has ended, and in which no family lives.
pub(super) async fn purge_provider_sessions(tx: &mut TenantTx) -> Result<u64, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "DELETE FROM provider_sessions p
         WHERE p.tenant_id = $1 AND p.created_at < now() - interval '12 hours'
           AND NOT EXISTS (SELECT FROM console_sessions s WHERE s.digest = p.session_digest AND s.expires_at > now())
           AND NOT EXISTS (SELECT FROM authorizations a
                           WHERE a.tenant_id = p.tenant_id AND a.session_digest = p.session_digest
                             AND a.revoked_at IS NULL AND a.expires_at > now())",
        tenant
    )
    .execute(&mut **tx)
    .await
    .map(|done| done.rows_affected())
}
