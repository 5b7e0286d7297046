//! Every query on revocations.

use chrono::{DateTime, Utc};
use tollgate_proto::{AgentId, AuthorizationId, UserId};

use crate::db::TenantTx;

/// The next revocation's number, and the moment it got it.
pub(super) struct Numbered {
    pub(super) revision: i64,
    /// The first whole second after that moment: what is issued later has no earlier `iat`.
    pub(super) issued_before: i64,
    pub(super) at: DateTime<Utc>,
}

/// A row in the making.
pub(super) struct NewRevocation<'a> {
    pub(super) revision: i64,
    pub(super) kind: &'static str,
    pub(super) subject: &'a str,
    /// Whose tokens may name it by its document.
    pub(super) agent: Option<AgentId>,
    pub(super) issued_before: Option<i64>,
    pub(super) reason: &'a str,
    pub(super) expires_at: DateTime<Utc>,
}

/// The number of a live revocation of this very thing.
pub(super) async fn find(tx: &mut TenantTx, kind: &str, subject: &str) -> Result<Option<i64>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!(
        "SELECT revision FROM revocations
         WHERE tenant_id = $1 AND kind = $2 AND subject = $3 AND expires_at > now()
         ORDER BY revision DESC LIMIT 1",
        tenant,
        kind,
        subject
    )
    .fetch_optional(&mut **tx)
    .await
}

pub(super) async fn end_family(tx: &mut TenantTx, family: AuthorizationId, reason: &str) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE authorizations SET revoked_at = now(), revoked_because = $2 WHERE id = $1 AND revoked_at IS NULL",
        family.uuid(),
        reason
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

pub(super) async fn end_families_of_agent(tx: &mut TenantTx, agent: AgentId, reason: &str) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE authorizations SET revoked_at = now(), revoked_because = $2
         WHERE agent_id = $1 AND revoked_at IS NULL",
        agent.uuid(),
        reason
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

pub(super) async fn end_families_of_user(tx: &mut TenantTx, user: UserId, reason: &str) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE authorizations SET revoked_at = now(), revoked_because = $2
         WHERE user_id = $1 AND revoked_at IS NULL",
        user.uuid(),
        reason
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

pub(super) async fn end_all_families(tx: &mut TenantTx, reason: &str) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE authorizations SET revoked_at = now(), revoked_because = $1
         WHERE revoked_at IS NULL",
        reason
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// The clock is the database's, read under the lock: what was revoked in the name of one control plane is not saved
/// by the clock of another.
pub(super) async fn number(tx: &mut TenantTx) -> Result<Numbered, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        Numbered,
        r#"UPDATE tenants SET revocation_revision = revocation_revision + 1 WHERE id = $1
           RETURNING revocation_revision AS revision, clock_timestamp() AS "at!",
                     floor(extract(epoch FROM clock_timestamp()))::bigint + 1 AS "issued_before!""#,
        tenant
    )
    .fetch_one(&mut **tx)
    .await
}

pub(super) async fn void_tokens_of_agent(
    tx: &mut TenantTx,
    agent: AgentId,
    issued_before: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE agents SET tokens_valid_from = GREATEST(tokens_valid_from, $2) WHERE id = $1",
        agent.uuid(),
        issued_before
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

pub(super) async fn void_tokens_of_user(
    tx: &mut TenantTx,
    user: UserId,
    issued_before: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE users SET tokens_valid_from = GREATEST(tokens_valid_from, $2) WHERE id = $1",
        user.uuid(),
        issued_before
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

pub(super) async fn void_tokens_of_tenant(tx: &mut TenantTx, issued_before: i64) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE tenants SET tokens_valid_from = GREATEST(tokens_valid_from, $2) WHERE id = $1",
        tenant,
        issued_before
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

pub(super) async fn insert(tx: &mut TenantTx, new: &NewRevocation<'_>) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO revocations (tenant_id, revision, kind, subject, issued_before, reason, expires_at, document_url)
         VALUES ($1, $2, $3, $4, $5, $6, $7, (SELECT document_url FROM agents WHERE id = $8))",
        tenant,
        new.revision,
        new.kind,
        new.subject,
        new.issued_before,
        new.reason,
        new.expires_at,
        new.agent.map(AgentId::uuid),
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

pub(super) async fn purge(tx: &mut TenantTx) -> Result<u64, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("DELETE FROM revocations WHERE tenant_id = $1 AND expires_at <= now()", tenant)
        .execute(&mut **tx)
        .await
        .map(|done| done.rows_affected())
}
