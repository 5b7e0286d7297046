//! The HTTP headers that MCP gives a meaning to: which there are, how their values are written, what is refused.
//!
//! Invariant: a header that takes part in a decision is there once, is legible, and says what the body says. No
//! decision is taken from a header alone.

mod media;
mod value;

#[cfg(test)]
mod tests;

use http::{HeaderMap, HeaderName, header::AsHeaderName};

pub use media::{MediaError, accepts_events, accepts_json_and_events, content_is_json};
pub use value::{ValueError, decode, encode, encode_param, param_equals};

/// `MCP-Protocol-Version`: the revision of this request.
pub const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// `Mcp-Method`: the method of this modern request.
pub const METHOD: HeaderName = HeaderName::from_static("mcp-method");
/// `Mcp-Name`: the tool, prompt or resource of this modern request.
pub const NAME: HeaderName = HeaderName::from_static("mcp-name");
/// `Mcp-Session-Id`: the session of this legacy request.
pub const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// `Last-Event-ID`: where an interrupted legacy stream goes on.
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// `Tollgate-Call-Id`: what the call is known by, on every answer.
pub const CALL_ID: HeaderName = HeaderName::from_static("tollgate-call-id");
/// `Tollgate-Purpose`: what a request to a server is for that is part of no call.
pub const PURPOSE: HeaderName = HeaderName::from_static("tollgate-purpose");
/// `CDN-Loop`: whom a request has been through (RFC 8586).
pub const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");
/// What the headers that mirror arguments begin with: `Mcp-Param-{Name}`.
pub const PARAM_PREFIX: &str = "mcp-param-";

/// A header that cannot be relied on (2026-07-28, basic/transports/streamable-http: error -32020).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// It is required and not there.
    #[error("header `{0}` is missing")]
    Missing(HeaderName),
    /// It is there more than once.
    #[error("header `{0}` is there more than once")]
    Repeated(HeaderName),
    /// Its value has characters or an encoding that are not allowed.
    #[error("header `{0}` cannot be read")]
    Illegible(HeaderName),
    /// It says something else than the body.
    #[error("header `{0}` differs from the body")]
    Mismatch(HeaderName),
}

/// The value of a header without the white space around it; `None` when it is not there.
///
/// # Errors
/// [`HeaderFault::Repeated`] for several values, even equal ones, and [`HeaderFault::Illegible`] for one that is
/// not visible ASCII.
pub fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, HeaderFault> {
    match values(headers, name).as_slice() {
        [] => Ok(None),
        [value] => {
            let text = value.to_str().map_err(|_| HeaderFault::Illegible(name.clone()))?;
            Ok(Some(text.trim_matches([' ', '\t'])))
        }
        _ => Err(HeaderFault::Repeated(name.clone())),
    }
}

/// Demands that a header is there once and that its value is exactly `expected`.
///
/// # Errors
/// Every kind of [`HeaderFault`].
pub fn demand(headers: &HeaderMap, name: &HeaderName, expected: &str) -> Result<(), HeaderFault> {
    let value = single(headers, name)?.ok_or_else(|| HeaderFault::Missing(name.clone()))?;
    if value == expected { Ok(()) } else { Err(HeaderFault::Mismatch(name.clone())) }
}

/// Demands that a header is there once and that its decoded value is exactly `expected`.
///
/// # Errors
/// Every kind of [`HeaderFault`].
pub fn demand_decoded(headers: &HeaderMap, name: &HeaderName, expected: &str) -> Result<(), HeaderFault> {
    let value = single(headers, name)?.ok_or_else(|| HeaderFault::Missing(name.clone()))?;
    let decoded = decode(value).map_err(|_| HeaderFault::Illegible(name.clone()))?;
    if decoded == expected { Ok(()) } else { Err(HeaderFault::Mismatch(name.clone())) }
}

/// The headers that mirror arguments, decoded, in no particular order. They are to be checked against the body with
/// [`param_equals`] once the tool's schema is known.
///
/// # Errors
/// [`HeaderFault::Repeated`] and [`HeaderFault::Illegible`].
pub fn params(headers: &HeaderMap) -> Result<Vec<(HeaderName, Box<str>)>, HeaderFault> {
    let mut params = Vec::new();
    for name in headers.keys().filter(|name| name.as_str().starts_with(PARAM_PREFIX)) {
        if let Some(value) = single(headers, name)? {
            let decoded = decode(value).map_err(|_| HeaderFault::Illegible(name.clone()))?;
            params.push((name.clone(), decoded.into()));
        }
    }
    Ok(params)
}

fn values(headers: &HeaderMap, name: impl AsHeaderName) -> Vec<&http::HeaderValue> {
    headers.get_all(name).iter().collect()
}
