//! Queries about enrollment tokens, which are no tenant's.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use tollgate_proto::{DataPlaneId, EnrollmentTokenId};

use super::{Admission, EnrollmentToken};
use crate::secret::Digest;

/// A token to be stored.
pub(super) struct New<'a> {
    pub(super) id: EnrollmentTokenId,
    pub(super) digest: &'a Digest,
    pub(super) name: &'a str,
    pub(super) actor: &'a str,
    pub(super) expires_at: DateTime<Utc>,
    pub(super) uses: u32,
}

pub(super) async fn list(connection: &mut PgConnection) -> Result<Vec<EnrollmentToken>, sqlx::Error> {
    sqlx::query!(
        "SELECT id, name, digest, created_at, created_by, expires_at, uses_left FROM enrollment_tokens ORDER BY id DESC"
    )
    .map(|row| EnrollmentToken {
        id: row.id.into(),
        name: row.name,
        fingerprint: Digest::fingerprint(&row.digest),
        created_at: row.created_at,
        created_by: row.created_by,
        expires_at: row.expires_at,
        uses_left: row.uses_left,
    })
    .fetch_all(connection)
    .await
}

pub(super) async fn insert(connection: &mut PgConnection, new: &New<'_>) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO enrollment_tokens (id, digest, name, created_by, expires_at, uses_left)
         VALUES ($1, $2, $3, $4, $5, $6)",
        new.id.uuid(),
        new.digest.as_bytes(),
        new.name,
        new.actor,
        new.expires_at,
        new.uses.cast_signed(),
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Until then it is worth knowing that a token was there and has ended.
pub(super) async fn forget_old(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM enrollment_tokens WHERE expires_at < now() - interval '30 d'")
        .execute(connection)
        .await
        .map(drop)
}

/// The name of what was deleted.
pub(super) async fn delete(
    connection: &mut PgConnection,
    id: EnrollmentTokenId,
) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar!("DELETE FROM enrollment_tokens WHERE id = $1 RETURNING name", id.uuid())
        .fetch_optional(connection)
        .await
}

/// Takes one use, but none for a data plane that has taken one with the same key; `None` when there is none left.
pub(super) async fn consume(
    connection: &mut PgConnection,
    digest: &Digest,
    data_plane: DataPlaneId,
    key_digest: &[u8],
) -> Result<Option<Admission>, sqlx::Error> {
    sqlx::query!(
        r#"UPDATE enrollment_tokens AS token
           SET uses_left = token.uses_left - CASE WHEN repeated.is_it THEN 0 ELSE 1 END
           FROM (SELECT EXISTS (SELECT FROM data_planes JOIN enrollment_tokens ON enrollment_tokens.digest = $1
                                WHERE data_planes.enrollment_token_id = enrollment_tokens.id
                                  AND data_planes.id = $2 AND data_planes.public_key_digest = $3) AS is_it) AS repeated
           WHERE token.digest = $1 AND token.expires_at > now() AND (token.uses_left > 0 OR repeated.is_it)
           RETURNING token.id, token.name"#,
        digest.as_bytes(),
        data_plane.uuid(),
        key_digest
    )
    .map(|row| Admission { id: Some(row.id.into()), name: row.name })
    .fetch_optional(connection)
    .await
}

/// When the token ends or ended.
pub(super) async fn expiry(
    connection: &mut PgConnection,
    digest: &Digest,
) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    sqlx::query_scalar!("SELECT expires_at FROM enrollment_tokens WHERE digest = $1", digest.as_bytes())
        .fetch_optional(connection)
        .await
}
