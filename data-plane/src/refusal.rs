//! Every reason to turn a call away, and what the agent is told: HTTP status, JSON-RPC code, stable reason, a
//! sentence that says what to do.
//!
//! Invariant: the match in [`Refusal::facts`] is exhaustive, and `docs/reasons.md` has a row for each reason (a test
//! compares them). Nothing about another tenant, an address behind the gateway or a secret is ever said.

use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde_json::{Map, Value, json};
use tollgate_proto::Scope;

use crate::{
    mcp::{
        era::EraError,
        version::{ProtocolVersion, supported},
    },
    store::StoreError,
};

/// Why a call is turned away. The texts are for agents and the people who run them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The body is no JSON-RPC message that MCP allows.
    #[error("the request is malformed: {detail}")]
    Malformed {
        /// -32700 or -32600.
        code: i64,
        /// What is wrong, and where.
        detail: String,
    },
    /// The body is larger than this data plane reads.
    #[error("the request body is larger than {bytes_max} bytes")]
    TooLarge {
        /// The bound.
        bytes_max: usize,
    },
    /// The body did not arrive in time.
    #[error("the request body did not arrive in time: send it without pauses")]
    BodyTimeout,
    /// Not `application/json`, or encoded.
    #[error("the body must be `application/json` without a content encoding")]
    MediaType,
    /// The answer's media types are not acceptable to the caller.
    #[error("the `Accept` header must allow both `application/json` and `text/event-stream`")]
    NotAcceptable,
    /// A stream is asked for by somebody who cannot read one.
    #[error("the `Accept` header must allow `text/event-stream`")]
    EventsNotAcceptable,
    /// Two `Authorization` headers, or a token in the body too: nobody can tell which one counts.
    #[error("send one token, in one `Authorization` header")]
    AuthorizationRepeated,
    /// A method of HTTP that this endpoint does not serve.
    #[error("this endpoint serves POST, GET for the stream of a session, and DELETE to end one")]
    HttpMethod,
    /// Nothing is said here without being asked.
    #[error("no event stream is offered here: what belongs to a call comes with its answer")]
    StreamNotOffered,
    /// A browser page of another origin asks.
    #[error("requests from this origin are not allowed")]
    Origin,
    /// The message breaks a rule of its era.
    #[error(transparent)]
    Era(#[from] EraError),
    /// No policy has arrived yet.
    #[error("this data plane has no policy yet: try again in a moment")]
    NotReady,
    /// The URL names no tenant.
    #[error("there is no such tenant")]
    TenantUnknown,
    /// The caller is not identified.
    #[error("{fault}")]
    Unauthenticated {
        /// What is wrong with the token.
        fault: TokenFault,
        /// What to tell the client about getting one.
        challenge: Box<Challenge>,
    },
    /// A token that only the control plane can tell, and it cannot be asked.
    #[error("this token cannot be checked at the moment: try again shortly")]
    IntrospectionUnavailable,
    /// So many tokens that are none came from one address that no new one is looked at.
    #[error("too many tokens from this address were not valid: try again in a moment")]
    TooManyStrangers,
    /// The URL names no server of the tenant.
    #[error("there is no such server in this tenant")]
    ServerUnknown,
    /// The URL names no toolset of the tenant.
    #[error("there is no such toolset in this tenant")]
    ToolsetUnknown,
    /// The name leads to no tool.
    #[error("there is no tool `{tool}` here: call `tools/list` for the names that are")]
    ToolUnknown {
        /// As it was asked for.
        tool: String,
    },
    /// The id leads to no task that this caller made here.
    #[error("there is no such task: ids of tasks are of use to who made them, where they made them")]
    TaskUnknown,
    /// The name leads to no prompt.
    #[error("there is no prompt `{prompt}` here: call `prompts/list` for the names that are")]
    PromptUnknown {
        /// As it was asked for.
        prompt: String,
    },
    /// The URI leads to no resource.
    #[error(
        "there is no resource `{uri}` here: call `resources/list` or `resources/templates/list` for those that are"
    )]
    ResourceUnknown {
        /// As it was asked for.
        uri: String,
        /// -32002 in the legacy era, -32602 in the modern one.
        code: i64,
    },
    /// The cursor is not one that this caller was given for this list, or the list has changed under it.
    #[error("the cursor is not valid (any more): ask for the list from its start")]
    CursorUnknown,
    /// Granted, but the token was issued for less.
    #[error("the token does not carry the scope `{scope}`, which is granted: get a token with it")]
    ScopeInsufficient {
        /// What is missing.
        scope: Scope,
        /// What to tell the client about getting it.
        challenge: Box<Challenge>,
    },
    /// Not granted.
    #[error("agent `{agent}` has no grant for `{scope}`: an administrator can grant it")]
    NotGranted {
        /// Who asked.
        agent: String,
        /// What is missing.
        scope: Scope,
        /// What to tell the client.
        challenge: Box<Challenge>,
    },
    /// A limit on requests is used up.
    #[error(
        "rate limit `{limit}` of agent `{agent}` is reached: {requests} requests in {window_s} s. Retry in {retry_after_s} s"
    )]
    RateLimited {
        /// Who asked.
        agent: String,
        /// The limit's name.
        limit: String,
        /// How many it allows.
        requests: u32,
        /// In how long.
        window_s: u32,
        /// When this request would pass.
        retry_after_s: u32,
    },
    /// A legacy request that needs a session came without one.
    #[error("this request needs the `Mcp-Session-Id` that `initialize` answered with")]
    SessionRequired,
    /// The session ended, or belongs to somebody else.
    #[error("there is no such session: initialize again")]
    SessionUnknown,
    /// No instance can be reached.
    #[error("server `{server}` cannot be reached")]
    UpstreamUnavailable {
        /// The server.
        server: String,
    },
    /// An instance did not answer in time.
    #[error("server `{server}` did not answer within {timeout_s} s")]
    UpstreamTimeout {
        /// The server.
        server: String,
        /// How long was waited.
        timeout_s: u64,
    },
    /// What an instance answered is no MCP.
    #[error("server `{server}` sent no valid answer: {detail}")]
    UpstreamInvalid {
        /// The server.
        server: String,
        /// What is wrong with it.
        detail: String,
    },
    /// What a retry brought back is no state of this call, or was brought before.
    #[error("the `requestState` is not known, not of this call, or was used: send the request again without it")]
    StateUnknown,
    /// The user did not do what the server needs.
    #[error("server `{server}` needs something of the user that was declined")]
    InputDeclined {
        /// The server.
        server: String,
    },
    /// A call that waited for answers is nobody's any more. It may have taken effect.
    #[error("the call to server `{server}` was lost while it waited: start again")]
    CallLost {
        /// The server.
        server: String,
    },
    /// Tollgate has nothing that a server accepts: no token could be had, or the server refuses what it is presented with.
    #[error("Tollgate cannot authenticate to server `{server}`: {detail}")]
    UpstreamCredential {
        /// The server.
        server: String,
        /// What went wrong, without a word of what others said.
        detail: &'static str,
    },
    /// The agent cancelled its own request.
    #[error("the request was cancelled")]
    Cancelled,
    /// Sessions and counters cannot be reached.
    #[error("sessions and limits cannot be reached: try again in a moment")]
    StoreUnavailable,
    /// The call could not be written down, so it is not made.
    #[error("this data plane cannot record another call: try again later")]
    Overloaded,
}

