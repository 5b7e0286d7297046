//! What a refusal is to machines: status, code and reason, the error's `data`, and headers.
//!
//! Invariant: every match over reasons is exhaustive where forgetting one would be an answer without a status.

use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde_json::{Map, Value, json};

use super::{Refusal, TokenFault, Unit};
use crate::mcp::{
    era::EraError,
    version::{ProtocolVersion, supported},
};

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

/// The control plane may be back at any time, and is in a while at the latest.
const STALE_RETRY_AFTER_S: u32 = 5;

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
            Self::Loop => facts("loop_detected", S::LOOP_DETECTED, 50800),
            Self::Era(error) => facts(era_reason(error), error.http_status(), error.code()),
            Self::NotReady => facts("not_ready", S::SERVICE_UNAVAILABLE, 50300),
            Self::PolicyStale(_) => facts("policy_stale", S::SERVICE_UNAVAILABLE, 50300),
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
            Self::NetworkNotAllowed { .. } => facts("network_not_allowed", S::FORBIDDEN, 40300),
            Self::ArgumentNotAllowed { .. } => facts("argument_not_allowed", S::FORBIDDEN, 40300),
            Self::HeldToExactTools { .. } => facts("held_to_exact_tools", S::FORBIDDEN, 40300),
            Self::ToolBlocked { .. } => facts("tool_blocked", S::FORBIDDEN, 40300),
            Self::ToolNotApproved { .. } => facts("tool_not_approved", S::FORBIDDEN, 40300),
            Self::LimitReached { what, .. } => {
                let reason = match what.unit() {
                    Unit::Requests => "rate_limited_requests",
                    Unit::Tokens => "rate_limited_tokens",
                    Unit::Places => "concurrency_limited",
                };
                facts(reason, S::TOO_MANY_REQUESTS, 42900)
            }
            Self::BudgetExhausted(_) => facts("budget_exhausted", S::TOO_MANY_REQUESTS, 42900),
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
            Self::NetworkNotAllowed { grant, .. } => json!({ "grant": grant }),
            Self::HeldToExactTools { scope, grant, .. } => json!({ "grant": grant, "required_scope": scope }),
            Self::ArgumentNotAllowed { grant, pointer, .. } => json!({ "grant": grant, "pointer": pointer }),
            Self::PolicyStale(stale) => json!({
                "policy_age_s": stale.age.map(|age| age.as_secs()),
                "refused": if stale.is_expired { "everything" } else { "destructive" },
            }),
            Self::LimitReached { on, what, remaining, violated, retry_after_s, .. } => json!({
                "scope": on.as_str(),
                "violated_policies": violated,
                "limit": what.limit(),
                "remaining": remaining,
                "window_s": what.window_s(),
                "retry_after_s": retry_after_s,
            }),
            Self::BudgetExhausted(overspent) => overspent.data(),
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
            Self::LimitReached { retry_after_s, .. } => {
                headers.insert(RETRY_AFTER, HeaderValue::from(*retry_after_s));
            }
            Self::PolicyStale(_) => {
                headers.insert(RETRY_AFTER, HeaderValue::from(STALE_RETRY_AFTER_S));
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
