//! Where the tokens for a server come from: its protected-resource metadata (RFC 9728) names the authorization server,
//! whose metadata (RFC 8414) names the token endpoint.
//!
//! Invariant: metadata speaks for the issuer or resource that it was asked for and for no other; and a secret is sent by
//! `https`, or to this very machine.

use http::{HeaderMap, Uri, header::WWW_AUTHENTICATE};
use serde::Deserialize;

use super::CredentialFault;

/// What protected-resource metadata says (RFC 9728 section 2).
#[derive(Debug, Deserialize)]
pub(super) struct ResourceMetadata {
    resource: String,
    #[serde(default)]
    authorization_servers: Vec<String>,
}

/// What an authorization server says of itself (RFC 8414 section 2).
#[derive(Debug, Deserialize)]
pub(super) struct ServerMetadata {
    issuer: String,
    token_endpoint: String,
}

/// The URL of the metadata that a server's challenge names (RFC 9728 section 5.1).
pub(super) fn challenged(headers: &HeaderMap) -> Option<Uri> {
    const PARAMETER: &str = "resource_metadata=";
    let mut challenges = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let url = challenges.find_map(|challenge| {
        let at = challenge.to_ascii_lowercase().find(PARAMETER)? + PARAMETER.len();
        let rest = &challenge[at..];
        match rest.strip_prefix('"') {
            Some(quoted) => quoted.split('"').next(),
            None => rest.split([',', ' ']).next(),
        }
    });
    url?.parse().ok().filter(is_protected)
}

/// Where the metadata of a server without a challenge may be (RFC 9728 section 3.1): for its path, then for its origin.
pub(super) fn resource_metadata_urls(server: &Uri) -> Vec<Uri> {
    well_known(server, "oauth-protected-resource")
}

/// Where the metadata of an issuer may be (RFC 8414 section 3, OpenID Connect Discovery section 4).
pub(super) fn server_metadata_urls(issuer: &Uri) -> Vec<Uri> {
    let path = issuer.path().trim_end_matches('/');
    let at = |path: String| with_path(issuer, &path);
    let mut urls = vec![
        at(format!("/.well-known/oauth-authorization-server{path}")),
        at(format!("/.well-known/openid-configuration{path}")),
    ];
    if !path.is_empty() {
        urls.push(at(format!("{path}/.well-known/openid-configuration")));
    }
    urls.into_iter().flatten().collect()
}

/// A URL that a secret may be sent to.
pub(super) fn protected_url(text: &str, what: &'static str) -> Result<Uri, CredentialFault> {
    text.parse().ok().filter(is_protected).ok_or(CredentialFault::Invalid(what))
}

impl ResourceMetadata {
    /// The issuer and the resource to name, where this speaks for `server`: as its own URL, or for its whole origin or
    /// a part of it that the server is in.
    pub(super) fn checked(self, server: &Uri) -> Result<(String, String), CredentialFault> {
        let resource: Option<Uri> = self.resource.parse().ok();
        let covers = resource.is_some_and(|resource| {
            let (path, own) = (resource.path().trim_end_matches('/'), server.path());
            let below = own.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            origin(&resource) == origin(server) && below
        });
        if !covers {
            return Err(CredentialFault::Invalid("the protected-resource metadata speaks of another resource"));
        }
        let first = self.authorization_servers.into_iter().next();
        let issuer = first.ok_or(CredentialFault::Undiscovered("the protected-resource metadata names none"))?;
        Ok((issuer, self.resource))
    }
}

impl ServerMetadata {
    /// The token endpoint, where this speaks for `issuer`, byte for byte (RFC 8414 section 3.3).
    pub(super) fn checked(self, issuer: &str) -> Result<Uri, CredentialFault> {
        if self.issuer != issuer {
            return Err(CredentialFault::Invalid("the metadata speaks of another issuer"));
        }
        protected_url(&self.token_endpoint, "a token endpoint that is no `https` URL")
    }
}