/// What is wrong with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// None was presented.
    #[error("a bearer token is needed")]
    Missing,
    /// Not a token of this tenant.
    #[error("the token is not valid")]
    Invalid,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// It, its approval, its key, its agent or its user was revoked, suspended or removed.
    #[error("the token has been revoked")]
    Revoked,
    /// Issued for another endpoint.
    #[error("the token was issued for another resource")]
    Audience,
}

/// What a `WWW-Authenticate` header says beside the error (RFC 9728 section 5.1, RFC 6750 section 3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// URL of the RFC 9728 document.
    pub resource_metadata: String,
    /// The scope that would do, where the client may ask for it.
    pub scope: Option<Scope>,
}

/// The parts of an answer that do not depend on the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Stable code, as documents and records have it.
    pub reason: &'static str,
    /// HTTP status.
    pub status: StatusCode,
    /// JSON-RPC error code: the specification's where it has one, else the HTTP status times 100.
    pub code: i64,
}

const fn facts(reason: &'static str, status: StatusCode, code: i64) -> Facts {
    Facts { reason, status, code }
}

impl Refusal {
    /// Reason, status and code.
    #[must_use]
    pub fn facts(&self) -> Facts {
        use StatusCode as S;
        match self {
            Self::Malformed { code, .. } => facts("request_malformed", S::BAD_REQUEST, *code),
            Self::TooLarge { .. } => facts("request_too_large", S::PAYLOAD_TOO_LARGE, 41300),
            Self::BodyTimeout => facts("request_timeout", S::REQUEST_TIMEOUT, 40800),
            Self::MediaType => facts("media_type_unsupported", S::UNSUPPORTED_MEDIA_TYPE, 41500),
            Self::NotAcceptable | Self::EventsNotAcceptable => facts("not_acceptable", S::NOT_ACCEPTABLE, 40600),
            Self::AuthorizationRepeated => facts("request_malformed", S::BAD_REQUEST, -32600),
            Self::HttpMethod => facts("http_method_not_allowed", S::METHOD_NOT_ALLOWED, 40500),
            Self::StreamNotOffered => facts("stream_not_offered", S::METHOD_NOT_ALLOWED, 40500),
            Self::Origin => facts("origin_forbidden", S::FORBIDDEN, 40300),
            Self::Era(error) => facts(era_reason(error), error.http_status(), error.code()),
            Self::NotReady => facts("not_ready", S::SERVICE_UNAVAILABLE, 50300),
            Self::TenantUnknown => facts("tenant_unknown", S::NOT_FOUND, 40400),
            Self::Unauthenticated { fault, .. } => facts(fault.reason(), S::UNAUTHORIZED, 40100),
            Self::ServerUnknown => facts("server_unknown", S::NOT_FOUND, 40400),
            Self::ToolsetUnknown => facts("toolset_unknown", S::NOT_FOUND, 40400),
            // The status that servers use for their own unknown tools, so that a model reads the message.
            Self::ToolUnknown { .. } => facts("tool_unknown", S::OK, -32602),
            Self::TaskUnknown => facts("task_unknown", S::OK, -32602),
            Self::PromptUnknown { .. } => facts("prompt_unknown", S::OK, -32602),
            Self::ResourceUnknown { code, .. } => facts("resource_unknown", S::OK, *code),
            Self::CursorUnknown => facts("cursor_unknown", S::OK, -32602),
            Self::ScopeInsufficient { .. } => facts("scope_insufficient", S::FORBIDDEN, 40300),
            Self::NotGranted { .. } => facts("tool_not_granted", S::FORBIDDEN, 40300),
            Self::RateLimited { .. } => facts("rate_limited_requests", S::TOO_MANY_REQUESTS, 42900),
            Self::SessionRequired => facts("session_required", S::BAD_REQUEST, 40000),
            Self::SessionUnknown => facts("session_unknown", S::NOT_FOUND, 40400),
            Self::UpstreamUnavailable { .. } => facts("upstream_unavailable", S::BAD_GATEWAY, 50200),
            Self::UpstreamTimeout { .. } => facts("upstream_timeout", S::GATEWAY_TIMEOUT, 50400),
            Self::UpstreamInvalid { .. } => facts("upstream_invalid", S::BAD_GATEWAY, 50200),
            Self::StateUnknown => facts("request_state_unknown", S::OK, -32602),
            Self::InputDeclined { .. } => facts("input_declined", S::OK, 40300),
            Self::CallLost { .. } => facts("call_lost", S::OK, -32603),
            Self::Cancelled => facts("cancelled", S::OK, 49900),
            Self::UpstreamCredential { .. } => facts("upstream_credential", S::BAD_GATEWAY, 50200),
            Self::StoreUnavailable => facts("store_unavailable", S::SERVICE_UNAVAILABLE, 50300),
            Self::Overloaded | Self::TooManyStrangers => facts("overloaded", S::SERVICE_UNAVAILABLE, 50300),
            Self::IntrospectionUnavailable => facts("introspection_unavailable", S::SERVICE_UNAVAILABLE, 50300),
        }
    }

