//! Queries about identity providers.

use serde_json::Value;
use sqlx::PgConnection;
use tollgate_proto::{IdentityProviderId, TenantId};
use uuid::Uuid;

use super::{Choice, Meaning, SecretChange};
use crate::{
    db::TenantTx,
    resource::{Row, Version, Which},
};

/// A provider as a sign-in needs it.
pub(super) struct ProviderRow {
    pub(super) id: Uuid,
    pub(super) name: String,
    pub(super) tenant_name: String,
    pub(super) spec: Value,
    pub(super) client_secret_sealed: Option<Vec<u8>>,
    pub(super) egress_allow: Vec<String>,
}

pub(super) async fn select(tx: &mut TenantTx, which: Which<'_>) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"SELECT id, name, labels, spec, created_at, updated_at, created_by, revision,
                  jsonb_build_object(
                      'has_client_secret', client_secret_sealed IS NOT NULL,
                      'users', (SELECT count(*) FROM user_identities i WHERE i.identity_provider_id = p.id)) AS "facts!"
           FROM identity_providers p
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

pub(super) async fn save(tx: &mut TenantTx, version: &Version<'_>, meaning: &Meaning) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let sealed = match &meaning.secret {
        SecretChange::Sealed(sealed) => Some(sealed.as_slice()),
        SecretChange::Keep | SecretChange::Forget | SecretChange::Set(_) => None,
    };
    sqlx::query!(
        "INSERT INTO identity_providers AS p
             (tenant_id, id, name, labels, spec, revision, created_by, issuer, client_id, client_secret_sealed)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (id) DO UPDATE SET labels = $4, spec = $5, revision = $6, updated_at = now(),
             issuer = $8, client_id = $9,
             client_secret_sealed = CASE WHEN $11 THEN p.client_secret_sealed ELSE $10 END",
        tenant,
        version.id,
        version.name,
        version.labels,
        version.spec,
        version.revision,
        version.actor,
        meaning.issuer,
        meaning.client_id,
        sealed,
        matches!(meaning.secret, SecretChange::Keep),
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

pub(super) async fn delete(tx: &mut TenantTx, id: IdentityProviderId) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM identity_providers WHERE id = $1", id.uuid()).execute(&mut **tx).await.map(drop)
}

pub(super) async fn tenant(db: &mut PgConnection, name: &str) -> Result<Option<TenantId>, sqlx::Error> {
    let tenant = sqlx::query_scalar!("SELECT id FROM tenants WHERE name = $1", name);
    tenant.fetch_optional(db).await.map(|found| found.map(TenantId::from))
}

pub(super) async fn by_name(tx: &mut TenantTx, name: &str) -> Result<Option<ProviderRow>, sqlx::Error> {
    one(tx, None, Some(name)).await
}

pub(super) async fn by_id(tx: &mut TenantTx, id: IdentityProviderId) -> Result<Option<ProviderRow>, sqlx::Error> {
    one(tx, Some(id), None).await
}

async fn one(
    tx: &mut TenantTx,
    id: Option<IdentityProviderId>,
    name: Option<&str>,
) -> Result<Option<ProviderRow>, sqlx::Error> {
    sqlx::query_as!(
        ProviderRow,
        "SELECT p.id, p.name, t.name AS tenant_name, p.spec, p.client_secret_sealed, t.egress_allow
         FROM identity_providers p JOIN tenants t ON t.id = p.tenant_id
         WHERE p.tenant_id = $1 AND (p.id = $2 OR p.name = $3)",
        tx.tenant().uuid(),
        id.map(|id| id.uuid()),
        name
    )
    .fetch_optional(&mut **tx)
    .await
}

pub(super) async fn choices(tx: &mut TenantTx) -> Result<Vec<Choice>, sqlx::Error> {
    sqlx::query_as!(
        Choice,
        r#"SELECT name, coalesce(nullif(spec ->> 'display_name', ''), name) AS "label!"
           FROM identity_providers WHERE tenant_id = $1 ORDER BY name"#,
        tx.tenant().uuid()
    )
    .fetch_all(&mut **tx)
    .await
}
