//! Queries about grants.

use tollgate_proto::{AgentId, GrantId};

use super::{Concern, Meaning, Recipient};
use crate::{
    db::TenantTx,
    resource::{Row, Version, Which},
};

pub(super) async fn select(tx: &mut TenantTx, which: Which<'_>) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"SELECT id, name, labels, spec, created_at, updated_at, created_by, revision, '{}'::jsonb AS "facts!"
           FROM grants
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

pub(super) async fn concerning(tx: &mut TenantTx, about: &Concern<'_>, limit: i64) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"SELECT id, name, labels, spec, created_at, updated_at, created_by, revision, '{}'::jsonb AS "facts!"
           FROM grants
           WHERE agent_id = $1 OR team_id = (SELECT id FROM teams WHERE name = $2) OR ($3 AND role IS NOT NULL)
              OR scopes && $5
              OR (cardinality($4::text[]) > 0
                  AND EXISTS (SELECT 1 FROM unnest(scopes) AS scope WHERE split_part(scope, ':', 1) = ANY ($4)))
           ORDER BY name LIMIT $6"#,
        about.agent.map(AgentId::uuid),
        about.team,
        about.roles,
        &about.servers,
        &about.scopes,
        limit,
    )
    .fetch_all(&mut **tx)
    .await
}

pub(super) async fn save(tx: &mut TenantTx, version: &Version<'_>, meaning: &Meaning) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let (agent, team, role) = match meaning.to {
        Recipient::Agent(id) => (Some(id.uuid()), None, None),
        Recipient::Team(id) => (None, Some(id.uuid()), None),
        Recipient::Role(role) => (None, None, Some(role.as_str())),
    };
    sqlx::query!(
        "INSERT INTO grants (tenant_id, id, name, labels, spec, revision, created_by,
                             agent_id, team_id, role, scopes, deny, expires_at, conditions, networks, deny_as)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
         ON CONFLICT (id) DO UPDATE SET labels = $4, spec = $5, revision = $6, updated_at = now(),
             agent_id = $8, team_id = $9, role = $10, scopes = $11, deny = $12, expires_at = $13, conditions = $14,
             networks = $15, deny_as = $16",
        tenant,
        version.id,
        version.name,
        version.labels,
        version.spec,
        version.revision,
        version.actor,
        agent,
        team,
        role,
        &meaning.scopes,
        meaning.deny,
        meaning.expires_at,
        meaning.conditions,
        &meaning.networks,
        meaning.deny_as.as_str(),
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

pub(super) async fn delete(tx: &mut TenantTx, id: GrantId) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM grants WHERE id = $1", id.uuid()).execute(&mut **tx).await.map(drop)
}
