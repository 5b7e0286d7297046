//! What both planes of Tollgate speak: the gRPC protocols between them, and the identifiers, names, scopes and egress
//! rules that mean the same on either side.
//!
//! This crate does no I/O and depends on neither plane; both planes depend on it and never on each other.

pub mod access;
mod currency;
pub mod definition;
mod egress;
mod enrollment_token;
pub mod feature;
pub mod header;
mod id;
pub mod introduction;
mod name;
pub mod names;
mod network;
pub mod rating;
mod scope;
mod trusted_proxies;

pub use currency::{Currency, CurrencyError};
pub use egress::Egress;
pub use enrollment_token::{EnrollmentToken, FINGERPRINT_LEN, TokenError};
pub use id::{
    AgentId, AlertId, ApiKeyId, AuthorizationId, BudgetId, CallId, CatalogItemId, CredentialId, DataPlaneId,
    EnrollmentTokenId, GrantId, IdError, IdentityProviderId, InitialAccessTokenId, InstanceId, LimitId, PriceBookId,
    PriceBookVersionId, ReratingId, SealingKeyId, ServerId, SessionHandle, StatementId, TeamId, TenantId, ToolsetId,
    UserId, WebhookId,
};
pub use name::{Name, NameError};
pub use network::canonical_network;
pub use scope::{Pattern, PatternError, Scope, ScopeError, normal_uri};
pub use trusted_proxies::{TrustedProxies, TrustedProxiesError};

/// Enrolment of data planes, and what keeps them enrolled.
pub mod enrollment {
    /// The name that every control plane's certificate bears.
    pub const CONTROL_PLANE_NAME: &str = "control-plane.tollgate.internal";

    /// The metadata key under which a refusal has its name.
    pub const REFUSAL_KEY: &str = "tollgate-refusal";

    /// The name of the refusal of a data plane that was revoked: it stops serving.
    pub const REVOKED: &str = "data_plane_revoked";

    /// Version 1, generated from `enrollment.proto`.
    #[allow(missing_docs, clippy::all, clippy::too_many_lines, unreachable_pub)]
    pub mod v1 {
        tonic::include_proto!("tollgate.enrollment.v1");

        impl std::fmt::Debug for EnrollRequest {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct("EnrollRequest").field("data_plane_id", &self.data_plane_id).finish_non_exhaustive()
            }
        }
    }
}

/// Policy stream: control plane to data plane.
pub mod policy {
    /// Version 1, generated from `policy.proto`.
    #[allow(missing_docs, clippy::all, clippy::too_many_lines, unreachable_pub)]
    pub mod v1 {
        tonic::include_proto!("tollgate.policy.v1");

        impl std::fmt::Debug for SealingKey {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct("SealingKey").field("id", &self.id).finish_non_exhaustive()
            }
        }

        impl std::fmt::Debug for StaticHeader {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct("StaticHeader").field("name", &self.name).finish_non_exhaustive()
            }
        }

        impl std::fmt::Debug for OauthClientCredentials {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct("OauthClientCredentials")
                    .field("issuer", &self.issuer)
                    .field("token_endpoint", &self.token_endpoint)
                    .field("client_id", &self.client_id)
                    .finish_non_exhaustive()
            }
        }
    }
}

/// Usage intake: data plane to control plane.
pub mod usage {
    /// Version 1, generated from `usage.proto`.
    #[allow(missing_docs, clippy::all, unreachable_pub)]
    pub mod v1 {
        tonic::include_proto!("tollgate.usage.v1");
    }
}
