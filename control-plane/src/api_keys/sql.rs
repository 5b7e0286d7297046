//! Queries about API keys. They run before the tenant is known.

use sqlx::PgConnection;
use tollgate_proto::{ApiKeyId, Name, TenantId};
use uuid::Uuid;

use super::NewKey;
use crate::secret::Digest;

/// A key in force; its tenant is absent when it may not act in the one asked for.
pub(super) struct Found {
    pub(super) name: String,
    pub(super) role: String,
    pub(super) platform: bool,
    pub(super) tenant_id: Option<Uuid>,
    pub(super) tenant_name: Option<String>,
}

pub(super) async fn insert(
    connection: &mut PgConnection,
    id: ApiKeyId,
    new: NewKey<'_>,
    digest: &Digest,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO api_keys (id, tenant_id, name, digest, role, platform) VALUES ($1, $2, $3, $4, $5, $6)",
        id.uuid(),
        new.tenant.uuid(),
        new.name,
        digest.as_bytes(),
        new.role.as_str(),
        new.platform,
    )
    .execute(connection)
    .await
    .map(drop)
}

pub(super) async fn find(
    connection: &mut PgConnection,
    digest: &Digest,
    tenant_id: Option<TenantId>,
    tenant_name: Option<&Name>,
) -> Result<Option<Found>, sqlx::Error> {
    sqlx::query_as!(
        Found,
        r#"SELECT k.name, k.role, k.platform, t.id AS "tenant_id?", t.name AS "tenant_name?"
           FROM api_keys k
           LEFT JOIN tenants t ON (t.id = $2 OR t.name = $3) AND (k.platform OR t.id = k.tenant_id)
           WHERE k.digest = $1 AND (k.expires_at IS NULL OR k.expires_at > now())"#,
        digest.as_bytes(),
        tenant_id.map(TenantId::uuid),
        tenant_name.map(Name::as_str),
    )
    .fetch_optional(connection)
    .await
}
