//! Queries about initial access tokens.

use chrono::{DateTime, Utc};
use tollgate_proto::InitialAccessTokenId;

use super::InitialAccessToken;
use crate::{db::TenantTx, secret::Digest};

/// A token to be stored.
pub(super) struct New<'a> {
    pub(super) id: InitialAccessTokenId,
    pub(super) digest: &'a Digest,
    pub(super) note: &'a str,
    pub(super) actor: &'a str,
    pub(super) expires_at: DateTime<Utc>,
    pub(super) uses: u32,
}

pub(super) async fn list(tx: &mut TenantTx) -> Result<Vec<InitialAccessToken>, sqlx::Error> {
    sqlx::query!(
        "SELECT id, note, digest, created_at, created_by, expires_at, uses_left
         FROM initial_access_tokens ORDER BY id DESC"
    )
    .map(|row| InitialAccessToken {
        id: row.id.into(),
        note: row.note,
        fingerprint: Digest::fingerprint(&row.digest),
        created_at: row.created_at,
        created_by: row.created_by,
        expires_at: row.expires_at,
        uses_left: row.uses_left,
    })
    .fetch_all(&mut **tx)
    .await
}

pub(super) async fn insert(tx: &mut TenantTx, new: &New<'_>) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO initial_access_tokens (tenant_id, id, digest, note, created_by, expires_at, uses_left)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        tenant,
        new.id.uuid(),
        new.digest.as_bytes(),
        new.note,
        new.actor,
        new.expires_at,
        new.uses.cast_signed(),
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// False when there is none.
pub(super) async fn delete(tx: &mut TenantTx, id: InitialAccessTokenId) -> Result<bool, sqlx::Error> {
    let deleted = sqlx::query!("DELETE FROM initial_access_tokens WHERE id = $1", id.uuid()).execute(&mut **tx).await?;
    Ok(deleted.rows_affected() > 0)
}

/// Takes one use; false when there is none left.
pub(super) async fn consume(tx: &mut TenantTx, digest: &Digest) -> Result<bool, sqlx::Error> {
    let consumed = sqlx::query!(
        "UPDATE initial_access_tokens SET uses_left = uses_left - 1
         WHERE digest = $1 AND uses_left > 0 AND expires_at > now()",
        digest.as_bytes()
    )
    .execute(&mut **tx)
    .await?;
    Ok(consumed.rows_affected() > 0)
}
