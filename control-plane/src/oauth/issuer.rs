//! Which tenant's authorization server a path names.
//!
//! Invariant: the issuer comes from the settings and the tenant's name, never from a request's `Host`.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use axum::{
    extract::{FromRequestParts, RawPathParams},
    http::request::Parts,
};
use tollgate_proto::{Name, TenantId};

use super::{error::OAuthError, sql};
use crate::{app::App, db::Db};

/// The authorization server that a request is for.
#[derive(Debug)]
pub(super) struct Issuer {
    /// Whose it is.
    pub(super) tenant: TenantId,
    /// The tenant's name.
    pub(super) name: Name,
    /// Its identifier (RFC 8414 section 2), as tokens and metadata carry it.
    pub(super) url: String,
}

impl FromRequestParts<Arc<App>> for Issuer {
    type Rejection = OAuthError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, OAuthError> {
        let path = RawPathParams::from_request_parts(parts, app).await.map_err(|_| OAuthError::UnknownTenant)?;
        let name = path.iter().find(|(name, _)| *name == "tenant").map(|(_, value)| value).unwrap_or_default();
        let name: Name = name.parse().map_err(|_| OAuthError::UnknownTenant)?;
        let tenant = app.issuers.find(&app.db, &name).await?.ok_or(OAuthError::UnknownTenant)?;
        Ok(Self { tenant, url: app.urls.issuer(name.as_str()), name })
    }
}

/// Tenants by name, as far as they were asked for. A tenant is neither renamed nor deleted, so nothing ever has to
/// be forgotten; unknown names are not remembered, so strangers cannot fill it.
#[derive(Debug, Default)]
pub struct Issuers(RwLock<HashMap<Name, TenantId>>);

impl Issuers {
    /// The tenant of that name, if it was asked for before.
    pub(super) fn known(&self, name: &Name) -> Option<TenantId> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).copied()
    }

    /// The tenant of that name, without Postgres from the second time on.
    ///
    /// # Errors
    /// When Postgres is away.
    pub(super) async fn find(&self, db: &Db, name: &Name) -> Result<Option<TenantId>, sqlx::Error> {
        let known = self.known(name);
        if known.is_some() {
            return Ok(known);
        }
        let found = sql::tenant_named(&mut *db.platform().await?, name).await?;
        if let Some(tenant) = found {
            self.0.write().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), tenant);
        }
        Ok(found)
    }
}
