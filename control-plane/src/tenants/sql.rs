//! Queries about tenants. The table has no row-level security, so each names the tenant of its transaction.

use serde_json::{Value, json};
use sqlx::PgConnection;
use tollgate_proto::TenantId;

use super::Meaning;
use crate::{
    db::TenantTx,
    resource::{Row, Version},
};

pub(super) async fn select(tx: &mut TenantTx) -> Result<Row, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        Row,
        r#"SELECT id, name, labels, spec, created_at, updated_at, created_by, revision, '{}'::jsonb AS "facts!"
           FROM tenants WHERE id = $1"#,
        tenant
    )
    .fetch_one(&mut **tx)
    .await
}

pub(super) async fn first(connection: &mut PgConnection) -> Result<Option<TenantId>, sqlx::Error> {
    sqlx::query!("SELECT id FROM tenants ORDER BY created_at, id LIMIT 1")
        .map(|row| row.id.into())
        .fetch_optional(connection)
        .await
}

pub(super) async fn is_named(tx: &mut TenantTx, name: &str) -> Result<bool, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let is = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM tenants WHERE id = $1 AND name = $2) AS "is!""#,
        tenant,
        name
    );
    is.fetch_one(&mut **tx).await
}

pub(super) async fn egress_allow(tx: &mut TenantTx) -> Result<Vec<String>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!("SELECT egress_allow FROM tenants WHERE id = $1", tenant).fetch_one(&mut **tx).await
}

pub(super) async fn time_zone(tx: &mut TenantTx) -> Result<String, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!("SELECT time_zone FROM tenants WHERE id = $1", tenant).fetch_one(&mut **tx).await
}

pub(super) async fn save(tx: &mut TenantTx, version: &Version<'_>, meaning: &Meaning) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE tenants SET labels = $2, spec = $3, revision = $4, updated_at = now(),
             display_name = $5, access_token_ttl_s = $6, egress_allow = $7, client_registration = $8,
             local_sign_in = $9, strict_assertion_audience = $10,
             access_token_format = $11, signing_key_rotation_s = $12, strict_code_reuse = $13,
             always_rotate_refresh_tokens = $14, max_stale_s = $15, stale_destructive = $16,
             time_zone = $17, usage_retention_days = $18
         WHERE id = $1",
        tenant,
        version.labels,
        version.spec,
        version.revision,
        meaning.display_name,
        meaning.access_token_ttl_s,
        &meaning.egress_allow,
        json!(meaning.client_registration),
        meaning.local_sign_in,
        meaning.strict_assertion_audience,
        meaning.access_token_format.as_str(),
        meaning.signing_key_rotation_s,
        meaning.strict_code_reuse,
        meaning.always_rotate_refresh_tokens,
        meaning.staleness.max_stale_s,
        meaning.staleness.allows_destructive,
        meaning.time_zone.to_string(),
        meaning.usage_retention_days,
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

pub(super) async fn client_registration(tx: &mut TenantTx) -> Result<Value, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!("SELECT client_registration FROM tenants WHERE id = $1", tenant).fetch_one(&mut **tx).await
}
