//! Queries about the certificate authority.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

/// An authority as it is stored.
pub(super) struct Stored {
    pub(super) id: Uuid,
    pub(super) certificate: Vec<u8>,
    pub(super) private_key_sealed: Vec<u8>,
    pub(super) expires_at: DateTime<Utc>,
}

/// All of them, the newest first.
pub(super) async fn all(connection: &mut PgConnection) -> Result<Vec<Stored>, sqlx::Error> {
    sqlx::query_as!(
        Stored,
        "SELECT id, certificate, private_key_sealed, expires_at FROM certificate_authorities
         WHERE expires_at > now() ORDER BY created_at DESC, id DESC"
    )
    .fetch_all(connection)
    .await
}

pub(super) async fn insert(connection: &mut PgConnection, made: &Stored) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO certificate_authorities (id, certificate, private_key_sealed, expires_at) VALUES ($1, $2, $3, $4)",
        made.id,
        made.certificate,
        made.private_key_sealed,
        made.expires_at
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Makes every other that does this wait until the transaction ends.
pub(super) async fn lock(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query_scalar!("SELECT only_row FROM deployment FOR UPDATE").fetch_one(connection).await.map(drop)
}
