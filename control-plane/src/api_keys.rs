//! Keys for the REST API.
//!
//! Invariant: only the digest of a key is kept; its text is handed out once, when it is made.

use sqlx::PgConnection;
use tollgate_proto::{ApiKeyId, Name, TenantId};
use zeroize::Zeroizing;

use crate::{
    app::App,
    caller::{Caller, Role},
    error::ApiError,
    secret::{self, Digest, Purpose},
};

mod sql;

/// A key that is to be made.
#[derive(Debug, Clone, Copy)]
pub struct NewKey<'a> {
    /// The tenant it belongs to.
    pub tenant: TenantId,
    /// Unique in the tenant.
    pub name: &'a str,
    /// What its bearer may do.
    pub role: Role,
    /// Whether its bearer acts in every tenant.
    pub platform: bool,
}

/// Makes a key and answers its text.
///
/// # Errors
/// When Postgres is away or the name is taken.
pub async fn create(connection: &mut PgConnection, new: NewKey<'_>) -> Result<Zeroizing<String>, sqlx::Error> {
    let generated = secret::generate(Purpose::ApiKey);
    sql::insert(connection, ApiKeyId::new(), new, &generated.digest).await?;
    Ok(generated.text)
}

/// Who presents `key`, acting in `tenant` (a name or an id).
///
/// # Errors
/// [`ApiError::Unauthenticated`] for a key that is unknown or expired, [`ApiError::NotFound`] for a tenant that is
/// unknown or not the key's.
pub async fn caller(app: &App, key: &str, tenant: &str) -> Result<Caller, ApiError> {
    if !secret::well_formed(Purpose::ApiKey, key) {
        return Err(ApiError::Unauthenticated);
    }
    let mut tx = app.db.platform().await?;
    let (id, name) = (tenant.parse::<TenantId>().ok(), tenant.parse::<Name>().ok());
    let found = sql::find(&mut tx, &Digest::of(key), id, name.as_ref()).await?.ok_or(ApiError::Unauthenticated)?;
    let (Some(tenant_id), Some(tenant_name)) = (found.tenant_id, found.tenant_name) else {
        return Err(ApiError::NotFound { noun: "tenant", key: tenant.to_owned() });
    };
    Ok(Caller {
        actor: format!("api-key:{}", found.name),
        role: found.role.parse().map_err(ApiError::internal)?,
        tenant: tenant_id.into(),
        tenant_name,
        platform: found.platform,
    })
}
