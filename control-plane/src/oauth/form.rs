//! The body of a token request: `application/x-www-form-urlencoded`, read once.
//!
//! Invariant: no parameter has two values but `resource` (RFC 6749 section 3.2, RFC 8707 section 2), and an empty
//! value is none. The query string is never read.

use std::{collections::HashMap, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, header},
};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::error::OAuthError;

const BODY_BYTES_MAX: usize = 64 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
const MEDIA_TYPE: &str = "application/x-www-form-urlencoded";
const REPEATABLE: &str = "resource";

/// The parameters of a request. Holds a client's secret, hence without `Debug`.
pub(super) struct Form {
    single: HashMap<String, String>,
    resources: Vec<String>,
}

impl Form {
    /// Reads a body.
    pub(super) async fn read(headers: &HeaderMap, body: Body) -> Result<Self, OAuthError> {
        Self::read_within(BODY_TIMEOUT, headers, body).await
    }

    async fn read_within(timeout: Duration, headers: &HeaderMap, body: Body) -> Result<Self, OAuthError> {
        if !is_form(headers) {
            return Err(OAuthError::InvalidRequest(format!("the body must be {MEDIA_TYPE}").into()));
        }
        let collected = tokio::time::timeout(timeout, Limited::new(body, BODY_BYTES_MAX).collect());
        let bytes = match collected.await {
            Ok(Ok(collected)) => collected.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(OAuthError::BodyTooLarge),
            Ok(Err(_)) => return Err(OAuthError::InvalidRequest("the body could not be read".into())),
            Err(_elapsed) => return Err(OAuthError::BodyTooSlow),
        };
        Self::parse(&bytes)
    }

    fn parse(bytes: &[u8]) -> Result<Self, OAuthError> {
        let mut form = Self { single: HashMap::new(), resources: Vec::new() };
        for (name, value) in form_urlencoded::parse(bytes).filter(|(_, value)| !value.is_empty()) {
            if name == REPEATABLE {
                form.resources.push(value.into_owned());
            } else if form.single.contains_key(name.as_ref()) {
                let shown: String = name.chars().take(40).collect();
                return Err(OAuthError::InvalidRequest(format!("`{shown}` is there twice").into()));
            } else {
                form.single.insert(name.into_owned(), value.into_owned());
            }
        }
        Ok(form)
    }

    /// The value of a parameter.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.single.get(name).map(String::as_str)
    }

    /// Every `resource`.
    pub(super) fn resources(&self) -> &[String] {
        &self.resources
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case(MEDIA_TYPE))
}

#[cfg(test)]
mod tests {
    use axum::{body::Bytes, http::HeaderValue};
    use futures_util::stream;

    use super::*;

    #[tokio::test]
    async fn a_body_that_does_not_arrive_is_given_up() {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE))]);
        let body = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let read = Form::read_within(Duration::from_millis(5), &headers, body).await;
        assert!(matches!(read, Err(OAuthError::BodyTooSlow)));
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_an_invalid_request() {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE))]);
        let broken = Err::<Bytes, _>(std::io::Error::other("gone"));
        let read = Form::read(&headers, Body::from_stream(stream::iter([broken]))).await;
        assert!(matches!(read, Err(OAuthError::InvalidRequest(_))));
    }
}
