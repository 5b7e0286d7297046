//! Why a registration, or a change of one, is refused (RFC 7591 section 3.2.2, RFC 7592 section 2).

use std::time::Duration;

use axum::http::StatusCode;

use crate::oauth::{client_metadata::MetadataFault, issuer::Issuer};

/// Why a registration, or a change of one, is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationRefusal {
    /// The tenant's policy.
    #[error("this tenant does not let clients register themselves: ask its admin for a client_id")]
    Off,
    /// No initial or registration access token, or one that is wrong, spent or expired.
    #[error("a valid token is needed, as `Authorization: Bearer …`")]
    Token {
        /// The issuer.
        realm: String,
        /// Whether one was shown.
        shown: bool,
    },
    /// The metadata.
    #[error(transparent)]
    Metadata(#[from] MetadataFault),
    /// The body is otherwise not what it has to be.
    #[error("{0}")]
    Body(&'static str),
    /// An agent that its tenant's people made, or that is known by its document.
    #[error("this client did not register here, so its registration is managed by its tenant")]
    NotManaged,
    /// A public client that others use.
    #[error("users or operators rely on this client, which everyone who registers the same shares")]
    Shared,
    /// The tenant's ceiling.
    #[error("this tenant takes no more clients that register themselves for now")]
    Full,
    /// The tenant's registrations change too fast.
    #[error("registrations at this tenant change too fast: wait a minute")]
    TooFast {
        /// How long to wait.
        retry_after: Duration,
    },
}

impl RegistrationRefusal {
    /// The refusal of what was shown as a token.
    pub(in crate::oauth) fn token(issuer: &Issuer, shown: Option<&str>) -> Self {
        Self::Token { realm: issuer.url.clone(), shown: shown.is_some() }
    }

    /// As the client is told.
    pub(in crate::oauth) const fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Off | Self::NotManaged | Self::Shared => (StatusCode::FORBIDDEN, "access_denied"),
            Self::Token { .. } => (StatusCode::UNAUTHORIZED, "invalid_token"),
            Self::Metadata(fault) => (StatusCode::BAD_REQUEST, fault.code()),
            Self::Body(_) => (StatusCode::BAD_REQUEST, "invalid_client_metadata"),
            Self::Full | Self::TooFast { .. } => (StatusCode::TOO_MANY_REQUESTS, "too_many_requests"),
        }
    }

    /// The challenge, for a token (RFC 6750 section 3): with an error only when one was shown.
    pub(in crate::oauth) fn challenge(&self) -> Option<String> {
        match self {
            Self::Token { realm, shown: true } => Some(format!("Bearer realm=\"{realm}\", error=\"invalid_token\"")),
            Self::Token { realm, shown: false } => Some(format!("Bearer realm=\"{realm}\"")),
            _ => None,
        }
    }
}
