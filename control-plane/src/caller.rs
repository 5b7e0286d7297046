//! Who asks, for which tenant, with which role.
//!
//! Invariant: a [`Caller`] exists only for a tenant that the caller may act in; to anyone else the tenant is unknown.

use std::{fmt, str::FromStr, sync::Arc};

use axum::extract::{FromRequestParts, RawPathParams};
use http::{HeaderMap, header::AUTHORIZATION, request::Parts};
use serde::{Deserialize, Serialize};
use tollgate_proto::TenantId;
use utoipa::ToSchema;

use crate::{api_keys, app::App, error::ApiError};

mod installation;

pub use installation::InstallationCaller;

/// What a user or an API key may do. `owner` includes `admin`, which includes `operator`, which includes `viewer`;
/// `finance` includes `viewer`. `none` is included in all of them: with it a user allows agents to act for them, and uses
/// no console.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything, including the other owners.
    Owner,
    /// The tenant and its users as well.
    Admin,
    /// Teams, servers, agents, grants and limits.
    Operator,
    /// Price books; and reads everything else.
    Finance,
    /// Reads.
    Viewer,
    /// Nothing of the tenant: only what is theirs.
    None,
}

/// Who asks, and in which tenant they act.
#[derive(Debug, Clone)]
pub struct Caller {
    /// As the audit writes it: `user:…`, `api-key:…` or `system`.
    pub actor: String,
    /// What they may do in this tenant.
    pub role: Role,
    /// The tenant they act in.
    pub tenant: TenantId,
    /// That tenant's name, as URLs have it.
    pub tenant_name: String,
    /// Whether they act in every tenant.
    pub platform: bool,
}

/// A text that is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no role: use `owner`, `admin`, `operator`, `finance`, `viewer` or `none`")]
pub struct RoleError(String);

impl Role {
    /// All there are.
    pub const ALL: [Self; 6] = [Self::Owner, Self::Admin, Self::Operator, Self::Finance, Self::Viewer, Self::None];

    /// Whether who has this role may do what `needed` may.
    #[must_use]
    pub fn includes(self, needed: Self) -> bool {
        match self {
            Self::Owner => true,
            Self::Admin => needed != Self::Owner,
            Self::Operator => matches!(needed, Self::Operator | Self::Viewer | Self::None),
            Self::Finance => matches!(needed, Self::Finance | Self::Viewer | Self::None),
            Self::Viewer => matches!(needed, Self::Viewer | Self::None),
            Self::None => needed == Self::None,
        }
    }

    /// As the database and the API write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Finance => "finance",
            Self::Viewer => "viewer",
            Self::None => "none",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| RoleError(text.chars().take(40).collect()))
    }
}

impl Caller {
    /// Who sends these headers, in the tenant with this name or id.
    ///
    /// # Errors
    /// [`ApiError::Unauthenticated`], [`ApiError::NotFound`]; or when Postgres is away.
    pub(crate) async fn of(app: &App, headers: &HeaderMap, tenant: &str) -> Result<Self, ApiError> {
        let key = bearer(headers).ok_or(ApiError::Unauthenticated)?;
        api_keys::caller(app, key, tenant).await
    }

    /// Refuses a caller whose role does not include `needed`.
    ///
    /// # Errors
    /// [`ApiError::Forbidden`].
    pub fn require(&self, needed: Role) -> Result<(), ApiError> {
        if self.role.includes(needed) { Ok(()) } else { Err(ApiError::Forbidden { needed, given: self.role }) }
    }
}

/// From an API key as bearer, for the `{tenant}` of the path.
impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let path = RawPathParams::from_request_parts(parts, app).await.map_err(|_| ApiError::NoRoute)?;
        let tenant = path.iter().find(|(name, _)| *name == "tenant").map(|(_, value)| value).unwrap_or_default();
        Self::of(app, &parts.headers, tenant).await
    }
}

/// The scheme is matched without case (RFC 9110 section 11.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_includes_what_it_must_and_no_more() {
        let all = Role::ALL;
        for (role, included) in [
            (Role::Owner, &all[..]),
            (Role::Admin, &all[1..]),
            (Role::Operator, &[Role::Operator, Role::Viewer, Role::None]),
            (Role::Finance, &[Role::Finance, Role::Viewer, Role::None]),
            (Role::Viewer, &[Role::Viewer, Role::None]),
            (Role::None, &[Role::None]),
        ] {
            for needed in all {
                assert_eq!(role.includes(needed), included.contains(&needed), "{role} as {needed}");
            }
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        assert!("root".parse::<Role>().is_err());
    }
}
