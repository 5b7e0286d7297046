//! How text travels in `Mcp-Name` and `Mcp-Param-*`: as it is, or in base64 between markers
//! (2026-07-28, basic/transports/streamable-http, "Value encoding").
//!
//! Invariant: one text has one decoded reading. Base64 is decoded once and only in its canonical form.

use std::borrow::Cow;

use base64::{Engine, prelude::BASE64_STANDARD};
use http::HeaderValue;

use crate::mcp::json::{Kind, Raw};

const OPEN: &str = "=?base64?";
const CLOSE: &str = "?=";

/// A value between markers that is no canonical base64 of UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the value between the base64 markers is not canonical base64 of UTF-8")]
pub struct ValueError;

/// The text that a header value stands for. The markers are exact: in capitals, or with one missing, the value
/// stands for itself.
///
/// # Errors
/// When what is between the markers is no canonical, padded base64 of UTF-8.
pub fn decode(value: &str) -> Result<Cow<'_, str>, ValueError> {
    let Some(encoded) = value.strip_prefix(OPEN).and_then(|rest| rest.strip_suffix(CLOSE)) else {
        return Ok(Cow::Borrowed(value));
    };
    let bytes = BASE64_STANDARD.decode(encoded).map_err(|_| ValueError)?;
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| ValueError)
}

/// The header value for a text: as it is where a header can carry it unchanged, else in base64.
#[must_use]
pub fn encode(text: &str) -> HeaderValue {
    let carries = |byte: u8| matches!(byte, b'\t' | b' '..=b'~');
    let looks_encoded = text.starts_with(OPEN) && text.ends_with(CLOSE);
    let padded = text.starts_with([' ', '\t']) || text.ends_with([' ', '\t']);
    let value = if text.bytes().all(carries) && !looks_encoded && !padded {
        HeaderValue::from_str(text)
    } else {
        HeaderValue::from_str(&format!("{OPEN}{}{CLOSE}", BASE64_STANDARD.encode(text)))
    };
    value.expect("visible ASCII, space and tab make a header value")
}

/// The header value for an argument; `None` for what has no header: `null`, arrays, objects, and integers beyond
/// ±(2^53 - 1).
#[must_use]
pub fn encode_param(value: &Raw) -> Option<HeaderValue> {
    match value.kind() {
        Kind::String => Some(encode(&value.as_str()?)),
        Kind::Boolean => Some(encode(if value.as_bool()? { "true" } else { "false" })),
        Kind::Number => Some(encode(&decimal(value.as_number()?)?)),
        Kind::Null | Kind::Array | Kind::Object => None,
    }
}

/// Whether a decoded header says the same as the argument: strings and booleans exactly, numbers by value, so that
/// `42` equals `42.0`.
#[must_use]
pub fn param_equals(decoded: &str, value: &Raw) -> bool {
    match value.kind() {
        Kind::String => value.as_str().is_some_and(|text| text == decoded),
        Kind::Boolean => value.as_bool().is_some_and(|truth| decoded == if truth { "true" } else { "false" }),
        Kind::Number => {
            let is_number = decoded.starts_with(|first: char| first == '-' || first.is_ascii_digit());
            is_number && decimal(decoded).is_some() && decimal(decoded) == value.as_number().and_then(decimal)
        }
        Kind::Null | Kind::Array | Kind::Object => false,
    }
}

/// A number as every writer of headers writes it: an integer within ±(2^53 - 1), or the shortest fraction that reads
/// as the same double.
fn decimal(number: &str) -> Option<String> {
    const MAX: i64 = (1 << 53) - 1;
    let in_range = |integer: &i64| (-MAX..=MAX).contains(integer);
    if let Ok(integer) = number.parse::<i64>() {
        return Some(integer).filter(in_range).map(|integer| integer.to_string());
    }
    let float = number.parse::<f64>().ok().filter(|float| float.is_finite())?;
    if float.fract() != 0.0 {
        return Some(float.to_string());
    }
    // The text of an integral double below 2^53 is that integer.
    format!("{float:.0}").parse().ok().filter(in_range).map(|integer| integer.to_string())
}
