//! What an answer means: the tool's result, the tool's failure, or a refusal by the gateway.

use serde_json::Value;

use super::{Reply, Target};
use crate::{
    failure::{Exit, Failure},
    terminal,
};

/// The server needs something of its client that this command does not have (MCP 2026-07-28).
const MISSING_CLIENT_CAPABILITY: i64 = -32021;
/// Where in a result's `_meta` the gateway says that it is its own, not the tool's (`deny_as: tool_error`).
const REFUSAL: &str = "io.tollgate/refusal";

/// How a call ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The tool answered; its result may still say that it failed.
    Result(Value),
    /// The call was let through, and the server answered with an error or a question.
    ToolFailed(Failure),
    /// The gateway turned it away.
    Refused { reason: String, failure: Failure },
}

/// Judges an answer.
pub(super) fn judge(reply: &Reply, target: &Target) -> Outcome {
    let error = &reply.message["error"];
    let result = &reply.message["result"];
    if let Some(reason) = error["data"]["reason"].as_str().or_else(|| result["_meta"][REFUSAL]["reason"].as_str()) {
        return Outcome::Refused { reason: terminal::line(reason), failure: refusal(reply, reason, target) };
    }
    if result["resultType"] == "input_required" || error["code"] == MISSING_CLIENT_CAPABILITY {
        let failure = Failure::new(format!("{target} asks its user a question, which this command cannot put"));
        return Outcome::ToolFailed(failure.cure("call it from an MCP client with elicitation"));
    }
    if result.is_object() {
        return Outcome::Result(result.clone());
    }
    if error.is_object() {
        let message = terminal::line(error["message"].as_str().unwrap_or("no message"));
        return Outcome::ToolFailed(Failure::new(format!("{target} failed: {message} ({})", error["code"])));
    }
    let failure = Failure::new(format!("{target} gave no answer (HTTP {})", reply.status)).exit(exit_of_status(reply));
    Outcome::Refused { reason: reply.status.as_str().to_owned(), failure }
}

fn refusal(reply: &Reply, reason: &str, target: &Target) -> Failure {
    let told = [&reply.message["error"]["message"], &reply.message["result"]["content"][0]["text"]];
    let message = terminal::line(told.into_iter().find_map(Value::as_str).unwrap_or(reason));
    let failure = Failure::new(format!("{target} was refused: {message}")).exit(exit_of(reason));
    match cure(reply, reason, target) {
        Some(cure) => failure.cure(cure),
        None => failure,
    }
}

fn exit_of(reason: &str) -> Exit {
    match reason {
        "server_unknown" | "tool_unknown" => Exit::NotFound,
        "upstream_unavailable" | "upstream_timeout" | "store_unavailable" | "policy_stale" | "overloaded" => {
            Exit::Unavailable
        }
        "request_malformed" | "request_too_large" | "header_mismatch" | "session_unknown" | "upstream_invalid" => {
            Exit::Error
        }
        _ => Exit::Auth,
    }
}

fn exit_of_status(reply: &Reply) -> Exit {
    match reply.status.as_u16() {
        401 | 403 => Exit::Auth,
        404 => Exit::NotFound,
        429 | 502..=504 => Exit::Unavailable,
        _ => Exit::Error,
    }
}

fn cure(reply: &Reply, reason: &str, target: &Target) -> Option<String> {
    let missing = || {
        let told = reply.challenge.as_deref().and_then(|challenge| parameter(challenge, "scope"));
        told.unwrap_or_else(|| format!("{}:{}", target.server, target.tool))
    };
    Some(match reason {
        "tool_not_granted" | "scope_insufficient" => {
            format!("grant the agent the scope \"{}\" (kind Grant, `tollgate apply --help`)", missing())
        }
        "server_unknown" => "see what there is with `tollgate get servers`".to_owned(),
        "tool_unknown" => format!("check the tool's name: server {} does not offer it", target.server),
        _ if reply.retry_after.is_some() => {
            format!("try again in {} s", reply.retry_after.as_deref().unwrap_or_default())
        }
        "upstream_unavailable" | "upstream_timeout" => {
            format!("check that the server runs: `tollgate get server {}` shows its instances", target.server)
        }
        "audience_mismatch" | "token_invalid" => "run `tollgate doctor`: the planes may disagree on URLs".to_owned(),
        _ => return None,
    })
}

