//! A public JSON document: cacheable, with an ETag (RFC 9110 section 8.8.3) and conditional GET.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use axum::{
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};

/// Answers with `json`, or with 304 when the client has it already. Caches may keep it for `max_age_s`.
pub(super) fn answer(request: &HeaderMap, json: String, max_age_s: u32) -> Response {
    let etag = etag(&json);
    let current = request.get_all(header::IF_NONE_MATCH).iter().any(|value| names(value.as_bytes(), &etag));
    let headers = [(header::CACHE_CONTROL, format!("public, max-age={max_age_s}")), (header::ETAG, etag)];
    if current {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    (headers, [(header::CONTENT_TYPE, "application/json")], json).into_response()
}

/// Strong, and 128 bits of SHA-256 long.
fn etag(json: &str) -> String {
    let hash = digest(&SHA256, json.as_bytes());
    let mut etag = String::from("\"");
    for byte in &hash.as_ref()[..16] {
        write!(etag, "{byte:02x}").expect("writing to a String does not fail");
    }
    etag.push('"');
    etag
}

/// Whether an `If-None-Match` value names `etag`; the comparison is the weak one (RFC 9110 section 13.1.2).
fn names(value: &[u8], etag: &str) -> bool {
    value
        .split(|&byte| byte == b',')
        .map(<[u8]>::trim_ascii)
        .any(|candidate| candidate == b"*" || candidate.strip_prefix(b"W/").unwrap_or(candidate) == etag.as_bytes())
}
