//! Where and how the client is answered: the redirect URI with `code` or `error`, `state` and `iss`.
//!
//! Invariant: what the client registered stays as it is, byte by byte, and the answer is added to its query (RFC 6749
//! section 3.1.2); every answer says who gives it (RFC 9207 section 2).

use super::fault::RequestFault;
use crate::oauth::error::speakable;

/// The address of the answer to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    /// The redirect URI, found to be the client's.
    pub(super) redirect_uri: String,
    /// The client's `state`, word for word.
    pub(super) state: Option<String>,
    /// Our identifier.
    pub(super) issuer: String,
}

impl Reply {
    /// The address that carries a code.
    pub(super) fn code(&self, code: &str) -> String {
        self.with(&[("code", code)])
    }

    /// The address that carries a fault.
    pub(super) fn error(&self, fault: &RequestFault) -> String {
        self.with(&[("error", fault.code()), ("error_description", &speakable(&fault.to_string()))])
    }

    fn with(&self, answer: &[(&str, &str)]) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(answer);
        if let Some(state) = &self.state {
            query.append_pair("state", state);
        }
        query.append_pair("iss", &self.issuer);
        let joint = match self.redirect_uri.split_once('?') {
            None => "?",
            Some((_, query)) if query.is_empty() || query.ends_with('&') => "",
            Some(_) => "&",
        };
        format!("{}{joint}{}", self.redirect_uri, query.finish())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reply(redirect_uri: &str, state: Option<&str>) -> Reply {
        Reply { redirect_uri: redirect_uri.to_owned(), state: state.map(str::to_owned), issuer: "https://h/t/a".into() }
    }

    #[test]
    fn a_registered_query_is_kept() {
        for (registered, answered) in [
            ("https://a.example/cb", "https://a.example/cb?code=c&"),
            ("https://a.example/cb?x=1", "https://a.example/cb?x=1&code=c&"),
            ("https://a.example/cb?x=1&", "https://a.example/cb?x=1&code=c&"),
            ("https://a.example/cb?", "https://a.example/cb?code=c&"),
            ("com.example.app:/cb", "com.example.app:/cb?code=c&"),
        ] {
            assert_eq!(
                reply(registered, Some("s")).code("c"),
                format!("{answered}state=s&iss=https%3A%2F%2Fh%2Ft%2Fa")
            );
        }
    }

    #[test]
    fn no_state_is_echoed_when_none_was_sent() {
        let denied = reply("https://a.example/cb", None).error(&RequestFault::AccessDenied("the user said no"));
        assert_eq!(
            denied,
            "https://a.example/cb?error=access_denied&error_description=the+user+said+no&iss=https%3A%2F%2Fh%2Ft%2Fa"
        );
    }

    proptest! {
        #[test]
        fn the_client_gets_its_state_and_its_query_back(
            path in "[a-z]{0,8}", registered in prop::option::of("[a-z]=[a-z%2]{0,8}(&[a-z]=[a-z]{0,4}){0,3}"),
            state in prop::option::of("(?s).{1,200}"), code in "tgc_[A-Za-z0-9_-]{20}",
        ) {
            let mut uri = format!("https://app.example/{path}");
            if let Some(registered) = &registered {
                uri = format!("{uri}?{registered}");
            }
            check(&uri, state.as_deref(), &code)?;
        }

        #[test]
        fn a_long_state_is_echoed_exactly(state in prop::collection::vec(any::<char>(), 2_000..2_048)) {
            let state: String = state.into_iter().collect();
            check("https://app.example/cb", Some(&state), "tgc_x")?;
        }

        #[test]
        fn a_description_holds_only_what_the_standard_allows(quoted in "(?s).{0,80}") {
            let location = reply("https://a.example/", None).error(&RequestFault::InvalidScope(quoted));
            let (_, query) = location.split_once('?').expect("a query");
            for (_, value) in form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name.starts_with("error")) {
                let allowed = |byte: u8| matches!(byte, 0x20..=0x21 | 0x23..=0x5B | 0x5D..=0x7E);
                prop_assert!(value.bytes().all(allowed), "{value:?}");
            }
        }
    }

    fn check(uri: &str, state: Option<&str>, code: &str) -> Result<(), TestCaseError> {
        let location = reply(uri, state).code(code);
        prop_assert!(location.starts_with(uri));
        prop_assert!(location.bytes().all(|byte| byte.is_ascii_graphic()));
        let added = location[uri.len()..].trim_start_matches(['?', '&']);
        let pairs: Vec<(String, String)> = form_urlencoded::parse(added.as_bytes()).into_owned().collect();
        let mut expected = vec![("code".to_owned(), code.to_owned())];
        expected.extend(state.map(|state| ("state".to_owned(), state.to_owned())));
        expected.push(("iss".to_owned(), "https://h/t/a".to_owned()));
        prop_assert_eq!(pairs, expected);
        Ok(())
    }
}
