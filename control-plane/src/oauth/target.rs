//! Which endpoint a token is for: the `resource` of a request (RFC 8707), which becomes the `aud` of the token.
//!
//! Invariant: what is compared may differ in the case of scheme and host, a default port and one trailing slash; what
//! is minted is always the canonical form.

use tollgate_proto::{Name, Scope};
use url::Url;

use crate::app::Urls;

/// An endpoint of the data planes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// Everything that the agent may use.
    Federated,
    /// One server.
    Server(Name),
    /// One toolset.
    Toolset(Name),
}

/// RFC 8707 section 2: `invalid_target`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// A token is for one endpoint.
    #[error("a token is for one resource: send `resource` once")]
    Several,
    /// Not a URL, or one with a fragment.
    #[error("`resource` must be an absolute URL without a fragment")]
    Malformed,
    /// No endpoint of this tenant.
    #[error("`resource` is no endpoint of this tenant")]
    Unknown,
}

impl Target {
    /// Reads the `resource` parameters of a request; none means the federated endpoint.
    pub(super) fn read(resources: &[String], urls: &Urls, tenant: &Name) -> Result<Self, TargetError> {
        match resources {
            [] => Ok(Self::Federated),
            [resource] => Self::parse(resource, urls, tenant),
            _ => Err(TargetError::Several),
        }
    }

    /// Reads one `resource`.
    pub(super) fn parse(resource: &str, urls: &Urls, tenant: &Name) -> Result<Self, TargetError> {
        let resource = Url::parse(resource).map_err(|_| TargetError::Malformed)?;
        if resource.fragment().is_some() || resource.cannot_be_a_base() {
            return Err(TargetError::Malformed);
        }
        let below = |base: String| {
            let base = Url::parse(&base).ok()?;
            comparable(&resource).strip_prefix(comparable(&base)).map(str::to_owned)
        };
        let name = |text: &str| text.parse().map_err(|_| TargetError::Unknown);
        let federated = below(urls.federated(tenant.as_str()));
        let toolset = below(urls.toolset(tenant.as_str(), ""));
        match (federated.as_deref(), toolset.as_deref()) {
            (Some(""), _) => Ok(Self::Federated),
            (Some(rest), _) => name(rest.strip_prefix('/').ok_or(TargetError::Unknown)?).map(Self::Server),
            (None, Some(rest)) => name(rest.strip_prefix('/').ok_or(TargetError::Unknown)?).map(Self::Toolset),
            (None, None) => Err(TargetError::Unknown),
        }
    }

    /// The server whose existence decides about the target.
    pub(super) const fn server(&self) -> Option<&Name> {
        match self {
            Self::Server(server) => Some(server),
            Self::Federated | Self::Toolset(_) => None,
        }
    }

    /// The toolset whose existence decides about the target.
    pub(super) const fn toolset(&self) -> Option<&Name> {
        match self {
            Self::Toolset(toolset) => Some(toolset),
            Self::Federated | Self::Server(_) => None,
        }
    }

    /// The scope of everything there; none where that is whatever there is.
    pub(super) fn whole(&self) -> Option<Scope> {
        match self {
            Self::Federated => None,
            Self::Server(server) => Some(Scope::Server { server: server.clone() }),
            Self::Toolset(name) => Some(Scope::Toolset { name: name.clone() }),
        }
    }

    /// The `aud` of a token for it.
    pub(super) fn url(&self, urls: &Urls, tenant: &Name) -> String {
        match self {
            Self::Federated => urls.federated(tenant.as_str()),
            Self::Server(server) => urls.server(tenant.as_str(), server.as_str()),
            Self::Toolset(toolset) => urls.toolset(tenant.as_str(), toolset.as_str()),
        }
    }
}

/// `Url` has folded the case of scheme and host and dropped a default port; one slash at the end is forgiven.
fn comparable(url: &Url) -> &str {
    let text = url.as_str();
    text.strip_suffix('/').unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(resource: &str) -> Result<Target, TargetError> {
        let urls = Urls { control: "https://h".to_owned(), data: "https://gw.example".to_owned() };
        Target::parse(resource, &urls, &"acme".parse().expect("a name"))
    }

    #[test]
    fn the_federated_endpoint_is_found_in_every_equal_spelling() {
        for resource in [
            "https://gw.example/t/acme/mcp",
            "https://gw.example/t/acme/mcp/",
            "HTTPS://GW.Example/t/acme/mcp",
            "https://gw.example:443/t/acme/mcp",
        ] {
            assert_eq!(parse(resource), Ok(Target::Federated), "{resource}");
        }
    }

    #[test]
    fn a_servers_endpoint_names_the_server() {
        let github = Ok(Target::Server("github".parse().expect("a name")));
        assert_eq!(parse("https://gw.example/t/acme/mcp/github"), github);
        assert_eq!(parse("https://GW.example:443/t/acme/mcp/github/"), github);
    }

    #[test]
    fn a_toolsets_endpoint_names_the_toolset() {
        let triage = Ok(Target::Toolset("triage".parse().expect("a name")));
        assert_eq!(parse("https://gw.example/t/acme/toolsets/triage"), triage);
        assert_eq!(parse("https://GW.example:443/t/acme/toolsets/triage/"), triage);
    }

    #[test]
    fn everything_else_is_no_target() {
        for resource in [
            "http://gw.example/t/acme/mcp",
            "https://gw.example:8443/t/acme/mcp",
            "https://gw.example.evil/t/acme/mcp",
            "https://user@gw.example/t/acme/mcp",
            "https://gw.example/t/other/mcp",
            "https://gw.example/t/acme/mcp//",
            "https://gw.example/t/acme/mcpx",
            "https://gw.example/t/acme/mcp?x",
            "https://gw.example/t/acme/MCP",
            "https://gw.example/t/acme/mcp/a/b",
            "https://gw.example/t/acme/mcp/A_b",
            "https://gw.example/t/acme/toolsets",
            "https://gw.example/t/acme/toolsets/",
            "https://gw.example/t/acme/toolsets//",
            "https://gw.example/t/acme/toolsetsx",
            "https://gw.example/t/acme/toolsets/A_b",
            "https://gw.example/t/acme/toolsets/a/mcp",
            "https://gw.example/t/other/toolsets/triage",
        ] {
            assert_eq!(parse(resource), Err(TargetError::Unknown), "{resource}");
        }
        for resource in ["", "mcp", "/t/acme/mcp", "https://gw.example/t/acme/mcp#x", "urn:x:y"] {
            assert_eq!(parse(resource), Err(TargetError::Malformed), "{resource}");
        }
    }
}