    /// What the error's `data` holds beside reason and call id.
    #[must_use]
    pub fn data(&self) -> Map<String, Value> {
        let data = match self {
            Self::Era(EraError::MissingExtension(id)) => {
                json!({ "requiredCapabilities": { "extensions": { *id: {} } } })
            }
            Self::Era(EraError::UnsupportedVersion { requested }) => {
                let supported: Vec<_> = supported().map(ProtocolVersion::as_str).collect();
                json!({ "requested": requested, "supported": supported })
            }
            Self::ScopeInsufficient { scope, .. } | Self::NotGranted { scope, .. } => {
                json!({ "required_scope": scope })
            }
            Self::RateLimited { limit, requests, window_s, retry_after_s, .. } => json!({
                "scope": "agent",
                "violated_policies": [limit],
                "limit": requests,
                "remaining": 0,
                "window_s": window_s,
                "retry_after_s": retry_after_s,
            }),
            _ => Value::Null,
        };
        if let Value::Object(data) = data { data } else { Map::new() }
    }

    /// Headers that go with the status.
    #[must_use]
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        match self {
            Self::Unauthenticated { fault, challenge } => {
                let error = (*fault != TokenFault::Missing).then_some(("invalid_token", "the token is not valid here"));
                headers.insert(WWW_AUTHENTICATE, challenge.header(error));
            }
            Self::ScopeInsufficient { challenge, .. } | Self::NotGranted { challenge, .. } => {
                let description = self.to_string();
                headers.insert(WWW_AUTHENTICATE, challenge.header(Some(("insufficient_scope", &description))));
            }
            Self::RateLimited { retry_after_s, .. } => {
                headers.insert(RETRY_AFTER, HeaderValue::from(*retry_after_s));
            }
            Self::NotReady
            | Self::StoreUnavailable
            | Self::Overloaded
            | Self::TooManyStrangers
            | Self::IntrospectionUnavailable => {
                headers.insert(RETRY_AFTER, HeaderValue::from(1));
            }
            // RFC 6750 section 3.1: more than one method of sending a token.
            Self::AuthorizationRepeated => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"invalid_request\""));
            }
            Self::HttpMethod => {
                headers.insert(ALLOW, HeaderValue::from_static("POST, GET, DELETE"));
            }
            Self::StreamNotOffered | Self::Era(EraError::VerbNotAllowed) => {
                headers.insert(ALLOW, HeaderValue::from_static("POST, DELETE"));
            }
            _ => {}
        }
        headers
    }

    /// Whether a server had been asked: then the call is not "refused", it failed.
    #[must_use]
    pub const fn is_upstream(&self) -> bool {
        matches!(
            self,
            Self::UpstreamUnavailable { .. }
                | Self::UpstreamTimeout { .. }
                | Self::UpstreamInvalid { .. }
                | Self::CallLost { .. }
                | Self::UpstreamCredential { .. }
        )
    }
}

