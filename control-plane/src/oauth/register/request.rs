//! Requests to the registration endpoints: a JSON body, and perhaps a bearer token in the header.
//!
//! Invariant: no more than [`BODY_BYTES_MAX`] of a body is read, and a token in the body or the query is none.

use axum::{
    body::Body,
    http::{HeaderMap, header},
};
use serde_json::Value;

use super::RegistrationRefusal;
use crate::{oauth::error::OAuthError, request::body};

const BODY_BYTES_MAX: usize = 16 * 1024;
const MEDIA_TYPE: &str = "application/json";

/// The JSON value of a body.
pub(super) async fn read(headers: &HeaderMap, body: Body) -> Result<Value, OAuthError> {
    if !is_json(headers) {
        return Err(OAuthError::InvalidRequest(format!("the body must be {MEDIA_TYPE}").into()));
    }
    let bytes = body::read(body, BODY_BYTES_MAX).await?;
    serde_json::from_slice(&bytes).map_err(|_| RegistrationRefusal::Body("the body is no valid JSON").into())
}

/// The token of the one `Authorization` header, if its scheme is `Bearer` (RFC 6750 section 2.1).
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim())
}

fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case(MEDIA_TYPE))
}
