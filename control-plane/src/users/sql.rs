//! Every query about users, their sign-in links and their sessions.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use tollgate_proto::{TenantId, UserId};
use uuid::Uuid;

use crate::{db::TenantTx, secret::Digest};

/// A session ends after this long without a request.
const IDLE_S: f64 = 1_800.0;
/// A session ends after this long whatever happens.
const LIFE_S: f64 = 43_200.0;

pub(super) struct UserRow {
    pub(super) id: Uuid,
    pub(super) email: String,
    pub(super) role: String,
    pub(super) password_phc: Option<String>,
}

pub(super) async fn by_email(tx: &mut TenantTx, email: &str) -> Result<Option<UserRow>, sqlx::Error> {
    sqlx::query_as!(
        UserRow,
        "SELECT id, email, role, password_phc FROM users WHERE tenant_id = $1 AND lower(email) = lower($2)",
        tx.tenant().uuid(),
        email
    )
    .fetch_optional(&mut **tx)
    .await
}

pub(super) async fn by_id(tx: &mut TenantTx, user: UserId) -> Result<Option<UserRow>, sqlx::Error> {
    sqlx::query_as!(
        UserRow,
        "SELECT id, email, role, password_phc FROM users WHERE tenant_id = $1 AND id = $2",
        tx.tenant().uuid(),
        user.uuid()
    )
    .fetch_optional(&mut **tx)
    .await
}

/// Answers whether the user is new.
pub(super) async fn insert(tx: &mut TenantTx, user: UserId, email: &str, role: &str) -> Result<bool, sqlx::Error> {
    sqlx::query!(
        "INSERT INTO users (tenant_id, id, email, role) VALUES ($1, $2, $3, $4)
         ON CONFLICT (tenant_id, lower(email)) DO NOTHING",
        tx.tenant().uuid(),
        user.uuid(),
        email,
        role
    )
    .execute(&mut **tx)
    .await
    .map(|done| done.rows_affected() == 1)
}

pub(super) async fn set_password(tx: &mut TenantTx, user: UserId, phc: &str) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE users SET password_phc = $3, updated_at = now(), revision = revision + 1
         WHERE tenant_id = $1 AND id = $2",
        tx.tenant().uuid(),
        user.uuid(),
        phc
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

pub(super) async fn insert_link(
    tx: &mut TenantTx,
    digest: &Digest,
    user: UserId,
    ttl_s: f64,
) -> Result<DateTime<Utc>, sqlx::Error> {
    sqlx::query_scalar!(
        "INSERT INTO sign_in_links (digest, tenant_id, user_id, expires_at)
         VALUES ($1, $2, $3, now() + make_interval(secs => $4)) RETURNING expires_at",
        digest.as_bytes(),
        tx.tenant().uuid(),
        user.uuid(),
        ttl_s
    )
    .fetch_one(&mut **tx)
    .await
}

/// Whose tenant a link is of, spent or not.
pub(super) async fn tenant_of_link(db: &mut PgConnection, digest: &Digest) -> Result<Option<TenantId>, sqlx::Error> {
    let tenant = sqlx::query_scalar!("SELECT tenant_id FROM sign_in_links WHERE digest = $1", digest.as_bytes());
    tenant.fetch_optional(db).await.map(|found| found.map(TenantId::from))
}

/// Spends a link. Of many at once exactly one gets the user.
pub(super) async fn consume_link(tx: &mut TenantTx, digest: &Digest) -> Result<Option<UserId>, sqlx::Error> {
    sqlx::query_scalar!(
        "UPDATE sign_in_links SET consumed_at = now()
         WHERE digest = $1 AND tenant_id = $2 AND consumed_at IS NULL AND expires_at > now() RETURNING user_id",
        digest.as_bytes(),
        tx.tenant().uuid()
    )
    .fetch_optional(&mut **tx)
    .await
    .map(|found| found.map(UserId::from))
}

pub(super) async fn insert_session(
    tx: &mut TenantTx,
    digest: &Digest,
    user: UserId,
    by_link: bool,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO console_sessions (digest, tenant_id, user_id, by_link, expires_at)
         VALUES ($1, $2, $3, $4, now() + make_interval(secs => $5))",
        digest.as_bytes(),
        tx.tenant().uuid(),
        user.uuid(),
        by_link,
        LIFE_S
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// Sweeps out what can no longer be used.
pub(super) async fn delete_expired(db: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM console_sessions WHERE expires_at < now()").execute(&mut *db).await?;
    sqlx::query!("DELETE FROM sign_in_links WHERE expires_at < now() - interval '1 day'").execute(db).await.map(drop)
}

pub(super) struct SessionRow {
    pub(super) tenant_id: Uuid,
    pub(super) tenant: String,
    pub(super) user_id: Uuid,
    pub(super) by_link: bool,
    pub(super) began_at: DateTime<Utc>,
}

/// The live session with this digest; being seen keeps it alive, written down at most once a minute.
pub(super) async fn session(db: &mut PgConnection, digest: &Digest) -> Result<Option<SessionRow>, sqlx::Error> {
    sqlx::query!(
        "UPDATE console_sessions SET last_seen_at = now()
         WHERE digest = $1 AND expires_at > now() AND last_seen_at > now() - make_interval(secs => $2)
           AND last_seen_at < now() - interval '1 minute'",
        digest.as_bytes(),
        IDLE_S
    )
    .execute(&mut *db)
    .await?;
    sqlx::query_as!(
        SessionRow,
        "SELECT s.tenant_id, t.name AS tenant, s.user_id, s.by_link, s.created_at AS began_at
         FROM console_sessions s JOIN tenants t ON t.id = s.tenant_id
         WHERE s.digest = $1 AND s.expires_at > now() AND s.last_seen_at > now() - make_interval(secs => $2)",
        digest.as_bytes(),
        IDLE_S
    )
    .fetch_optional(db)
    .await
}

pub(super) async fn delete_session(tx: &mut TenantTx, digest: &Digest) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM console_sessions WHERE digest = $1 AND tenant_id = $2",
        digest.as_bytes(),
        tx.tenant().uuid()
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

pub(super) async fn delete_sessions_of(tx: &mut TenantTx, user: UserId) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM console_sessions WHERE tenant_id = $1 AND user_id = $2", tx.tenant().uuid(), user.uuid())
        .execute(&mut **tx)
        .await
        .map(drop)
}

pub(super) async fn tenant_by_name(db: &mut PgConnection, name: &str) -> Result<Option<TenantId>, sqlx::Error> {
    let tenant = sqlx::query_scalar!("SELECT id FROM tenants WHERE name = $1", name);
    tenant.fetch_optional(db).await.map(|found| found.map(TenantId::from))
}

pub(super) async fn tenant_name(tx: &mut TenantTx) -> Result<String, sqlx::Error> {
    sqlx::query_scalar!("SELECT name FROM tenants WHERE id = $1", tx.tenant().uuid()).fetch_one(&mut **tx).await
}
