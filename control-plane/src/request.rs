//! Reading requests strictly: JSON bodies, queries and paths whose faults become problems.
//!
//! Invariant: a field that is not known is refused, never skipped (each type says `deny_unknown_fields`).

pub mod body;

use axum::extract::{FromRequest, FromRequestParts, Request};
use chrono::{DateTime, Datelike as _, NaiveDate, Utc};
use http::{HeaderMap, header::CONTENT_TYPE};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

use crate::{calendar::TimeZone, error::ApiError};

/// Bodies above are refused with 413.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// A JSON body.
#[derive(Debug)]
pub struct Body<T>(pub T);

/// The query string.
#[derive(Debug, FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(ApiError))]
pub struct Query<T>(pub T);

/// The path's parameters.
#[derive(Debug, FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(ApiError))]
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        if !says_json(request.headers()) {
            return Err(ApiError::MediaType);
        }
        let bytes = body::read(request.into_body(), BODY_BYTES_MAX).await?;
        let value: Value = serde_json::from_slice(&bytes).map_err(|error| ApiError::Malformed(error.to_string()))?;
        if has_nul(&value) {
            return Err(ApiError::Malformed("a text holds U+0000, which cannot be stored".to_owned()));
        }
        decode(value).map(Self)
    }
}

/// Reads `value` as a `T`.
///
/// # Errors
/// [`ApiError::Invalid`] with a pointer to the first place that does not fit.
pub fn decode<T: DeserializeOwned>(value: Value) -> Result<T, ApiError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let pointer: String = error.path().iter().filter_map(pointer_part).collect();
        ApiError::fault(&pointer, "shape", error.into_inner().to_string())
    })
}

/// A moment as RFC 3339 has it, or the first one of a day in UTC; `parameter` is whose value it is.
///
/// # Errors
/// [`ApiError::Query`] when it is neither.
pub(crate) fn moment(parameter: &str, text: &str) -> Result<DateTime<Utc>, ApiError> {
    moment_in(TimeZone::UTC, parameter, text)
}

/// A moment as RFC 3339 has it, or the first one of a day in a time zone; `parameter` is whose value it is.
///
/// # Errors
/// [`ApiError::Query`] when it is neither.
pub(crate) fn moment_in(zone: TimeZone, parameter: &str, text: &str) -> Result<DateTime<Utc>, ApiError> {
    moment_of(zone, text).ok_or_else(|| {
        ApiError::Query(format!(
            "write `{parameter}` as in `2026-11-01` or `2026-11-01T08:00:00Z` (a plus sign as `%2B`)"
        ))
    })
}

/// A moment as RFC 3339 has it, or the first one of a day in a time zone.
pub(crate) fn moment_of(zone: TimeZone, text: &str) -> Option<DateTime<Utc>> {
    let known = |day: &NaiveDate| (0..=9999).contains(&day.year());
    let day = |text: &str| text.parse().ok().filter(known).map(|day| zone.start_of(day));
    DateTime::parse_from_rfc3339(text).map(|at| at.to_utc()).ok().or_else(|| day(text))
}

fn pointer_part(segment: &Segment) -> Option<String> {
    match segment {
        Segment::Seq { index } => Some(format!("/{index}")),
        Segment::Map { key } => Some(format!("/{}", key.replace('~', "~0").replace('/', "~1"))),
        Segment::Enum { .. } | Segment::Unknown => None,
    }
}

/// Postgres stores no text with U+0000 in it.
fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(members) => members.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// `application/json`, or a type with the suffix `+json` (RFC 6839) such as `application/merge-patch+json`.
fn says_json(headers: &HeaderMap) -> bool {
    let essence = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(|value| value.trim().to_ascii_lowercase());
    essence.is_some_and(|essence| {
        essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
    })
}
