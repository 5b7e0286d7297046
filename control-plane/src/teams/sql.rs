//! Queries about teams.

use tollgate_proto::{Name, TeamId};

use super::Meaning;
use crate::{
    db::TenantTx,
    resource::{Row, Version, Which},
};

pub(super) async fn select(tx: &mut TenantTx, which: Which<'_>) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"SELECT id, name, labels, spec, created_at, updated_at, created_by, revision,
                  jsonb_build_object(
                      'agents', (SELECT count(*) FROM agents a WHERE a.team_id = t.id),
                      'servers', (SELECT count(*) FROM servers s WHERE s.team_id = t.id)) AS "facts!"
           FROM teams t
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

pub(super) async fn id(tx: &mut TenantTx, name: &Name) -> Result<Option<TeamId>, sqlx::Error> {
    let id =
        sqlx::query_scalar!("SELECT id FROM teams WHERE name = $1", name.as_str()).fetch_optional(&mut **tx).await?;
    Ok(id.map(TeamId::from))
}

pub(super) async fn save(tx: &mut TenantTx, version: &Version<'_>, meaning: &Meaning) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO teams (tenant_id, id, name, labels, spec, revision, created_by, display_name, cost_center)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (id) DO UPDATE SET labels = $4, spec = $5, revision = $6, updated_at = now(),
             display_name = $8, cost_center = $9",
        tenant,
        version.id,
        version.name,
        version.labels,
        version.spec,
        version.revision,
        version.actor,
        meaning.display_name,
        meaning.cost_center,
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// What the team owns, as `agent ci-bot`; the first ten.
pub(super) async fn owned(tx: &mut TenantTx, id: TeamId) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT 'agent ' || name AS "owned!" FROM agents WHERE team_id = $1
           UNION ALL SELECT 'server ' || name FROM servers WHERE team_id = $1
           UNION ALL SELECT 'user ' || email FROM users WHERE team_id = $1
           ORDER BY 1 LIMIT 10"#,
        id.uuid(),
    )
    .fetch_all(&mut **tx)
    .await
}

pub(super) async fn delete(tx: &mut TenantTx, id: TeamId) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM teams WHERE id = $1", id.uuid()).execute(&mut **tx).await.map(drop)
}
