//! Queries that only pages need, across the objects of a tenant.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::db::TenantTx;

/// What was found by name or by the beginning of an id.
pub(super) struct Found {
    /// `server`, `toolset`, `agent`, `team`, `grant`, `limit`, `price-book`, `budget`, `webhook` or `user`.
    pub(super) kind: String,
    pub(super) id: Uuid,
    pub(super) name: String,
}

/// When each of these agents last called.
pub(super) async fn last_calls(tx: &mut TenantTx, agents: &[Uuid]) -> Result<Vec<(Uuid, DateTime<Utc>)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT agent_id AS "agent_id!", max(at) AS "at!" FROM usage_records
           WHERE tenant_id = $1 AND agent_id = ANY ($2) GROUP BY agent_id"#,
        tx.tenant().uuid(),
        agents
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(|row| (row.agent_id, row.at)).collect())
}

/// Objects whose name holds `text`, or whose id lies in `ids`, those first that begin with it.
pub(super) async fn search(
    tx: &mut TenantTx,
    text: &str,
    ids: Option<(Uuid, Uuid)>,
    limit: i64,
) -> Result<Vec<Found>, sqlx::Error> {
    let (first, last) = ids.unzip();
    sqlx::query_as!(
        Found,
        r#"SELECT kind AS "kind!", id AS "id!", name AS "name!" FROM (
               SELECT 'server' AS kind, id, name FROM servers WHERE tenant_id = $1
               UNION ALL SELECT 'toolset', id, name FROM toolsets WHERE tenant_id = $1
               UNION ALL SELECT 'agent', id, name FROM agents WHERE tenant_id = $1
               UNION ALL SELECT 'team', id, name FROM teams WHERE tenant_id = $1
               UNION ALL SELECT 'grant', id, name FROM grants WHERE tenant_id = $1
               UNION ALL SELECT 'limit', id, name FROM limits WHERE tenant_id = $1
               UNION ALL SELECT 'price-book', id, name FROM price_books WHERE tenant_id = $1
               UNION ALL SELECT 'budget', id, name FROM budgets WHERE tenant_id = $1
               UNION ALL SELECT 'webhook', id, name FROM webhooks WHERE tenant_id = $1
               UNION ALL SELECT 'user', id, lower(email) FROM users WHERE tenant_id = $1
           ) AS objects
           WHERE strpos(name, lower($2)) > 0 OR id BETWEEN $3 AND $4
           ORDER BY (strpos(name, lower($2)) = 1) DESC, name, kind LIMIT $5"#,
        tx.tenant().uuid(),
        text,
        first,
        last,
        limit
    )
    .fetch_all(&mut **tx)
    .await
}

/// Calls whose id lies in `ids`.
pub(super) async fn search_calls(tx: &mut TenantTx, ids: (Uuid, Uuid), limit: i64) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT call_id FROM usage_records WHERE tenant_id = $1 AND call_id BETWEEN $2 AND $3
         ORDER BY call_id DESC LIMIT $4",
        tx.tenant().uuid(),
        ids.0,
        ids.1,
        limit
    )
    .fetch_all(&mut **tx)
    .await
}

/// The names of all objects of a collection that forms choose from.
pub(super) async fn names(tx: &mut TenantTx, collection: &str) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT name AS "name!"
           FROM (SELECT 'agents' AS collection, name FROM agents UNION ALL SELECT 'servers', name FROM servers
                 UNION ALL SELECT 'teams', name FROM teams UNION ALL SELECT 'toolsets', name FROM toolsets) AS named
           WHERE collection = $1 ORDER BY name"#,
        collection,
    )
    .fetch_all(&mut **tx)
    .await
}
