//! Which HTTP headers of a request to a server are for its registration to choose, and which are Tollgate's alone.
//!
//! Invariant: no choice of an administrator changes how a request is framed, routed, traced or read as MCP, nor lets an
//! agent's own token through.

/// Headers that Tollgate alone sets, or that belong to one connection (RFC 9110 section 7.6.1).
const RESERVED: [&str; 24] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "baggage",
    "connection",
    "cookie",
    "cookie2",
    "dpop",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "last-event-id",
    "origin",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "set-cookie",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// What the names of whole families of such headers begin with.
const RESERVED_PREFIXES: [&str; 3] = ["content-", "mcp-", "tollgate-"];

/// Whether a header of this name, in lower case, may be part of a server's credential.
#[must_use]
pub fn may_be_presented(name: &str) -> bool {
    !RESERVED.contains(&name) && !RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether an agent's header of this name, in lower case, may be passed on to a server.
#[must_use]
pub fn may_be_passed(name: &str) -> bool {
    name != "authorization" && may_be_presented(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_frames_or_routes_a_request_is_nobodys_to_choose() {
        for name in ["host", "connection", "transfer-encoding", "content-length", "mcp-session-id", "tollgate-call-id"]
        {
            assert!(!may_be_presented(name) && !may_be_passed(name), "{name}");
        }
    }

    #[test]
    fn an_agents_authorization_and_cookies_are_never_passed_on() {
        assert!(may_be_presented("authorization") && !may_be_passed("authorization"));
        assert!(!may_be_presented("cookie") && !may_be_passed("cookie"));
        assert!(may_be_presented("x-api-key") && may_be_passed("x-request-id"));
    }
}
