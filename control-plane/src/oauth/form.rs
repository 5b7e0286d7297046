//! The body of a token request: `application/x-www-form-urlencoded`, read once.
//!
//! Invariant: no parameter has two values but `resource` (RFC 6749 section 3.2, RFC 8707 section 2), and an empty
//! value is none. The query string is never read.

use std::collections::HashMap;

use axum::{
    body::Body,
    http::{HeaderMap, header},
};

use super::error::OAuthError;
use crate::request::body;

const BODY_BYTES_MAX: usize = 64 * 1024;
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
        if !is_form(headers) {
            return Err(OAuthError::InvalidRequest(format!("the body must be {MEDIA_TYPE}").into()));
        }
        Self::parse(&body::read(body, BODY_BYTES_MAX).await?)
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
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_body_is_too_strange_to_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(form) = Form::parse(&bytes) {
                prop_assert!(form.single.values().chain(&form.resources).all(|value| !value.is_empty()));
            }
        }

        #[test]
        fn each_parameter_has_the_one_value_that_was_sent(
            pairs in proptest::collection::vec(("[a-c]|resource", "[ -~é&=+%]{0,4}"), 0..6),
        ) {
            let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(&pairs).finish();
            let sent: Vec<_> = pairs.iter().filter(|(_, value)| !value.is_empty()).collect();
            let of = |wanted: &str| -> Vec<&str> {
                sent.iter().filter(|(name, _)| name == wanted).map(|(_, value)| value.as_str()).collect()
            };
            match Form::parse(body.as_bytes()) {
                Ok(form) => {
                    prop_assert_eq!(&form.resources, &of("resource"));
                    for name in ["a", "b", "c"] {
                        prop_assert_eq!(form.get(name).into_iter().collect::<Vec<_>>(), of(name));
                    }
                }
                Err(_) => prop_assert!(["a", "b", "c"].into_iter().any(|name| of(name).len() > 1)),
            }
        }
    }
}
