//! Queries about servers and their instances.

use tollgate_proto::{InstanceId, ServerId, TeamId};
use uuid::Uuid;

use super::{
    InstanceSpec, Meaning,
    credential::{self, SecretChange},
};
use crate::{
    db::TenantTx,
    resource::{Row, Version, Which},
};

pub(super) async fn select(tx: &mut TenantTx, which: Which<'_>) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"SELECT id, name, labels, spec, created_at, updated_at, created_by, revision,
                  jsonb_build_object('secrets', coalesce(
                      (SELECT jsonb_agg(jsonb_build_object('name', s.name, 'set_at', s.set_at) ORDER BY s.name)
                       FROM server_secrets s WHERE s.server_id = servers.id), '[]'),
                  'instances', coalesce(
                      (SELECT jsonb_agg(
                           jsonb_build_object('id', i.id, 'url', i.url, 'draining', i.draining, 'seen', coalesce(
                               (SELECT jsonb_agg(to_jsonb(h) || jsonb_build_object('data_plane', d.id) ORDER BY d.id)
                                FROM instance_health h
                                JOIN data_planes d ON d.id = h.data_plane_id
                                                   AND d.last_seen_at > now() - interval '5 s'
                                WHERE h.instance_id = i.id), '[]')) ORDER BY i.position)
                       FROM server_instances i WHERE i.server_id = servers.id), '[]'),
                  'catalog', (SELECT jsonb_build_object(
                       'approved', count(*) FILTER (WHERE c.state = 'approved' AND c.gone_at IS NULL),
                       'pending', count(*) FILTER (WHERE c.state = 'pending' AND c.gone_at IS NULL),
                       'blocked', count(*) FILTER (WHERE c.state = 'blocked' AND c.gone_at IS NULL),
                       'waiting', count(*) FILTER (WHERE c.waiting),
                       'reads', coalesce(
                           (SELECT jsonb_agg(
                                jsonb_build_object('kind', r.kind, 'read_at', r.read_at, 'offered', r.offered_count,
                                                   'refused', r.refused_count, 'refusals', r.refused) ORDER BY r.kind)
                            FROM catalog_reads r WHERE r.server_id = servers.id), '[]'))
                       FROM catalog_items c WHERE c.server_id = servers.id)) AS "facts!"
           FROM servers
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

pub(super) async fn unknown(tx: &mut TenantTx, names: &[String]) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT DISTINCT given AS "given!" FROM unnest($1::text[]) AS given
           WHERE NOT EXISTS (SELECT 1 FROM servers s WHERE s.name = given)"#,
        names,
    )
    .fetch_all(&mut **tx)
    .await
}

pub(super) async fn save(tx: &mut TenantTx, version: &Version<'_>, meaning: &Meaning) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO servers (tenant_id, id, name, labels, spec, revision, created_by, era, team_id, transport, approval)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         ON CONFLICT (id) DO UPDATE SET labels = $4, spec = $5, revision = $6, updated_at = now(),
             era = $8, team_id = $9, transport = $10, approval = $11",
        tenant,
        version.id,
        version.name,
        version.labels,
        version.spec,
        version.revision,
        version.actor,
        meaning.era,
        meaning.team.map(TeamId::uuid),
        meaning.transport,
        meaning.approval.as_str(),
    )
    .execute(&mut **tx)
    .await?;
    save_instances(tx, version.id, &meaning.instances).await?;
    save_secrets(tx, version.id, &meaning.secrets).await
}

/// Secrets that are neither new nor kept go.
async fn save_secrets(tx: &mut TenantTx, server: Uuid, secrets: &credential::Meaning) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let named: Vec<String> = secrets.iter().map(|(name, _)| name.clone()).collect();
    sqlx::query!("DELETE FROM server_secrets WHERE server_id = $1 AND name <> ALL ($2)", server, &named)
        .execute(&mut **tx)
        .await?;
    for (name, change) in secrets {
        if let SecretChange::Sealed(sealed) = change {
            sqlx::query!(
                "INSERT INTO server_secrets (tenant_id, server_id, name, value_sealed) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (tenant_id, server_id, name) DO UPDATE SET value_sealed = $4, set_at = now()",
                tenant,
                server,
                name,
                sealed,
            )
            .execute(&mut **tx)
            .await?;
        }
    }
    Ok(())
}

/// Instances whose URL stays keep their ids.
async fn save_instances(tx: &mut TenantTx, server: Uuid, instances: &[InstanceSpec]) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let urls: Vec<String> = instances.iter().map(|instance| instance.url.clone()).collect();
    let draining: Vec<bool> = instances.iter().map(|instance| instance.draining).collect();
    sqlx::query!("DELETE FROM server_instances WHERE server_id = $1 AND url <> ALL ($2)", server, &urls)
        .execute(&mut **tx)
        .await?;
    let ids: Vec<Uuid> = urls.iter().map(|_| InstanceId::new().uuid()).collect();
    sqlx::query!(
        "INSERT INTO server_instances (tenant_id, id, server_id, position, url, draining)
         SELECT $1, new.id, $2, new.position, new.url, new.draining
         FROM unnest($3::uuid[], $4::text[], $5::boolean[]) WITH ORDINALITY AS new (id, url, draining, position)
         ON CONFLICT (tenant_id, server_id, url)
         DO UPDATE SET position = excluded.position, draining = excluded.draining",
        tenant,
        server,
        &ids,
        &urls,
        &draining,
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// The toolsets with tools of the server, as `toolset triage`; the first ten.
pub(super) async fn toolsets(tx: &mut TenantTx, id: ServerId) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT 'toolset ' || name AS "toolset!" FROM toolsets
           WHERE id IN (SELECT toolset_id FROM toolset_tools WHERE server_id = $1) ORDER BY name LIMIT 10"#,
        id.uuid(),
    )
    .fetch_all(&mut **tx)
    .await
}

pub(super) async fn delete(tx: &mut TenantTx, id: ServerId) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM servers WHERE id = $1", id.uuid()).execute(&mut **tx).await.map(drop)
}
