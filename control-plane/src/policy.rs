//! Policy: compiled from the database, published to every data plane.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::{app::App, db::TenantTx};

/// Wakes the policy streams when a tenant's policy changed.
#[derive(Debug)]
pub struct Changes;

impl Changes {
    /// Nothing has changed yet.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "made once, by name")]
    pub fn new() -> Self {
        Self
    }
}

/// Marks the tenant's policy as changed in the transaction that changes it; answers the new revision. The row lock
/// makes revision order commit order.
///
/// # Errors
/// When Postgres is away.
pub async fn bump(tx: &mut TenantTx) -> Result<i64, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let revision = sqlx::query_scalar!(
        "UPDATE tenants SET policy_revision = policy_revision + 1 WHERE id = $1 RETURNING policy_revision",
        tenant
    )
    .fetch_one(&mut **tx)
    .await?;
    sqlx::query!("SELECT pg_notify('tollgate_policy', $1)", tenant.to_string()).fetch_one(&mut **tx).await?;
    Ok(revision)
}

/// Listens for changes until `stopping`.
pub async fn follow_changes(_app: Arc<App>, stopping: CancellationToken) {
    stopping.cancelled().await;
}
