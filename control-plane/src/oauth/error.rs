//! Everything an OAuth endpoint refuses, and how it says so (RFC 6749 section 5.2).
//!
//! Invariant: `error` and `error_description` hold the bytes %x20-21, %x23-5B and %x5D-7E only, whatever a client
//! sent and is quoted back.

use std::{borrow::Cow, error::Error as StdError, time::Duration};

use axum::{
    Json,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::{
    keys::KeyError, observed::Refused, register::RegistrationRefusal, scope_policy::ScopeRefusal, target::TargetError,
    token::IssueError,
};
use crate::request::body::BodyFault;

/// Seconds after which a client may try again when a fault is ours.
const RETRY_AFTER_S: u32 = 5;
/// The same when a tenant takes no more clients: until the next round of removing those that nobody uses.
const FULL_RETRY_AFTER_S: u32 = 60;

/// Why an OAuth endpoint did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum OAuthError {
    /// A parameter is missing, repeated or makes no sense.
    #[error("{0}")]
    InvalidRequest(Cow<'static, str>),
    /// The body is longer than any honest request.
    #[error("the body is longer than this endpoint reads")]
    BodyTooLarge,
    /// The body did not arrive in time.
    #[error("the body did not arrive in time")]
    BodyTooSlow,
    /// The endpoint does not know the method.
    #[error("this endpoint answers {0} only")]
    MethodNotAllowed(&'static str),
    /// The path names no tenant.
    #[error("there is no such authorization server")]
    UnknownTenant,
    /// Unknown client, wrong or expired secret, suspended agent: nobody learns which.
    #[error("the client is unknown, suspended or did not prove who it is")]
    InvalidClient(Box<Unproven>),
    /// Too many wrong secrets for this client from this address.
    #[error("too many failed attempts for this client from this address")]
    TooManyFailures {
        /// How long to wait.
        retry_after: Duration,
    },
    /// The client is known, and may not use this grant type.
    #[error("the client may not use this grant type")]
    UnauthorizedClient,
    /// A grant type that there is not.
    #[error("the grant types are authorization_code, refresh_token and client_credentials")]
    UnsupportedGrantType,
    /// RFC 7591 section 3.2.2, RFC 7592 section 2.
    #[error(transparent)]
    Registration(#[from] RegistrationRefusal),
    /// A code or a refresh token that gives nothing (any more): nobody learns why.
    #[error("the code or token is unknown, expired, used or revoked, or was issued to another client or request")]
    InvalidGrant {
        /// Why, for the audit log.
        reason: &'static str,
    },
    /// RFC 8707 section 2.
    #[error(transparent)]
    InvalidTarget(#[from] TargetError),
    /// RFC 6749 section 5.2.
    #[error(transparent)]
    InvalidScope(#[from] ScopeRefusal),
    /// The fault is ours.
    #[error("the authorization server cannot answer now, try again")]
    Unavailable(#[source] Box<dyn StdError + Send + Sync>),
}

/// Who is not who it says, and why. The reason is for operators: the client learns nothing of it.
#[derive(Debug, Default)]
pub(super) struct Unproven {
    /// The issuer, when the client tried the `Authorization` header and must be challenged in it.
    pub(super) realm: Option<String>,
    /// The `client_id` that was claimed, shortened.
    pub(super) client: Option<String>,
    /// What was wrong.
    pub(super) reason: String,
}

impl OAuthError {
    const fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::InvalidRequest(_) => (StatusCode::BAD_REQUEST, "invalid_request"),
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "invalid_request"),
            Self::BodyTooSlow => (StatusCode::REQUEST_TIMEOUT, "invalid_request"),
            Self::MethodNotAllowed(_) => (StatusCode::METHOD_NOT_ALLOWED, "invalid_request"),
            Self::UnknownTenant => (StatusCode::NOT_FOUND, "not_found"),
            Self::InvalidClient(_) => (StatusCode::UNAUTHORIZED, "invalid_client"),
            // No RFC has a code for this; the MCP SDKs know this one and keep their credentials.
            Self::TooManyFailures { .. } => (StatusCode::TOO_MANY_REQUESTS, "too_many_requests"),
            Self::UnauthorizedClient => (StatusCode::BAD_REQUEST, "unauthorized_client"),
            Self::UnsupportedGrantType => (StatusCode::BAD_REQUEST, "unsupported_grant_type"),
            Self::Registration(refusal) => refusal.status_and_code(),
            Self::InvalidGrant { .. } => (StatusCode::BAD_REQUEST, "invalid_grant"),
            Self::InvalidTarget(_) => (StatusCode::BAD_REQUEST, "invalid_target"),
            Self::InvalidScope(_) => (StatusCode::BAD_REQUEST, "invalid_scope"),
            Self::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable"),
        }
    }

    fn extra_header(&self) -> Option<(HeaderName, HeaderValue)> {
        let (name, value) = match self {
            Self::InvalidClient(unproven) => {
                let realm = unproven.realm.as_ref()?;
                (header::WWW_AUTHENTICATE, format!("Basic realm=\"{realm}\", charset=\"UTF-8\""))
            }
            Self::TooManyFailures { retry_after }
            | Self::Registration(RegistrationRefusal::TooFast { retry_after }) => {
                (header::RETRY_AFTER, retry_after.as_millis().div_ceil(1000).to_string())
            }
            Self::Registration(RegistrationRefusal::Full) => (header::RETRY_AFTER, FULL_RETRY_AFTER_S.to_string()),
            Self::Registration(refusal) => (header::WWW_AUTHENTICATE, refusal.challenge()?),
            Self::MethodNotAllowed(allowed) => (header::ALLOW, (*allowed).to_owned()),
            Self::Unavailable(_) => (header::RETRY_AFTER, RETRY_AFTER_S.to_string()),
            _ => return None,
        };
        Some((name, HeaderValue::try_from(value).expect("an issuer is a URL, so all of these are ASCII")))
    }
}

impl From<sqlx::Error> for OAuthError {
    fn from(error: sqlx::Error) -> Self {
        Self::Unavailable(error.into())
    }
}

impl From<BodyFault> for OAuthError {
    fn from(fault: BodyFault) -> Self {
        match fault {
            BodyFault::TooLarge => Self::BodyTooLarge,
            BodyFault::TooSlow => Self::BodyTooSlow,
            BodyFault::Broken => Self::InvalidRequest(fault.to_string().into()),
        }
    }
}

impl From<KeyError> for OAuthError {
    fn from(error: KeyError) -> Self {
        Self::Unavailable(error.into())
    }
}

impl From<IssueError> for OAuthError {
    fn from(error: IssueError) -> Self {
        match error {
            IssueError::UnknownAgent | IssueError::Suspended => Self::InvalidClient(Box::default()),
            IssueError::Target(error) => error.into(),
            IssueError::Scope(error) => error.into(),
            IssueError::Storage(error) => error.into(),
            IssueError::Key(error) => error.into(),
        }
    }
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        if let Self::Unavailable(source) = &self {
            tracing::error!(error = %source, "the authorization server could not answer");
        }
        let (status, code) = self.status_and_code();
        let body = json!({ "error": code, "error_description": speakable(&self.to_string()) });
        let mut response = (status, Json(body)).into_response();
        never_store(response.headers_mut());
        response.headers_mut().extend(self.extra_header());
        let said = self.to_string();
        let refused = match self {
            Self::InvalidClient(unproven) if !unproven.reason.is_empty() => {
                Refused { code, reason: unproven.reason, client: unproven.client }
            }
            Self::InvalidGrant { reason } => Refused { code, reason: reason.to_owned(), client: None },
            _ => Refused { code, reason: said, client: None },
        };
        response.extensions_mut().insert(refused);
        response
    }
}

/// Forbids every cache to keep the answer (RFC 6749 section 5.1).
pub(super) fn never_store(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
}

/// Refuses every method but those of the token endpoint.
pub(super) async fn token_method() -> OAuthError {
    OAuthError::MethodNotAllowed("POST, OPTIONS")
}

/// Refuses every method but those of a registration.
pub(super) async fn registration_method() -> OAuthError {
    OAuthError::MethodNotAllowed("GET, PUT, DELETE, OPTIONS")
}

/// Refuses every method but that of the introspection endpoint.
pub(super) async fn introspection_method() -> OAuthError {
    OAuthError::MethodNotAllowed("POST")
}

/// Refuses every method but those of a document.
pub(super) async fn document_method() -> OAuthError {
    OAuthError::MethodNotAllowed("GET, HEAD, OPTIONS")
}

/// Replaces what RFC 6749 does not let stand in an `error_description`. Backticks quote, double quotes may not.
pub(super) fn speakable(text: &str) -> String {
    let allowed = |character: char| matches!(character, ' '..='!' | '#'..='[' | ']'..='~');
    text.chars().map(|character| if allowed(character) { character } else { '?' }).collect()
}
