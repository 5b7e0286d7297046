//! URLs that can be a `client_id`.
//!
//! Invariant: a [`DocumentUrl`] is written exactly as a URL parser would write it, so that two spellings of one address
//! are never two clients, and nothing in it means something else to another reader.

use std::fmt;

use url::Url;

const LEN_MAX: usize = 1_024;

/// The URL of a Client ID Metadata Document.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct DocumentUrl {
    url: Url,
    host: String,
}

/// Why a text can be no URL of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlFault {
    /// No URL, or not in its normal form: dot segments, capitals in the host, a default port, backslashes, blanks.
    #[error("the URL of a client's document must be an absolute URL in its normal form")]
    NotNormal,
    /// Another scheme.
    #[error("the URL of a client's document must begin with `https://`")]
    NotHttps,
    /// Nothing but a host.
    #[error("the URL of a client's document must have a path")]
    NoPath,
    /// `https://good.example@evil.example/…`, or anything with `#`.
    #[error("the URL of a client's document has neither user information nor a fragment")]
    UserOrFragment,
    /// Longer than any that is meant honestly.
    #[error("the URL of a client's document is longer than {LEN_MAX} characters")]
    TooLong,
}

impl DocumentUrl {
    /// Reads a `client_id`.
    ///
    /// # Errors
    /// [`UrlFault`].
    pub fn parse(text: &str) -> Result<Self, UrlFault> {
        if text.len() > LEN_MAX {
            return Err(UrlFault::TooLong);
        }
        if !text.starts_with("https://") {
            return Err(UrlFault::NotHttps);
        }
        let url = Url::parse(text).map_err(|_| UrlFault::NotNormal)?;
        if !url.username().is_empty() || url.password().is_some() || text.contains(['#', '@']) {
            return Err(UrlFault::UserOrFragment);
        }
        if url.path() == "/" {
            return Err(UrlFault::NoPath);
        }
        if url.as_str() != text {
            return Err(UrlFault::NotNormal);
        }
        let host = url.host_str().ok_or(UrlFault::NotNormal)?.to_owned();
        Ok(Self { url, host })
    }

    /// The text, letter by letter what was parsed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }

    /// The parsed form.
    #[must_use]
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// The host, in lower case and ASCII.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl fmt::Debug for DocumentUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_of_documents_are_taken_as_they_are() {
        for text in [
            "https://client.example/oauth/client.json",
            "https://client.example:8443/c",
            "https://client.example/c?v=1",
            "https://[2001:db8::1]/c",
            "https://xn--bcher-kva.example/c%20d",
        ] {
            assert_eq!(DocumentUrl::parse(text).expect(text).as_str(), text);
        }
        let url = DocumentUrl::parse("https://client.example:8443/c").expect("a URL");
        assert_eq!(url.host(), "client.example");
    }

    #[test]
    fn what_another_reader_could_take_for_something_else_is_nobodys_address() {
        use UrlFault::{NoPath, NotHttps, NotNormal, TooLong, UserOrFragment};
        let long = format!("https://a.example/{}", "a".repeat(LEN_MAX));
        for (text, fault) in [
            ("http://client.example/c", NotHttps),
            ("HTTPS://client.example/c", NotHttps),
            ("https:client.example/c", NotHttps),
            ("https:/client.example/c", NotHttps),
            (r"https:\\client.example/c", NotHttps),
            (" https://client.example/c", NotHttps),
            ("agt_01", NotHttps),
            ("https://client.example", NoPath),
            ("https://client.example/", NoPath),
            ("https://client.example?c", NoPath),
            ("https://client.example/#c", UserOrFragment),
            ("https://client.example/c#", UserOrFragment),
            ("https://user@client.example/c", UserOrFragment),
            ("https://:pass@client.example/c", UserOrFragment),
            ("https://@client.example/c", UserOrFragment),
            ("https://client.example/a/../c", NotNormal),
            ("https://client.example/./c", NotNormal),
            ("https://client.example/a/%2e%2E/c", NotNormal),
            ("https://client.example/.%2e/c", NotNormal),
            ("https://client.example/a\t/c", NotNormal),
            ("https://client.example/a\n/c", NotNormal),
            (r"https://client.example\c", NotNormal),
            ("https:///client.example/c", NotNormal),
            ("https://Client.example/c", NotNormal),
            ("https://client.example:443/c", NotNormal),
            ("https://bücher.example/c", NotNormal),
            ("https://0x7f.1/c", NotNormal),
            ("https://client.example/ c", NotNormal),
            (long.as_str(), TooLong),
        ] {
            assert_eq!(DocumentUrl::parse(text), Err(fault), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_is_in_its_normal_form(text in "https://[a-zA-Z0-9.:@\\[\\]%\\\\/?#\t ]{1,60}") {
            if let Ok(url) = DocumentUrl::parse(&text) {
                let again = Url::parse(&text).expect("a URL");
                prop_assert_eq!(again.as_str(), &text);
                prop_assert_eq!(again.scheme(), "https");
                prop_assert!(again.fragment().is_none() && again.username().is_empty());
                prop_assert!(!again.path_segments().expect("a path").any(|segment| segment == "." || segment == ".."));
                prop_assert_eq!(again.host_str(), Some(url.host()));
            }
        }
    }
}