fn is_protected(url: &Uri) -> bool {
    let Some(host) = url.host() else { return false };
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    let here = address.map_or(host == "localhost", |address| address.is_loopback());
    let has_user = url.authority().is_some_and(|authority| authority.as_str().contains('@'));
    !has_user && (url.scheme_str() == Some("https") || (url.scheme_str() == Some("http") && here))
}

fn well_known(url: &Uri, name: &str) -> Vec<Uri> {
    let path = url.path().trim_end_matches('/');
    let mut urls = vec![with_path(url, &format!("/.well-known/{name}{path}"))];
    if !path.is_empty() {
        urls.push(with_path(url, &format!("/.well-known/{name}")));
    }
    urls.into_iter().flatten().collect()
}

fn with_path(url: &Uri, path: &str) -> Option<Uri> {
    let (scheme, authority) = (url.scheme_str()?, url.authority()?);
    Uri::builder().scheme(scheme).authority(authority.as_str()).path_and_query(path).build().ok()
}

/// Scheme, host and port, the default port written out.
fn origin(url: &Uri) -> Option<(String, String, u16)> {
    let scheme = url.scheme_str()?.to_ascii_lowercase();
    let port = url.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
    Some((scheme, url.host()?.to_ascii_lowercase(), port))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn url(text: &'static str) -> Uri {
        Uri::from_static(text)
    }

    fn shown(urls: &[Uri]) -> Vec<String> {
        urls.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn metadata_is_looked_for_where_the_standards_put_it() {
        let resource = resource_metadata_urls(&url("https://mcp.example.com/a/mcp"));
        assert_eq!(
            shown(&resource),
            [
                "https://mcp.example.com/.well-known/oauth-protected-resource/a/mcp",
                "https://mcp.example.com/.well-known/oauth-protected-resource",
            ]
        );
        assert_eq!(
            shown(&server_metadata_urls(&url("https://login.example.com/realms/a"))),
            [
                "https://login.example.com/.well-known/oauth-authorization-server/realms/a",
                "https://login.example.com/.well-known/openid-configuration/realms/a",
                "https://login.example.com/realms/a/.well-known/openid-configuration",
            ]
        );
        assert_eq!(server_metadata_urls(&url("https://login.example.com/")).len(), 2);
    }

    #[test]
    fn a_challenge_names_the_metadata() {
        let named = |value: &'static str| {
            challenged(&HeaderMap::from_iter([(WWW_AUTHENTICATE, HeaderValue::from_static(value))]))
        };
        let expected = Some(url("https://a/prm"));
        assert_eq!(named(r#"Bearer error="x", resource_metadata="https://a/prm", scope="b""#), expected);
        assert_eq!(named("Bearer Resource_Metadata=https://a/prm, scope=b"), expected);
        assert_eq!(named("Bearer"), None);
        assert_eq!(named(r#"Bearer resource_metadata="http://a/prm""#), None);
        assert_eq!(named(r#"Bearer resource_metadata=""#), None);
    }

    #[test]
    fn metadata_of_another_resource_or_issuer_is_refused() {
        let of = |resource: &str| ResourceMetadata {
            resource: resource.to_owned(),
            authorization_servers: vec!["https://login".to_owned()],
        };
        let server = url("https://mcp.example.com/a/mcp");
        for fits in ["https://mcp.example.com/a/mcp", "https://mcp.example.com:443/a/", "https://MCP.example.com"] {
            assert!(of(fits).checked(&server).is_ok(), "{fits}");
        }
        for other in ["https://mcp.example.com/a/m", "http://mcp.example.com/a/mcp", "https://evil.example/a/mcp", "x"]
        {
            assert!(of(other).checked(&server).is_err(), "{other}");
        }
        let metadata = |endpoint: &str| ServerMetadata {
            issuer: "https://login.example.com".to_owned(),
            token_endpoint: endpoint.to_owned(),
        };
        assert!(metadata("https://login.example.com/token").checked("https://login.example.com").is_ok());
        assert!(metadata("https://login.example.com/token").checked("https://login.example.com/").is_err());
        for endpoint in ["http://login.example.com/token", "https://a:b@login.example.com/token", "/token"] {
            assert!(metadata(endpoint).checked("https://login.example.com").is_err(), "{endpoint}");
        }
    }
}
