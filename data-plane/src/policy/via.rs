//! What a gateway is called in `CDN-Loop` (RFC 8586), by which it knows a request that it has made itself: a server whose
//! name leads back here would otherwise be asked for ever.
//!
//! Invariant: all data planes of a deployment have the same name, and whoever asks a server names itself behind those
//! that have passed the request on before.

use http::{HeaderMap, HeaderValue, Uri};

use crate::mcp::header;

/// The name; none where the URL of the data planes has no host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Via(Option<HeaderValue>);

impl Via {
    /// Of the data planes at this URL: its host and port (RFC 8586 section 2, `cdn-id`).
    #[must_use]
    pub fn of(data_url: &str) -> Self {
        let url: Option<Uri> = data_url.parse().ok();
        Self(url.as_ref().and_then(Uri::authority).and_then(|authority| HeaderValue::try_from(authority.as_str()).ok()))
    }

    /// Notes that the request goes through here.
    pub fn mark(&self, headers: &mut HeaderMap) {
        if let Some(name) = &self.0 {
            headers.append(header::CDN_LOOP, name.clone());
        }
    }

    /// Whether the request has been here before.
    #[must_use]
    pub fn is_in(&self, headers: &HeaderMap) -> bool {
        let Some(name) = &self.0 else { return false };
        let lists = headers.get_all(header::CDN_LOOP).into_iter();
        lists.flat_map(|list| list.as_bytes().split(|byte| *byte == b',')).any(|entry| {
            let id = entry.split(|byte| *byte == b';').next().unwrap_or_default();
            id.trim_ascii().eq_ignore_ascii_case(name.as_bytes())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_knows_what_it_has_marked_among_the_marks_of_others() {
        let (here, there) = (Via::of("https://Gate.example.com:8443"), Via::of("https://gate.example.com"));
        let mut headers = HeaderMap::new();
        assert!(!here.is_in(&headers));
        there.mark(&mut headers);
        assert!(there.is_in(&headers) && !here.is_in(&headers));
        here.mark(&mut headers);
        assert!(there.is_in(&headers) && here.is_in(&headers));
    }

    #[test]
    fn marks_may_come_in_one_line_with_parameters() {
        let here = Via::of("http://127.0.0.1:7402");
        let with = |line| HeaderMap::from_iter([(header::CDN_LOOP, HeaderValue::from_static(line))]);
        for line in ["127.0.0.1:7402", "foo, 127.0.0.1:7402;v=1; a=\"b\" ,bar", "x;y,127.0.0.1:7402"] {
            assert!(here.is_in(&with(line)), "{line}");
        }
        for line in ["127.0.0.1", "127.0.0.1:74022", "foo;by=127.0.0.1:7402"] {
            assert!(!here.is_in(&with(line)), "{line}");
        }
    }
}
