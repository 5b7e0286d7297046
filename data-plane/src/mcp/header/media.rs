//! Content negotiation: what a body may be, and what its sender has to take in return.
//!
//! Invariant: only uncompressed JSON in UTF-8 is read; every other declaration is refused, never passed on.

use http::{
    HeaderMap, StatusCode,
    header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE},
};

/// A body or an answer that could not be understood by one of both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MediaError {
    /// `Content-Type` is missing, repeated or something else than JSON in UTF-8.
    #[error("`Content-Type` must be application/json")]
    ContentType,
    /// `Content-Encoding` is there.
    #[error("`Content-Encoding` is not supported")]
    ContentEncoding,
    /// `Accept` leaves out what the answer may be.
    #[error("`Accept` must allow application/json and text/event-stream")]
    NotAcceptable,
    /// `Accept` leaves out event streams.
    #[error("`Accept` must allow text/event-stream")]
    NoEvents,
}

impl MediaError {
    /// 415 for what was sent, 406 for what is wanted in return (RFC 9110 sections 15.5.16 and 15.5.7).
    #[must_use]
    pub fn http_status(self) -> StatusCode {
        match self {
            Self::ContentType | Self::ContentEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::NotAcceptable | Self::NoEvents => StatusCode::NOT_ACCEPTABLE,
        }
    }
}

/// Demands that the body is declared as `application/json`, with charset UTF-8 or none, and is not compressed.
///
/// # Errors
/// [`MediaError::ContentType`] or [`MediaError::ContentEncoding`].
pub fn content_is_json(headers: &HeaderMap) -> Result<(), MediaError> {
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(MediaError::ContentEncoding);
    }
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Err(MediaError::ContentType) };
    let mut parts = value.to_str().map_err(|_| MediaError::ContentType)?.split(';').map(trim);
    let is_json = parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"));
    if is_json && parts.all(is_utf8_charset) { Ok(()) } else { Err(MediaError::ContentType) }
}

/// Demands that the sender of a POST takes JSON and event streams, as clients of every revision must. Wildcards
/// count; no `Accept` at all does not, as in the SDKs' servers.
///
/// # Errors
/// [`MediaError::NotAcceptable`].
pub fn accepts_json_and_events(headers: &HeaderMap) -> Result<(), MediaError> {
    let both = accepts(headers, "application", "json") && accepts(headers, "text", "event-stream");
    if both { Ok(()) } else { Err(MediaError::NotAcceptable) }
}

/// Demands that the sender of a GET takes event streams.
///
/// # Errors
/// [`MediaError::NoEvents`].
pub fn accepts_events(headers: &HeaderMap) -> Result<(), MediaError> {
    if accepts(headers, "text", "event-stream") { Ok(()) } else { Err(MediaError::NoEvents) }
}

/// The most specific range that matches decides (RFC 9110 section 12.5.1).
fn accepts(headers: &HeaderMap, kind: &str, subtype: &str) -> bool {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let matching = values.flat_map(|value| value.split(',')).filter_map(|range| {
        let mut parts = range.split(';').map(trim);
        let (range_kind, range_subtype) = parts.next()?.split_once('/')?;
        let specificity = match (range_kind, range_subtype) {
            ("*", "*") => 0,
            (own, "*") if own.eq_ignore_ascii_case(kind) => 1,
            (own, sub) if own.eq_ignore_ascii_case(kind) && sub.eq_ignore_ascii_case(subtype) => 2,
            _ => return None,
        };
        Some((specificity, !parts.any(is_zero_weight)))
    });
    matching.max().is_some_and(|(_, wanted)| wanted)
}

fn is_utf8_charset(parameter: &str) -> bool {
    parameter.is_empty()
        || parameter.split_once('=').is_some_and(|(name, value)| {
            let value = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
            name.eq_ignore_ascii_case("charset") && value.eq_ignore_ascii_case("utf-8")
        })
}

fn is_zero_weight(parameter: &str) -> bool {
    let weight = parameter.split_once('=').filter(|(name, _)| name.eq_ignore_ascii_case("q"));
    weight.is_some_and(|(_, value)| value.parse::<f32>().is_ok_and(|weight| weight == 0.0))
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}