/// A quoted parameter of a challenge (RFC 9110 section 11.6.1).
fn parameter(challenge: &str, name: &str) -> Option<String> {
    let start = challenge.match_indices(&format!("{name}=\"")).find_map(|(index, found)| {
        let before = challenge[..index].chars().next_back();
        matches!(before, Some(' ' | ',')).then_some(index + found.len())
    })?;
    let rest = &challenge[start..];
    Some(rest[..rest.find('"')?].to_owned())
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;
    use serde_json::json;

    use super::*;
    use crate::terminal::tests::{HOSTILE, SHOWN};

    fn reply(status: u16, message: Value) -> Reply {
        let challenge =
            r#"Bearer error="insufficient_scope", scope="demo:reset_counter", resource_metadata="http://x/""#;
        Reply {
            status: StatusCode::from_u16(status).expect("a status"),
            call_id: Some("0199".to_owned()),
            challenge: (status == 403).then(|| challenge.to_owned()),
            retry_after: (status == 429).then(|| "7".to_owned()),
            message,
        }
    }

    fn target() -> Target {
        Target { server: "demo".to_owned(), tool: "reset_counter".to_owned() }
    }

    fn refused(status: u16, reason: &str) -> Failure {
        let message = json!({ "error": { "code": -1, "message": "no", "data": { "reason": reason } } });
        match judge(&reply(status, message), &target()) {
            Outcome::Refused { failure, .. } => failure,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_refusal_that_models_read_is_one() {
        let text = "limit `calm` is reached. Retry in 7 s";
        let data = json!({ REFUSAL: { "reason": "rate_limited_requests" } });
        let result = json!({ "content": [{ "type": "text", "text": text }], "isError": true, "_meta": data });
        let Outcome::Refused { reason, failure } = judge(&reply(200, json!({ "result": result })), &target()) else {
            panic!("a refusal")
        };
        assert_eq!((reason.as_str(), failure.code()), ("rate_limited_requests", Exit::Auth));
        assert!(failure.to_string().contains(text), "{failure}");
    }

    #[test]
    fn a_refusal_by_policy_and_an_outage_have_different_exit_codes() {
        assert_eq!(refused(403, "tool_not_granted").code(), Exit::Auth);
        assert_eq!(refused(429, "rate_limited_requests").code(), Exit::Auth);
        assert_eq!(refused(404, "server_unknown").code(), Exit::NotFound);
        assert_eq!(refused(502, "upstream_unavailable").code(), Exit::Unavailable);
        assert_eq!(refused(400, "request_malformed").code(), Exit::Error);
    }

    #[test]
    fn what_a_refusal_says_stays_on_its_line() {
        let message = json!({ "error": { "code": -1, "message": HOSTILE, "data": { "reason": HOSTILE } } });
        let Outcome::Refused { reason, failure } = judge(&reply(403, message), &target()) else { panic!("a refusal") };
        assert_eq!(reason, SHOWN);
        assert_eq!(failure.to_string(), format!("demo/reset_counter was refused: {SHOWN}"));
    }

    #[test]
    fn the_missing_scope_is_the_one_of_the_challenge() {
        let mut refused = reply(403, Value::Null);
        assert!(
            cure(&refused, "tool_not_granted", &target()).is_some_and(|cure| cure.contains("\"demo:reset_counter\""))
        );
        refused.challenge = Some(r#"Bearer error_scope="x", scope="demo:a demo:b""#.to_owned());
        assert!(cure(&refused, "scope_insufficient", &target()).is_some_and(|cure| cure.contains("\"demo:a demo:b\"")));
    }

    #[test]
    fn a_wait_is_told_in_seconds() {
        let limited = reply(429, Value::Null);
        assert_eq!(cure(&limited, "rate_limited_requests", &target()).as_deref(), Some("try again in 7 s"));
    }

    #[test]
    fn an_error_of_the_server_is_no_refusal() {
        let message = json!({ "error": { "code": -32602, "message": HOSTILE } });
        let Outcome::ToolFailed(failure) = judge(&reply(200, message), &target()) else { panic!("the server's error") };
        assert_eq!(failure.to_string(), format!("demo/reset_counter failed: {SHOWN} (-32602)"));
        let result = json!({ "result": { "content": [], "isError": true } });
        assert!(matches!(judge(&reply(200, result), &target()), Outcome::Result(_)));
    }
}
