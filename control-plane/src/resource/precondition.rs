//! Conditional requests (RFC 9110 section 13): who changes an object says which version of it they saw.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::{HeaderMap, HeaderName, header, request::Parts};
use utoipa::IntoParams;

use crate::error::ApiError;

/// What a change expects to find.
#[derive(Debug, Clone, Default, IntoParams)]
#[into_params(parameter_in = Header)]
pub struct Precondition {
    /// The `etag` of the version that is changed; required when the object exists.
    #[param(rename = "If-Match", example = "\"1\"")]
    if_match: Option<String>,
    /// `*`: only if there is no such object yet.
    #[param(rename = "If-None-Match", example = "*")]
    if_none_match: Option<String>,
}

impl Precondition {
    /// Expects the version with this `etag`.
    #[must_use]
    pub fn matching(etag: &str) -> Self {
        Self { if_match: Some(etag.to_owned()), if_none_match: None }
    }

    /// Expects that the object does not exist yet.
    #[must_use]
    pub fn absent() -> Self {
        Self { if_match: None, if_none_match: Some("*".to_owned()) }
    }

    /// Whether an object that exists with this `etag` may be changed.
    pub(crate) fn allows_change(&self, etag: &str) -> Result<(), ApiError> {
        let listed = |tags: &str| tags.split(',').any(|tag| tag.trim() == etag || tag.trim() == "*");
        if self.if_none_match.as_deref().is_some_and(listed) {
            return Err(ApiError::PreconditionFailed);
        }
        match self.if_match.as_deref() {
            None => Err(ApiError::PreconditionRequired),
            Some(tags) if listed(tags) => Ok(()),
            Some(_) => Err(ApiError::PreconditionFailed),
        }
    }

    /// Whether an object that does not exist may be created.
    pub(super) const fn allows_creation(&self) -> Result<(), ApiError> {
        if self.if_match.is_some() { Err(ApiError::PreconditionFailed) } else { Ok(()) }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Precondition {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self {
            if_match: joined(&parts.headers, &header::IF_MATCH),
            if_none_match: joined(&parts.headers, &header::IF_NONE_MATCH),
        })
    }
}

/// Several fields of one name mean the same as one with commas (RFC 9110 section 5.3).
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let values: Vec<_> =
        headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
    (!values.is_empty()).then(|| values.join(","))
}