/// A message that no revision allows is malformed, however it was found out.
fn era_reason(error: &EraError) -> &'static str {
    match error {
        EraError::Batch | EraError::UnexpectedResponse | EraError::RequestWithoutId => "request_malformed",
        _ => error.reason(),
    }
}

impl From<StoreError> for Refusal {
    /// What the store said is for the log; the agent is told to come back.
    fn from(error: StoreError) -> Self {
        tracing::warn!(%error, "the store did not answer");
        Self::StoreUnavailable
    }
}

impl TokenFault {
    const fn reason(self) -> &'static str {
        match self {
            Self::Missing => "token_missing",
            Self::Invalid => "token_invalid",
            Self::Expired => "token_expired",
            Self::Revoked => "token_revoked",
            Self::Audience => "audience_mismatch",
        }
    }
}

impl Challenge {
    /// The header's value. `error` is absent where no token was presented (RFC 6750 section 3.1).
    fn header(&self, error: Option<(&str, &str)>) -> HeaderValue {
        let mut parameters = Vec::new();
        if let Some((error, description)) = error {
            parameters.push(format!("error=\"{error}\""));
            parameters.push(format!("error_description=\"{}\"", quotable(description)));
        }
        if let Some(scope) = &self.scope {
            parameters.push(format!("scope=\"{scope}\""));
        }
        parameters.push(format!("resource_metadata=\"{}\"", quotable(&self.resource_metadata)));
        let header = format!("Bearer {}", parameters.join(", "));
        // Scopes and `quotable` texts are visible ASCII.
        HeaderValue::try_from(header).unwrap_or_else(|_| HeaderValue::from_static("Bearer"))
    }
}

/// What may stand between quotes without escaping (RFC 6750 section 3), the rest as an apostrophe or question mark.
fn quotable(text: &str) -> String {
    text.chars()
        .map(|char| match char {
            '`' | '"' => '\'',
            ' '..='~' if char != '\\' => char,
            _ => '?',
        })
        .collect()
}

#[cfg(test)]
mod tests;
