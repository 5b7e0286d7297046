//! The id of each HTTP request: taken from `X-Request-Id` or made, sent back, and named in problems and logs.
//!
//! Invariant: an id is plain text that needs no escaping anywhere.

use axum::{extract::Request, middleware::Next, response::Response};
use http::{HeaderName, HeaderValue};
use uuid::Uuid;

/// The header that carries it both ways.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");
const LEN_MAX: usize = 128;

tokio::task_local! {
    static CURRENT: String;
}

/// The id of the request being answered; empty outside of one.
#[must_use]
pub fn current() -> String {
    CURRENT.try_with(Clone::clone).unwrap_or_default()
}

/// Middleware that gives every request its id and every answer the header.
pub async fn assign(request: Request, next: Next) -> Response {
    let id = request.headers().get(HEADER).and_then(acceptable).unwrap_or_else(|| Uuid::now_v7().to_string());
    let header = HeaderValue::from_str(&id).expect("an id is plain ASCII");
    let mut response = CURRENT.scope(id, next.run(request)).await;
    response.headers_mut().insert(HEADER, header);
    response
}

fn acceptable(given: &HeaderValue) -> Option<String> {
    let text = given.to_str().ok()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    ((1..=LEN_MAX).contains(&text.len()) && text.bytes().all(plain)).then(|| text.to_owned())
}
