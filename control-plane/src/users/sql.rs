//! Every query about users, their sign-in links and their sessions.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use tollgate_proto::{IdentityProviderId, TeamId, TenantId, UserId};
use uuid::Uuid;

use super::UserState;
use crate::{caller::Role, db::TenantTx, secret::Digest};

pub(super) struct UserRow {
    pub(super) id: Uuid,
    pub(super) email: String,
    pub(super) role: String,
    pub(super) password_phc: Option<String>,
    pub(super) active: bool,
    pub(super) tokens_valid_from: i64,
}

/// A user as the API shows them.
pub(super) struct DirectoryRow {
    pub(super) id: Uuid,
    pub(super) email: String,
    pub(super) role: String,
    pub(super) team: Option<String>,
    pub(super) display_name: String,
    pub(super) state: String,
    pub(super) has_password: bool,
    pub(super) identities: Value,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
    pub(super) revision: i64,
}

/// What is stored of a user who is new.
pub(super) struct NewUser<'a> {
    pub(super) email: &'a str,
    pub(super) role: Role,
    pub(super) team: Option<TeamId>,
    pub(super) display_name: &'a str,
    pub(super) state: UserState,
}

/// What may be changed of a user.
pub(super) struct Change<'a> {
    pub(super) role: Role,
    pub(super) team: Option<TeamId>,
    pub(super) display_name: &'a str,
    pub(super) state: UserState,
}

/// Users in the order of their addresses, those after `after`.
pub(super) async fn list(tx: &mut TenantTx, after: Option<&str>, limit: i64) -> Result<Vec<DirectoryRow>, sqlx::Error> {
    select(tx, None, None, after, limit).await
}

/// The user with this id, or this address.
pub(super) async fn one(
    tx: &mut TenantTx,
    id: Option<UserId>,
    email: Option<&str>,
) -> Result<Option<DirectoryRow>, sqlx::Error> {
    Ok(select(tx, id, email, None, 1).await?.pop())
}

async fn select(
    tx: &mut TenantTx,
    id: Option<UserId>,
    email: Option<&str>,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<DirectoryRow>, sqlx::Error> {
    sqlx::query_as!(
        DirectoryRow,
        r#"SELECT u.id, u.email, u.role, t.name AS "team?", u.display_name, u.state,
                  u.password_phc IS NOT NULL AS "has_password!", u.created_at, u.updated_at, u.revision,
                  (SELECT coalesce(jsonb_agg(jsonb_build_object('provider', p.name, 'subject', i.subject,
                                                                'last_seen_at', i.last_seen_at) ORDER BY p.name), '[]')
                   FROM user_identities i JOIN identity_providers p ON p.id = i.identity_provider_id
                   WHERE i.tenant_id = u.tenant_id AND i.user_id = u.id) AS "identities!"
           FROM users u LEFT JOIN teams t ON t.tenant_id = u.tenant_id AND t.id = u.team_id
           WHERE u.tenant_id = $1 AND ($2::uuid IS NULL OR u.id = $2)
             AND ($3::text IS NULL OR lower(u.email) = lower($3)) AND ($4::text IS NULL OR lower(u.email) > $4)
           ORDER BY lower(u.email) LIMIT $5"#,
        tx.tenant().uuid(),
        id.map(|id| id.uuid()),
        email,
        after,
        limit
    )
    .fetch_all(&mut **tx)
    .await
}

pub(super) async fn by_email(tx: &mut TenantTx, email: &str) -> Result<Option<UserRow>, sqlx::Error> {
    sqlx::query_as!(
        UserRow,
        r#"SELECT id, email, role, password_phc, state = 'active' AS "active!", tokens_valid_from
           FROM users WHERE tenant_id = $1 AND lower(email) = lower($2)"#,
        tx.tenant().uuid(),
        email
    )
    .fetch_optional(&mut **tx)
    .await
}

pub(super) async fn by_id(tx: &mut TenantTx, user: UserId) -> Result<Option<UserRow>, sqlx::Error> {
    sqlx::query_as!(
        UserRow,
        r#"SELECT id, email, role, password_phc, state = 'active' AS "active!", tokens_valid_from
           FROM users WHERE tenant_id = $1 AND id = $2"#,
        tx.tenant().uuid(),
        user.uuid()
    )
    .fetch_optional(&mut **tx)
    .await
}

/// Answers whether the user is new.
pub(super) async fn insert(tx: &mut TenantTx, id: UserId, new: NewUser<'_>) -> Result<bool, sqlx::Error> {
    sqlx::query!(
        "INSERT INTO users (tenant_id, id, email, role, team_id, display_name, state) VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (tenant_id, lower(email)) DO NOTHING",
        tx.tenant().uuid(),
        id.uuid(),
        new.email,
        new.role.as_str(),
        new.team.map(|team| team.uuid()),
        new.display_name,
        new.state.as_str()
    )
    .execute(&mut **tx)
    .await
    .map(|done| done.rows_affected() == 1)
}

pub(super) async fn update(tx: &mut TenantTx, user: UserId, change: Change<'_>) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE users SET role = $3, team_id = $4, display_name = $5, state = $6, updated_at = now(),
             revision = revision + 1
         WHERE tenant_id = $1 AND id = $2",
        tx.tenant().uuid(),
        user.uuid(),
        change.role.as_str(),
        change.team.map(|team| team.uuid()),
        change.display_name,
        change.state.as_str()
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

pub(super) async fn delete(tx: &mut TenantTx, user: UserId) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM users WHERE tenant_id = $1 AND id = $2", tx.tenant().uuid(), user.uuid())
        .execute(&mut **tx)
        .await
        .map(drop)
}

/// Whether another owner than `user` may sign in.
pub(super) async fn has_other_owner(tx: &mut TenantTx, user: UserId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM users WHERE tenant_id = $1 AND id <> $2 AND role = 'owner'
                          AND state = 'active') AS "exists!""#,
        tx.tenant().uuid(),
        user.uuid()
    )
    .fetch_one(&mut **tx)
    .await
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

