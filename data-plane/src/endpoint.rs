//! The URLs that agents use: each is a protected resource of its own (RFC 9728).

use tollgate_proto::{Name, Scope};

const METADATA_PREFIX: &str = "/.well-known/oauth-protected-resource";
const SERVERS: &str = "mcp";
const TOOLSETS: &str = "toolsets";

/// One MCP endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The tenant that the URL names.
    pub tenant: Name,
    /// What of the tenant it leads to.
    pub target: Target,
}

/// What of a tenant an endpoint leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Everything that the agent may use: `/t/{tenant}/mcp`.
    All,
    /// One server: `/t/{tenant}/mcp/{server}`.
    Server(Name),
    /// The tools that a toolset selects: `/t/{tenant}/toolsets/{toolset}`.
    Toolset(Name),
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

impl Target {
    /// The path of its endpoint in this tenant.
    #[must_use]
    pub fn path(&self, tenant: &Name) -> String {
        match self.segments() {
            (kind, None) => format!("/t/{tenant}/{kind}"),
            (kind, Some(name)) => format!("/t/{tenant}/{kind}/{name}"),
        }
    }

    /// The path of the RFC 9728 document of its endpoint in this tenant.
    #[must_use]
    pub fn metadata_path(&self, tenant: &Name) -> String {
        format!("{METADATA_PREFIX}{}", self.path(tenant))
    }

    /// Whether `path` is that of its endpoint in this tenant, without writing it out.
    #[must_use]
    pub fn is_at(&self, tenant: &Name, path: &str) -> bool {
        let (kind, name) = self.segments();
        let rest = ["/t/", tenant.as_str(), "/", kind].into_iter().try_fold(path, |rest, part| rest.strip_prefix(part));
        match (rest, name) {
            (Some(rest), None) => rest.is_empty(),
            (Some(rest), Some(name)) => rest.strip_prefix('/') == Some(name.as_str()),
            (None, _) => false,
        }
    }

    /// The widest scope of what it leads to; none where that is not for strangers to know.
    #[must_use]
    pub fn scope(&self) -> Option<Scope> {
        match self {
            Self::All => None,
            Self::Server(name) => Some(Scope::Server { server: name.clone() }),
            Self::Toolset(name) => Some(Scope::Toolset { name: name.clone() }),
        }
    }

    /// What follows the tenant in a path.
    const fn segments(&self) -> (&'static str, Option<&Name>) {
        match self {
            Self::All => (SERVERS, None),
            Self::Server(name) => (SERVERS, Some(name)),
            Self::Toolset(name) => (TOOLSETS, Some(name)),
        }
    }
}

fn endpoint(path: &str) -> Option<Endpoint> {
    let mut segments = path.strip_prefix("/t/")?.split('/');
    let tenant = segments.next()?.parse().ok()?;
    let kind = segments.next()?;
    let name: Option<Name> = segments.next().map(str::parse).transpose().ok()?;
    let target = match (kind, name) {
        (SERVERS, None) => Target::All,
        (SERVERS, Some(name)) => Target::Server(name),
        (TOOLSETS, Some(name)) => Target::Toolset(name),
        _ => return None,
    };
    segments.next().is_none().then_some(Endpoint { tenant, target })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().expect("a name")
    }

    fn targets() -> [(Target, &'static str); 3] {
        [
            (Target::All, "/t/acme/mcp"),
            (Target::Server(name("github")), "/t/acme/mcp/github"),
            (Target::Toolset(name("triage")), "/t/acme/toolsets/triage"),
        ]
    }

    #[test]
    fn every_kind_of_endpoint_and_its_document_are_found_where_they_say_that_they_are() {
        for (target, path) in targets() {
            let endpoint = Endpoint { tenant: name("acme"), target: target.clone() };
            assert_eq!(Path::parse(path), Some(Path::Mcp(endpoint.clone())));
            assert_eq!(target.path(&name("acme")), path);
            assert_eq!(Path::parse(&target.metadata_path(&name("acme"))), Some(Path::Metadata(endpoint)));
        }
    }

    #[test]
    fn a_path_is_that_of_one_endpoint_alone() {
        for (target, own) in targets() {
            let others = ["", "/t/acme/mcp/", "/t/acme/mcp/git", "/t/acme/mcp/github/", "/t/acme/toolsets", "/t/acme"];
            for path in targets().map(|(_, path)| path).into_iter().chain(others) {
                assert_eq!(target.is_at(&name("acme"), path), path == own, "{target:?} at `{path}`");
            }
            assert!(!target.is_at(&name("other"), own));
        }
    }

    #[test]
    fn a_stranger_is_told_the_scope_of_what_the_url_names_and_of_nothing_else() {
        let scopes = targets().map(|(target, _)| target.scope().map(|scope| scope.to_string()));
        assert_eq!(scopes, [None, Some("github:*".to_owned()), Some("toolset/triage".to_owned())]);
    }

    #[test]
    fn any_other_path_is_not_ours() {
        for path in [
            "/",
            "/t/acme",
            "/t/acme/mcp/",
            "/t/acme/mcp/a/b",
            "/t/acme/toolsets",
            "/t/acme/toolsets/",
            "/t/acme/toolsets/a/b",
            "/t/acme/tools/a",
            "/t//mcp",
            "/t/acme/mcp/A",
            "/mcp",
            "/.well-known/oauth-protected-resource",
        ] {
            assert_eq!(Path::parse(path), None, "{path}");
        }
    }
}
