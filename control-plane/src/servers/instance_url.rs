//! Which URLs an instance or a webhook may have: those that carry no secret, since URLs are shown and logged.

use url::{Host, Url};

/// What this very machine is called by itself.
const LOOPBACK: &str = "localhost";
const LEN_MAX: usize = 2048;
/// Names of query parameters that carry secrets.
const SECRET_PARAMETERS: [&str; 12] = [
    "access_token",
    "api_key",
    "api-key",
    "apikey",
    "auth",
    "authorization",
    "key",
    "password",
    "secret",
    "sig",
    "signature",
    "token",
];

/// Why a URL is not one of an instance. Does not repeat the URL, which may hold a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UrlError {
    #[error("write an absolute URL, as in `https://mcp.example.com/mcp`")]
    Malformed,
    #[error("a URL has at most {LEN_MAX} characters")]
    TooLong,
    #[error("use `http` or `https`")]
    Scheme,
    #[error("name a host")]
    Host,
    #[error("leave out the user and the password: URLs are shown and logged")]
    UserInfo,
    #[error("leave out the fragment: it is never sent")]
    Fragment,
    #[error("leave out credentials in the query: URLs are shown and logged")]
    QueryCredential,
}

/// The URL in its normal form.
pub(crate) fn read(text: &str) -> Result<String, UrlError> {
    if text.len() > LEN_MAX {
        return Err(UrlError::TooLong);
    }
    let url = Url::parse(text).map_err(|error| match error {
        url::ParseError::EmptyHost => UrlError::Host,
        _ => UrlError::Malformed,
    })?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(UrlError::Scheme);
    }
    if url.host().is_none() {
        return Err(UrlError::Host);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(UrlError::UserInfo);
    }
    if url.fragment().is_some() {
        return Err(UrlError::Fragment);
    }
    if url.query_pairs().any(|(name, _)| SECRET_PARAMETERS.contains(&name.to_ascii_lowercase().as_str())) {
        return Err(UrlError::QueryCredential);
    }
    Ok(url.into())
}

/// Whether a URL in its normal form names the host and the port of another. What is only reached from this very machine
/// is one host, however it is called.
pub(super) fn is_at(url: &str, other: &str) -> bool {
    let place = |text: &str| {
        let url = Url::parse(text).ok()?;
        let host = match url.host()? {
            Host::Ipv4(address) if address.is_loopback() => LOOPBACK.to_owned(),
            Host::Ipv6(address) if address.to_canonical().is_loopback() => LOOPBACK.to_owned(),
            host => host.to_string().trim_end_matches('.').to_owned(),
        };
        Some((host, url.port_or_known_default()?))
    };
    place(url).is_some_and(|of_url| place(other) == Some(of_url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_comes_back_in_its_normal_form() {
        assert_eq!(read("HTTP://LocalHost:80/mcp").as_deref(), Ok("http://localhost/mcp"));
        assert_eq!(read("https://[::1]:8443/mcp?region=eu").as_deref(), Ok("https://[::1]:8443/mcp?region=eu"));
    }

    #[test]
    fn a_place_is_known_by_its_host_and_its_port() {
        for (url, other) in [
            ("https://gate.example.com/t/default/mcp", "https://gate.example.com"),
            ("https://gate.example.com./x", "https://gate.example.com:443/base"),
            ("http://localhost:7402/t/default/mcp", "http://127.0.0.1:7402"),
            ("http://127.9.9.9:7402/", "http://[::1]:7402"),
            ("http://[::ffff:127.0.0.1]:7402/", "http://localhost:7402"),
        ] {
            assert!(is_at(url, other), "{url} {other}");
        }
        for (url, other) in [
            ("https://gate.example.com:8443/", "https://gate.example.com"),
            ("https://files.gate.example.com/", "https://gate.example.com"),
            ("http://10.0.0.1:7402/", "http://127.0.0.1:7402"),
        ] {
            assert!(!is_at(url, other), "{url} {other}");
        }
    }

    #[test]
    fn what_could_carry_a_secret_or_go_nowhere_is_refused() {
        for (text, expected) in [
            ("mcp", UrlError::Malformed),
            ("http://", UrlError::Host),
            ("ftp://host/", UrlError::Scheme),
            ("http://user@host/", UrlError::UserInfo),
            ("http://:pw@host/", UrlError::UserInfo),
            ("http://host/#part", UrlError::Fragment),
            ("http://host/?Token=abc", UrlError::QueryCredential),
            ("http://host/?a=1&%74oken=abc", UrlError::QueryCredential),
        ] {
            assert_eq!(read(text), Err(expected), "{text}");
        }
        assert_eq!(read(&format!("http://host/{}", "a".repeat(LEN_MAX))), Err(UrlError::TooLong));
    }
}
