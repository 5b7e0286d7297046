//! Every query on what data planes say of instances.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use tollgate_proto::{DataPlaneId, InstanceId};
use uuid::Uuid;

use super::Sight;
use crate::db::TenantTx;

/// Forgets what the data plane said of other instances of the tenant.
pub(super) async fn keep_only(
    tx: &mut TenantTx,
    data_plane: DataPlaneId,
    instances: &[Uuid],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM instance_health WHERE data_plane_id = $1 AND instance_id <> ALL ($2)",
        data_plane.uuid(),
        instances
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// Instances that are gone meanwhile are left out, and so is what was said before.
pub(super) async fn put(
    tx: &mut TenantTx,
    data_plane: DataPlaneId,
    sights: &BTreeMap<InstanceId, Sight>,
) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let ids: Vec<Uuid> = sights.keys().map(|id| id.uuid()).collect();
    let healths: Vec<String> = sights.values().map(|sight| sight.health.as_str().to_owned()).collect();
    let since: Vec<DateTime<Utc>> = sights.values().map(|sight| sight.since.unwrap_or_else(Utc::now)).collect();
    let eras: Vec<Option<String>> = sights.values().map(|sight| sight.era.clone()).collect();
    let versions: Vec<Option<String>> = sights.values().map(|sight| sight.protocol_version.clone()).collect();
    let errors: Vec<Option<String>> = sights.values().map(|sight| sight.last_error.clone()).collect();
    sqlx::query!(
        "INSERT INTO instance_health AS known
             (tenant_id, instance_id, data_plane_id, health, since, era, protocol_version, last_error)
         SELECT $1, said.id, $2, said.health, said.since, said.era, said.protocol_version, said.last_error
         FROM unnest($3::uuid[], $4::text[], $5::timestamptz[], $6::text[], $7::text[], $8::text[])
              AS said (id, health, since, era, protocol_version, last_error)
         JOIN server_instances ON server_instances.id = said.id
         ON CONFLICT (tenant_id, instance_id, data_plane_id) DO UPDATE
         SET health = excluded.health, since = excluded.since, era = excluded.era,
             protocol_version = excluded.protocol_version, last_error = excluded.last_error, reported_at = now()
         WHERE (known.health, known.since, known.era, known.protocol_version, known.last_error)
               IS DISTINCT FROM
               (excluded.health, excluded.since, excluded.era, excluded.protocol_version, excluded.last_error)",
        tenant,
        data_plane.uuid(),
        &ids,
        &healths,
        &since,
        &eras as &[Option<String>],
        &versions as &[Option<String>],
        &errors as &[Option<String>],
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

pub(super) async fn purge(tx: &mut TenantTx) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM instance_health h
         WHERE NOT EXISTS (SELECT 1 FROM data_planes d
                           WHERE d.id = h.data_plane_id AND d.last_seen_at > now() - interval '1 h')"
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}
