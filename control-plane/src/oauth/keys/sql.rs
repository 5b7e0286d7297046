//! Every query on signing keys.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::db::TenantTx;

/// Where a key is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Next,
    Active,
}

impl State {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Active => "active",
        }
    }
}

/// A key in the making.
pub(super) struct NewKey<'a> {
    pub(super) kid: &'a str,
    pub(super) public_jwk: &'a Value,
    pub(super) private_sealed: &'a [u8],
    pub(super) state: State,
    pub(super) published_revision: i64,
}

/// A key as it is stored.
#[derive(Debug)]
pub(super) struct StoredKey {
    /// RFC 7638 thumbprint.
    pub(super) kid: String,
    /// PKCS#8, sealed.
    pub(super) private_sealed: Vec<u8>,
}

/// A key as people see it.
pub(super) struct KeyRow {
    pub(super) kid: String,
    pub(super) public_jwk: Value,
    pub(super) state: String,
    pub(super) created_at: DateTime<Utc>,
    pub(super) activated_at: Option<DateTime<Utc>>,
    pub(super) retired_at: Option<DateTime<Utc>>,
}

/// The key that signs next.
pub(super) struct NextKey {
    pub(super) kid: String,
    pub(super) published_revision: i64,
}

/// What the clock asks for.
pub(super) struct Due {
    /// To publish the next key.
    pub(super) publish: bool,
    /// To let it sign.
    pub(super) activate: bool,
    /// To remove what has retired.
    pub(super) remove: bool,
}

pub(super) async fn insert(tx: &mut TenantTx, new: NewKey<'_>) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO signing_keys (tenant_id, kid, public_jwk, private_sealed, state, published_revision, activated_at)
         VALUES ($1, $2, $3, $4, $5, $6, CASE WHEN $5 = 'active' THEN now() END)",
        tenant,
        new.kid,
        new.public_jwk,
        new.private_sealed,
        new.state.as_str(),
        new.published_revision
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

pub(super) async fn active_kid(tx: &mut TenantTx) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar!("SELECT kid FROM signing_keys WHERE state = 'active'").fetch_optional(&mut **tx).await
}

/// The key that signs now.
pub(super) async fn active_key(tx: &mut TenantTx) -> Result<StoredKey, sqlx::Error> {
    sqlx::query_as!(StoredKey, "SELECT kid, private_sealed FROM signing_keys WHERE state = 'active'")
        .fetch_one(&mut **tx)
        .await
}

pub(super) async fn next_key(tx: &mut TenantTx) -> Result<Option<NextKey>, sqlx::Error> {
    sqlx::query_as!(NextKey, "SELECT kid, published_revision FROM signing_keys WHERE state = 'next'")
        .fetch_optional(&mut **tx)
        .await
}

pub(super) async fn state(tx: &mut TenantTx, kid: &str) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar!("SELECT state FROM signing_keys WHERE kid = $1", kid).fetch_optional(&mut **tx).await
}

/// The public halves of all keys that are not revoked, in a stable order.
pub(super) async fn public_keys(tx: &mut TenantTx) -> Result<Vec<Value>, sqlx::Error> {
    sqlx::query_scalar!("SELECT public_jwk FROM signing_keys WHERE state <> 'revoked' ORDER BY created_at, kid")
        .fetch_all(&mut **tx)
        .await
}

/// All keys, the newest first.
pub(super) async fn all(tx: &mut TenantTx) -> Result<Vec<KeyRow>, sqlx::Error> {
    sqlx::query_as!(
        KeyRow,
        "SELECT kid, public_jwk, state, created_at, activated_at, retired_at FROM signing_keys
         ORDER BY created_at DESC, kid"
    )
    .fetch_all(&mut **tx)
    .await
}

/// Takes the active key out of use; its private half is gone then. It is kept for `kept_s` seconds.
pub(super) async fn retire_active(tx: &mut TenantTx, kept_s: f64) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE signing_keys SET state = 'retiring', private_sealed = '', retired_at = now() + make_interval(secs => $1)
         WHERE state = 'active'",
        kept_s
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// Lets the next key sign. There must be no active one.
pub(super) async fn activate(tx: &mut TenantTx, kid: &str) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE signing_keys SET state = 'active', activated_at = now() WHERE kid = $1 AND state = 'next'",
        kid
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// Takes a key out of the published set; its private half is gone then.
pub(super) async fn revoke(tx: &mut TenantTx, kid: &str, kept_s: f64) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE signing_keys SET state = 'revoked', private_sealed = '', retired_at = now() + make_interval(secs => $2)
         WHERE kid = $1",
        kid,
        kept_s
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// What is due by the tenant's period, when a key is published `lead_s` seconds before it signs.
pub(super) async fn due(tx: &mut TenantTx, lead_s: f64) -> Result<Due, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        Due,
        r#"SELECT COALESCE(next.kid IS NULL AND ends.at - make_interval(secs => $2) <= now(), false) AS "publish!",
                  COALESCE(ends.at <= now() AND next.published_at + make_interval(secs => $2) <= now(), false)
                      AS "activate!",
                  EXISTS(SELECT FROM signing_keys WHERE retired_at <= now()) AS "remove!"
           FROM tenants
           LEFT JOIN signing_keys AS active ON active.tenant_id = tenants.id AND active.state = 'active'
           LEFT JOIN signing_keys AS next ON next.tenant_id = tenants.id AND next.state = 'next'
           CROSS JOIN LATERAL (
               SELECT COALESCE(active.activated_at, active.created_at)
                      + make_interval(secs => tenants.signing_key_rotation_s) AS at) AS ends
           WHERE tenants.id = $1"#,
        tenant,
        lead_s
    )
    .fetch_one(&mut **tx)
    .await
}

/// Deletes what is past its retirement; answers the keys.
pub(super) async fn delete_retired(tx: &mut TenantTx) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        "DELETE FROM signing_keys WHERE state IN ('retiring', 'revoked') AND retired_at <= now() RETURNING kid"
    )
    .fetch_all(&mut **tx)
    .await
}
