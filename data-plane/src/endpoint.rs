//! The URLs that agents use: each is a protected resource of its own (RFC 9728).

use tollgate_proto::Name;

const METADATA_PREFIX: &str = "/.well-known/oauth-protected-resource";

/// One MCP endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The tenant that the URL names.
    pub tenant: Name,
    /// The one server that it leads to; `None`: everything that the agent may use.
    pub server: Option<Name>,
}

/// What a path asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Path {
    /// An MCP endpoint.
    Mcp(Endpoint),
    /// The RFC 9728 document of an MCP endpoint.
    Metadata(Endpoint),
}

impl Path {
    /// Reads a request's path; `None` for one that is not ours.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        match path.strip_prefix(METADATA_PREFIX) {
            Some(resource) => endpoint(resource).map(Self::Metadata),
            None => endpoint(path).map(Self::Mcp),
        }
    }
}

/// `/t/{tenant}/mcp` or `/t/{tenant}/mcp/{server}`.
fn endpoint(path: &str) -> Option<Endpoint> {
    let mut segments = path.strip_prefix("/t/")?.split('/');
    let tenant = segments.next()?.parse().ok()?;
    if segments.next()? != "mcp" {
        return None;
    }
    let server = segments.next().map(str::parse).transpose().ok()?;
    segments.next().is_none().then_some(Endpoint { tenant, server })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(tenant: &str, server: Option<&str>) -> Endpoint {
        let name = |text: &str| text.parse().expect("a name");
        Endpoint { tenant: name(tenant), server: server.map(name) }
    }

    #[test]
    fn both_kinds_of_endpoint_and_their_documents_are_found() {
        assert_eq!(Path::parse("/t/acme/mcp"), Some(Path::Mcp(named("acme", None))));
        assert_eq!(Path::parse("/t/acme/mcp/github"), Some(Path::Mcp(named("acme", Some("github")))));
        assert_eq!(
            Path::parse("/.well-known/oauth-protected-resource/t/acme/mcp"),
            Some(Path::Metadata(named("acme", None)))
        );
    }

    #[test]
    fn any_other_path_is_not_ours() {
        for path in [
            "/",
            "/t/acme",
            "/t/acme/mcp/",
            "/t/acme/mcp/a/b",
            "/t//mcp",
            "/t/acme/mcp/A",
            "/mcp",
            "/.well-known/oauth-protected-resource",
        ] {
            assert_eq!(Path::parse(path), None, "{path}");
        }
    }
}
