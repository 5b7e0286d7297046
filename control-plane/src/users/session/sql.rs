//! Every query about sign-in sessions.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use tollgate_proto::{IdentityProviderId, UserId};
use uuid::Uuid;

use super::How;
use crate::{db::TenantTx, secret::Digest};

/// A session ends after this long whatever happens.
const LIFE_S: f64 = 43_200.0;

pub(super) struct SessionRow {
    pub(super) tenant_id: Uuid,
    pub(super) tenant: String,
    pub(super) user_id: Uuid,
    pub(super) by_link: bool,
    pub(super) began_at: DateTime<Utc>,
    pub(super) proven_at: Option<DateTime<Utc>>,
    /// Since the last request, in seconds.
    pub(super) idle_s: f64,
}

/// The session with this digest, unless it has reached its end or its tenant was revoked. How long it may lie unused is
/// for its user's role to say.
pub(super) async fn session(db: &mut PgConnection, digest: &Digest) -> Result<Option<SessionRow>, sqlx::Error> {
    sqlx::query_as!(
        SessionRow,
        r#"SELECT s.tenant_id, t.name AS tenant, s.user_id, s.by_link, s.created_at AS began_at, s.proven_at,
                  extract(epoch FROM now() - s.last_seen_at)::float8 AS "idle_s!"
           FROM console_sessions s JOIN tenants t ON t.id = s.tenant_id
           WHERE s.digest = $1 AND s.expires_at > now() AND s.created_at >= to_timestamp(t.tokens_valid_from)"#,
        digest.as_bytes(),
    )
    .fetch_optional(db)
    .await
}

/// Being seen keeps a session alive; written down at most once a minute.
pub(super) async fn see(tx: &mut TenantTx, digest: &Digest) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE console_sessions SET last_seen_at = now()
         WHERE digest = $1 AND tenant_id = $2 AND last_seen_at < now() - interval '1 minute'",
        digest.as_bytes(),
        tx.tenant().uuid()
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

pub(super) async fn insert(tx: &mut TenantTx, digest: &Digest, user: UserId, how: &How<'_>) -> Result<(), sqlx::Error> {
    let proven_at = match how {
        How::Password | How::Link => Some(Utc::now()),
        How::Provider(through) => through.proven_at,
    };
    sqlx::query!(
        "INSERT INTO console_sessions (digest, tenant_id, user_id, by_link, expires_at, created_at, proven_at)
         SELECT $1, $2, $3, $4, now() + make_interval(secs => $5),
                -- A revocation counts in whole seconds and reaches a little ahead: what begins after it is later still.
                greatest(now(), to_timestamp(u.tokens_valid_from), to_timestamp(t.tokens_valid_from)),
                -- The clocks of providers may be ahead.
                CASE WHEN $6::timestamptz IS NULL THEN NULL ELSE least($6, now()) END
         FROM users u JOIN tenants t ON t.id = u.tenant_id WHERE u.tenant_id = $2 AND u.id = $3",
        digest.as_bytes(),
        tx.tenant().uuid(),
        user.uuid(),
        matches!(how, How::Link),
        LIFE_S,
        proven_at,
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// Remembers which session at the provider the session with this digest belongs to.
pub(super) async fn insert_provider_session(
    tx: &mut TenantTx,
    provider: IdentityProviderId,
    sid: &str,
    digest: &Digest,
    user: UserId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO provider_sessions (tenant_id, identity_provider_id, sid, session_digest, user_id)
         VALUES ($1, $2, $3, $4, $5)",
        tx.tenant().uuid(),
        provider.uuid(),
        sid,
        digest.as_bytes(),
        user.uuid()
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// Sweeps out sessions that have reached their end.
pub(super) async fn delete_expired(db: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM console_sessions WHERE expires_at < now()").execute(db).await.map(drop)
}

pub(super) async fn delete(tx: &mut TenantTx, digest: &Digest) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM console_sessions WHERE digest = $1 AND tenant_id = $2",
        digest.as_bytes(),
        tx.tenant().uuid()
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

pub(super) async fn delete_all_of(tx: &mut TenantTx, user: UserId) -> Result<usize, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let ended = sqlx::query_scalar!(
        "DELETE FROM console_sessions WHERE tenant_id = $1 AND user_id = $2 RETURNING 1",
        tenant,
        user.uuid()
    );
    ended.fetch_all(&mut **tx).await.map(|ended| ended.len())
}
