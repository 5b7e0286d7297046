//! Queries of the first start.

use sqlx::PgConnection;
use tollgate_proto::{TeamId, TenantId};

/// Any number will do, as long as no other lock has it.
const LOCK: i64 = 0x746f_6c6c_6761_7465;

/// One control plane at a time gets past this, until its transaction ends.
pub(super) async fn wait_for_others(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("SELECT pg_advisory_xact_lock($1)", LOCK).fetch_one(connection).await.map(drop)
}

pub(super) async fn canary(connection: &mut PgConnection) -> Result<Option<Vec<u8>>, sqlx::Error> {
    sqlx::query_scalar!("SELECT canary FROM deployment").fetch_one(connection).await
}

pub(super) async fn set_canary(connection: &mut PgConnection, canary: &[u8]) -> Result<(), sqlx::Error> {
    sqlx::query!("UPDATE deployment SET canary = $1", canary).execute(connection).await.map(drop)
}

pub(super) async fn has_tenants(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT EXISTS (SELECT 1 FROM tenants) AS "exists!""#).fetch_one(connection).await
}

pub(super) async fn insert_tenant(
    connection: &mut PgConnection,
    id: TenantId,
    name: &str,
    actor: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!("INSERT INTO tenants (id, name, created_by) VALUES ($1, $2, $3)", id.uuid(), name, actor)
        .execute(connection)
        .await
        .map(drop)
}

pub(super) async fn insert_team(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: TeamId,
    name: &str,
    actor: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO teams (tenant_id, id, name, created_by) VALUES ($1, $2, $3, $4)",
        tenant.uuid(),
        id.uuid(),
        name,
        actor
    )
    .execute(connection)
    .await
    .map(drop)
}
