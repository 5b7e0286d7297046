//! Queries about limits.

use tollgate_proto::{AgentId, LimitId};

use super::Meaning;
use crate::{
    db::TenantTx,
    resource::{Row, Version, Which},
};

pub(super) async fn select(tx: &mut TenantTx, which: Which<'_>) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"SELECT id, name, labels, spec, created_at, updated_at, created_by, revision, '{}'::jsonb AS "facts!"
           FROM limits
           WHERE ($1::uuid IS NULL OR id = $1) AND ($2::text IS NULL OR name = $2) AND ($3::text IS NULL OR name > $3)
           ORDER BY name LIMIT $4"#,
        which.id,
        which.name,
        which.after,
        which.limit,
    )
    .fetch_all(&mut **tx)
    .await
}

pub(super) async fn of_agent(tx: &mut TenantTx, agent: AgentId) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"SELECT id, name, labels, spec, created_at, updated_at, created_by, revision, '{}'::jsonb AS "facts!"
           FROM limits WHERE agent_id = $1 ORDER BY name"#,
        agent.uuid(),
    )
    .fetch_all(&mut **tx)
    .await
}

pub(super) async fn save(tx: &mut TenantTx, version: &Version<'_>, meaning: &Meaning) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO limits (tenant_id, id, name, labels, spec, revision, created_by, agent_id, requests_count, window_s)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (id) DO UPDATE SET labels = $4, spec = $5, revision = $6, updated_at = now(),
             agent_id = $8, requests_count = $9, window_s = $10",
        tenant,
        version.id,
        version.name,
        version.labels,
        version.spec,
        version.revision,
        version.actor,
        meaning.agent.uuid(),
        meaning.requests,
        meaning.window_s,
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

pub(super) async fn delete(tx: &mut TenantTx, id: LimitId) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM limits WHERE id = $1", id.uuid()).execute(&mut **tx).await.map(drop)
}