/// Sweeps out links that were made more than a day ago.
pub(super) async fn delete_expired_links(db: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM sign_in_links WHERE expires_at < now() - interval '1 day'").execute(db).await.map(drop)
}

/// What a sign-in has to know of a tenant.
pub(super) struct TenantRow {
    pub(super) id: Uuid,
    pub(super) local_sign_in: bool,
}

pub(super) async fn tenant_by_name(db: &mut PgConnection, name: &str) -> Result<Option<TenantRow>, sqlx::Error> {
    sqlx::query_as!(TenantRow, "SELECT id, local_sign_in FROM tenants WHERE name = $1", name).fetch_optional(db).await
}

/// Whether people of the tenant may sign in with a password.
pub(super) async fn local_sign_in(tx: &mut TenantTx) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!("SELECT local_sign_in FROM tenants WHERE id = $1", tx.tenant().uuid())
        .fetch_one(&mut **tx)
        .await
}

/// A user whom a provider knows.
pub(super) struct LinkedRow {
    pub(super) id: Uuid,
    pub(super) email: String,
    pub(super) role: String,
    pub(super) team_id: Option<Uuid>,
    pub(super) active: bool,
}

/// Whom a provider means by `subject`.
pub(super) async fn linked(
    tx: &mut TenantTx,
    provider: IdentityProviderId,
    subject: &str,
) -> Result<Option<LinkedRow>, sqlx::Error> {
    sqlx::query_as!(
        LinkedRow,
        r#"SELECT u.id, u.email, u.role, u.team_id, u.state = 'active' AS "active!"
           FROM user_identities i JOIN users u ON u.tenant_id = i.tenant_id AND u.id = i.user_id
           WHERE i.tenant_id = $1 AND i.identity_provider_id = $2 AND i.subject = $3"#,
        tx.tenant().uuid(),
        provider.uuid(),
        subject
    )
    .fetch_optional(&mut **tx)
    .await
}

pub(super) async fn link(
    tx: &mut TenantTx,
    provider: IdentityProviderId,
    subject: &str,
    user: UserId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO user_identities (tenant_id, identity_provider_id, subject, user_id) VALUES ($1, $2, $3, $4)",
        tx.tenant().uuid(),
        provider.uuid(),
        subject,
        user.uuid()
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// Notes that somebody came through a provider.
pub(super) async fn see(tx: &mut TenantTx, provider: IdentityProviderId, subject: &str) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE user_identities SET last_seen_at = now()
         WHERE tenant_id = $1 AND identity_provider_id = $2 AND subject = $3",
        tx.tenant().uuid(),
        provider.uuid(),
        subject
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// Sets what the groups of a user decide.
pub(super) async fn set_authority(
    tx: &mut TenantTx,
    user: UserId,
    role: Role,
    team: Option<TeamId>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE users SET role = $3, team_id = $4, updated_at = now(), revision = revision + 1
         WHERE tenant_id = $1 AND id = $2",
        tx.tenant().uuid(),
        user.uuid(),
        role.as_str(),
        team.map(|team| team.uuid())
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

pub(super) async fn tenant_name(tx: &mut TenantTx) -> Result<String, sqlx::Error> {
    sqlx::query_scalar!("SELECT name FROM tenants WHERE id = $1", tx.tenant().uuid()).fetch_one(&mut **tx).await
}
