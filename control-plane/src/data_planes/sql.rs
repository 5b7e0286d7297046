//! Every query on data planes and their answers.

use sqlx::PgConnection;
use tollgate_proto::{DataPlaneId, TenantId};

use super::DataPlaneStatus;

pub(super) async fn see(
    connection: &mut PgConnection,
    data_plane: DataPlaneId,
    version: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO data_planes (id, version) VALUES ($1, $2)
         ON CONFLICT (id) DO UPDATE SET version = EXCLUDED.version, last_seen_at = now()",
        data_plane.uuid(),
        version
    )
    .execute(connection)
    .await
    .map(drop)
}

/// An acknowledgement leaves no refusal behind: what was refused before it is no longer what the data plane lacks.
/// A tenant that is gone has nobody to tell.
pub(super) async fn acknowledge(
    connection: &mut PgConnection,
    data_plane: DataPlaneId,
    tenant: TenantId,
    revision: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO policy_acknowledgements (data_plane_id, tenant_id, acked_revision)
         SELECT $1, id, $3 FROM tenants WHERE id = $2
         ON CONFLICT (data_plane_id, tenant_id) DO UPDATE
         SET acked_revision = EXCLUDED.acked_revision, nacked_revision = NULL, nack_reason = NULL, at = now()",
        data_plane.uuid(),
        tenant.uuid(),
        revision
    )
    .execute(connection)
    .await
    .map(drop)
}

pub(super) async fn refuse(
    connection: &mut PgConnection,
    data_plane: DataPlaneId,
    tenant: TenantId,
    revision: i64,
    reason: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO policy_acknowledgements (data_plane_id, tenant_id, nacked_revision, nack_reason)
         SELECT $1, id, $3, $4 FROM tenants WHERE id = $2
         ON CONFLICT (data_plane_id, tenant_id) DO UPDATE
         SET nacked_revision = EXCLUDED.nacked_revision, nack_reason = EXCLUDED.nack_reason, at = now()",
        data_plane.uuid(),
        tenant.uuid(),
        revision,
        reason
    )
    .execute(connection)
    .await
    .map(drop)
}

pub(super) async fn policy_revision(connection: &mut PgConnection, tenant: TenantId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!("SELECT policy_revision FROM tenants WHERE id = $1", tenant.uuid()).fetch_one(connection).await
}

pub(super) async fn data_planes(
    connection: &mut PgConnection,
    tenant: TenantId,
) -> Result<Vec<DataPlaneStatus>, sqlx::Error> {
    sqlx::query!(
        r#"SELECT data_planes.id, data_planes.last_seen_at > now() - interval '5 s' AS "connected!",
                  NULLIF(answers.acked_revision, 0) AS acked_revision,
                  answers.nacked_revision AS "nacked_revision?", answers.nack_reason AS "nack_reason?"
           FROM data_planes
           LEFT JOIN policy_acknowledgements answers ON answers.data_plane_id = data_planes.id AND answers.tenant_id = $1
           WHERE data_planes.last_seen_at > now() - interval '1 h'
           ORDER BY data_planes.id"#,
        tenant.uuid()
    )
    .map(|row| DataPlaneStatus {
        id: row.id.into(),
        connected: row.connected,
        acked_revision: row.acked_revision,
        nacked_revision: row.nacked_revision,
        nack_reason: row.nack_reason,
    })
    .fetch_all(connection)
    .await
}

/// Makes the row when it is missing and locks it either way, in one statement, so that two control planes with the
/// same first batch meet.
pub(super) async fn lock_usage_position(
    connection: &mut PgConnection,
    data_plane: DataPlaneId,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        "INSERT INTO data_planes (id) VALUES ($1)
         ON CONFLICT (id) DO UPDATE SET usage_position = data_planes.usage_position
         RETURNING usage_position",
        data_plane.uuid()
    )
    .fetch_one(connection)
    .await
}

pub(super) async fn set_usage_position(
    connection: &mut PgConnection,
    data_plane: DataPlaneId,
    position: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query!("UPDATE data_planes SET usage_position = $2 WHERE id = $1", data_plane.uuid(), position)
        .execute(connection)
        .await
        .map(drop)
}
