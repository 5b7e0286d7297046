//! Who may look after the whole installation, and not only a tenant: its data planes serve all tenants.
//!
//! Invariant: that is who acts in the installation's first tenant. A key of the platform acts there as everywhere; keys
//! and people of other tenants do not.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::{Caller, Role, bearer};
use crate::{api_keys, app::App, error::ApiError, tenants};

/// A caller who acts in the installation's first tenant, with the role that they have there.
#[derive(Debug, Clone)]
pub struct InstallationCaller(Caller);

impl InstallationCaller {
    /// The caller of a tenant as one of the installation.
    ///
    /// # Errors
    /// [`ApiError::OtherTenant`] when the tenant is not the first; or when Postgres is away.
    pub async fn from_caller(app: &App, caller: &Caller) -> Result<Self, ApiError> {
        let mut tx = app.db.platform().await?;
        match tenants::first(&mut tx).await? {
            Some(first) if first == caller.tenant => Ok(Self(caller.clone())),
            _ => Err(ApiError::OtherTenant),
        }
    }

    /// Refuses a caller whose role does not include `needed`.
    ///
    /// # Errors
    /// [`ApiError::Forbidden`].
    pub fn require(&self, needed: Role) -> Result<(), ApiError> {
        self.0.require(needed)
    }

    /// The same caller in the first tenant, whose audit log has what they do here.
    #[must_use]
    pub const fn as_caller(&self) -> &Caller {
        &self.0
    }
}

/// From an API key as bearer.
impl FromRequestParts<Arc<App>> for InstallationCaller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let key = bearer(&parts.headers).ok_or(ApiError::Unauthenticated)?;
        let mut tx = app.db.platform().await?;
        let first = tenants::first(&mut tx).await?.ok_or(ApiError::OtherTenant)?;
        drop(tx);
        match api_keys::caller(app, key, &first.to_string()).await {
            Ok(caller) => Ok(Self(caller)),
            Err(ApiError::NotFound { .. }) => Err(ApiError::OtherTenant),
            Err(error) => Err(error),
        }
    }
}
