//! Every query on sealing keys.

use tollgate_proto::SealingKeyId;

use crate::db::TenantTx;

/// A key as it is stored.
#[derive(Debug)]
pub(super) struct StoredKey {
    pub(super) id: SealingKeyId,
    pub(super) secret_sealed: Vec<u8>,
}

/// All keys, the newest first.
pub(super) async fn all(tx: &mut TenantTx) -> Result<Vec<StoredKey>, sqlx::Error> {
    sqlx::query!("SELECT id, secret_sealed FROM sealing_keys ORDER BY created_at DESC, id DESC")
        .map(|row| StoredKey { id: row.id.into(), secret_sealed: row.secret_sealed })
        .fetch_all(&mut **tx)
        .await
}

pub(super) async fn exists(tx: &mut TenantTx) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT EXISTS (SELECT FROM sealing_keys) AS "exists!""#).fetch_one(&mut **tx).await
}

pub(super) async fn insert(tx: &mut TenantTx, id: SealingKeyId, secret_sealed: &[u8]) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO sealing_keys (tenant_id, id, secret_sealed) VALUES ($1, $2, $3)",
        tenant,
        id.uuid(),
        secret_sealed
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// Makes every other that does this wait until the transaction ends.
pub(super) async fn lock_tenant(tx: &mut TenantTx) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!("SELECT id FROM tenants WHERE id = $1 FOR UPDATE", tenant).fetch_one(&mut **tx).await.map(drop)
}
