//! Queries that remove what has expired, so many rows at a time. A day is kept beyond the end of what can be replayed,
//! so that a replay is told from a text that never was a token.

use crate::db::TenantTx;

pub(super) async fn codes(tx: &mut TenantTx, batch: i64) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "DELETE FROM authorization_codes WHERE digest IN
             (SELECT digest FROM authorization_codes WHERE expires_at < now() - interval '1 day' LIMIT $1)",
        batch
    );
    Ok(done.execute(&mut **tx).await?.rows_affected())
}

pub(super) async fn refresh_tokens(tx: &mut TenantTx, batch: i64) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "DELETE FROM refresh_tokens WHERE digest IN
             (SELECT digest FROM refresh_tokens WHERE expires_at < now() - interval '1 day' LIMIT $1)",
        batch
    );
    Ok(done.execute(&mut **tx).await?.rows_affected())
}

pub(super) async fn access_tokens(tx: &mut TenantTx, batch: i64) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "DELETE FROM access_tokens WHERE digest IN
             (SELECT digest FROM access_tokens WHERE expires_at < now() LIMIT $1)",
        batch
    );
    Ok(done.execute(&mut **tx).await?.rows_affected())
}

pub(super) async fn assertions(tx: &mut TenantTx, batch: i64) -> Result<u64, sqlx::Error> {
    // The clocks of clients may be a minute behind.
    let done = sqlx::query!(
        "DELETE FROM used_assertions WHERE digest IN
             (SELECT digest FROM used_assertions WHERE expires_at < now() - interval '5 minutes' LIMIT $1)",
        batch
    );
    Ok(done.execute(&mut **tx).await?.rows_affected())
}

/// Families at their absolute end, and revoked ones: their codes and refresh tokens go with them.
pub(super) async fn families(tx: &mut TenantTx, batch: i64) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "DELETE FROM authorizations WHERE id IN
             (SELECT id FROM authorizations
              WHERE expires_at < now() - interval '1 day' OR revoked_at < now() - interval '1 day' LIMIT $1)",
        batch
    );
    Ok(done.execute(&mut **tx).await?.rows_affected())
}
