//! The keys with which a tenant's data planes seal what travels through agents and comes back: cursors, the state of
//! requests, ids of tasks. This process makes and keeps them and seals nothing with them.
//!
//! A tenant gets its first key when its policy is compiled for the first time, whenever it was made. Every policy
//! has it from then on, so that a key is nobody's reason for a new revision.
//!
//! Invariant: a secret is in the clear only in policies, which travel to data planes, and nowhere in the database.

use aws_lc_rs::{error::Unspecified, rand};
use serde_json::json;
use tollgate_proto::{SealingKeyId, TenantId, policy::v1::SealingKey};
use zeroize::Zeroizing;

use crate::{
    app::App,
    audit,
    db::TenantTx,
    seal::{MasterKey, SealError},
};

mod sql;
#[cfg(test)]
mod tests;

const SECRET_LEN: usize = 32;

/// Why there is no key to seal with.
#[derive(Debug, thiserror::Error)]
pub enum SealingKeyError {
    /// Postgres is away.
    #[error("cannot read or store sealing keys: {0}")]
    Storage(#[from] sqlx::Error),
    /// The stored key was sealed with another master key, or is damaged.
    #[error("cannot seal or open a sealing key: {0}")]
    Seal(#[from] SealError),
}

/// The tenant's keys as this transaction sees them, the one that seals first. Only reads, and yields the same for the
/// same rows.
///
/// # Errors
/// When Postgres is away, or a key was sealed with another master key.
pub async fn all(tx: &mut TenantTx, master_key: &MasterKey) -> Result<Vec<SealingKey>, SealingKeyError> {
    let tenant = tx.tenant();
    let open = |row: sql::StoredKey| {
        let secret = master_key.open(&place(tenant, row.id), &row.secret_sealed)?;
        Ok(SealingKey { id: row.id.to_string(), secret: secret.to_vec() })
    };
    sql::all(tx).await?.into_iter().map(open).collect()
}

/// Makes the tenant's first key unless it has one. Takes a connection of its own, so that it must not be asked for
/// within a transaction.
///
/// # Errors
/// When Postgres is away, or the random generator fails.
pub async fn ensure(app: &App, tenant: TenantId) -> Result<(), SealingKeyError> {
    let mut tx = app.db.tenant(tenant).await?;
    // Of two control planes that both find none, the second one waits here and finds the first one's.
    sql::lock_tenant(&mut tx).await?;
    if !sql::exists(&mut tx).await? {
        make(&mut tx, &app.master_key).await?;
    }
    Ok(tx.commit().await?)
}

async fn make(tx: &mut TenantTx, master_key: &MasterKey) -> Result<(), SealingKeyError> {
    let id = SealingKeyId::new();
    let mut secret = Zeroizing::new([0; SECRET_LEN]);
    rand::fill(secret.as_mut()).map_err(|Unspecified| SealError::Cipher)?;
    let sealed = master_key.seal(&place(tx.tenant(), id), secret.as_ref())?;
    sql::insert(tx, id, &sealed).await?;
    let shown = &id.to_string();
    let event = audit::Event {
        actor: "system",
        action: "sealing_key.create",
        object_kind: "sealing_key",
        object_id: shown,
        object_name: shown,
        detail: json!({}),
    };
    Ok(audit::record(tx, event).await?)
}

/// What a sealed secret is bound to.
fn place(tenant: TenantId, id: SealingKeyId) -> String {
    format!("{tenant}|sealing_keys|secret_sealed|{id}")
}
