//! What people and programs changed: one event per change, in the transaction of the change.

use serde_json::Value;
use uuid::Uuid;

use crate::db::TenantTx;

/// What was done to what.
#[derive(Debug, Clone)]
pub struct Event<'a> {
    /// Who did it: `user:…`, `api-key:…`, `agent:…` or `system`.
    pub actor: &'a str,
    /// `team.create`, `agent.credential.create`, …
    pub action: &'a str,
    /// `team`, `agent`, …
    pub object_kind: &'a str,
    /// The object's id in its outer form.
    pub object_id: &'a str,
    /// The object's name at that time.
    pub object_name: &'a str,
    /// What changed; never a secret.
    pub detail: Value,
}

/// Writes `event` into the transaction that makes it true.
///
/// # Errors
/// When Postgres is away.
pub async fn record(tx: &mut TenantTx, event: Event<'_>) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO audit_events (tenant_id, id, actor, action, object_kind, object_id, object_name, detail)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        tenant,
        Uuid::now_v7(),
        event.actor,
        event.action,
        event.object_kind,
        event.object_id,
        event.object_name,
        event.detail,
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}
