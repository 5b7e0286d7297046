//! What a server asks in the middle of a call, as `input_required` puts it, and the answers that a retry brings
//! (MCP 2026-07-28, basic/patterns/mrtr).
//!
//! Invariant: an agent is asked only what it declared, in this very request, that it can answer.

use serde::{Deserialize, Serialize};

use crate::{
    bridge::to_legacy::Capabilities,
    mcp::{
        json::{self, Object, Raw},
        message::{Request, RequestId},
        method::Method,
    },
};

/// What kind of answer a question takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// `elicitation/create`.
    Elicitation,
    /// `sampling/createMessage`.
    Sampling,
    /// `roots/list`.
    Roots,
}

/// A question that waits for its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Its key in `inputRequests`.
    pub key: Box<str>,
    /// The server's id of it; `None`: the server waits for no response, but for the call to be sent again.
    pub id: Option<RequestId>,
    /// What it takes.
    pub kind: Kind,
    /// `{method, params}`.
    pub request: Raw,
}

/// What a server's request is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// At once, with an empty result: it was a ping.
    Pong,
    /// By the agent, to whom this is put.
    Ask(Kind, Raw),
    /// At once, with the error "method not found": the agent cannot be asked this.
    Decline,
}

/// Whether a call of this method can wait for its agent's answers.
#[must_use]
pub const fn can_wait(method: Method) -> bool {
    matches!(method, Method::ToolsCall | Method::PromptsGet | Method::ResourcesRead)
}

/// The key of the question with this number in a round.
#[must_use]
pub fn key(index: usize) -> Box<str> {
    format!("r{}", index + 1).into()
}

/// A server's request, for an agent that declared `declared`.
#[must_use]
pub fn read(asked: &Request, declared: Capabilities) -> Heard {
    let text = |key: &str| asked.params.get(key).and_then(Raw::as_str);
    match &*asked.method {
        "ping" => Heard::Pong,
        "roots/list" if declared.roots => Heard::Ask(Kind::Roots, json::object(|it| it.text("method", "roots/list"))),
        "elicitation/create" => {
            let can = if text("mode").as_deref() == Some("url") { declared.url } else { declared.form };
            if can { Heard::Ask(Kind::Elicitation, elicitation(asked)) } else { Heard::Decline }
        }
        "sampling/createMessage" if declared.sampling => {
            let tools = asked.params.get("tools").is_some() || asked.params.get("toolChoice").is_some();
            if tools && !declared.sampling_tools {
                return Heard::Decline;
            }
            Heard::Ask(Kind::Sampling, sampling(asked, declared))
        }
        _ => Heard::Decline,
    }
}

/// The question that an entry of a legacy "URL elicitation required" error puts; `None` when it names no page.
#[must_use]
pub fn visit(page: &Raw) -> Option<Raw> {
    let members = page.object()?;
    let url = members.get("url").filter(|url| url.as_str().is_some())?;
    Some(json::object(|request| {
        request.text("method", "elicitation/create");
        request.object("params", |params| {
            params.text("mode", "url");
            if let Some(message) = members.get("message") {
                params.raw("message", message);
            }
            params.raw("url", url);
        });
    }))
}

/// The `input_required` result that puts these questions.
#[must_use]
pub fn input_required(pending: &[Pending], request_state: &str) -> Raw {
    json::object(|result| {
        result.text("resultType", "input_required");
        result.object("inputRequests", |requests| {
            pending.iter().for_each(|question| requests.raw(&question.key, &question.request));
        });
        result.text("requestState", request_state);
    })
}

/// The answer under `key` of a retry's `inputResponses`, where there is one of the right form. One that is none is as
/// good as missing: the agent is asked again.
#[must_use]
pub fn answer(responses: Option<&Object>, key: &str, kind: Kind) -> Option<Raw> {
    let answer = responses?.get(key)?;
    let members = answer.object()?;
    let whole = match kind {
        Kind::Elicitation => members.get("action").is_some_and(|action| action.as_str().is_some()),
        Kind::Sampling => members.get("role").is_some() && members.get("content").is_some(),
        Kind::Roots => members.get("roots").is_some_and(|roots| roots.kind() == json::Kind::Array),
    };
    whole.then(|| answer.clone())
}

/// Whether the user said yes.
#[must_use]
pub fn is_accepted(answer: &Raw) -> bool {
    answer.object().is_some_and(|answer| answer.get("action").and_then(Raw::as_str).as_deref() == Some("accept"))
}

fn elicitation(asked: &Request) -> Raw {
    put(asked, |key| matches!(key, "elicitationId"), asked.params.get("mode").is_none().then_some(("mode", "form")))
}

/// The members of the deprecated context are kept for agents that say they know it.
fn sampling(asked: &Request, declared: Capabilities) -> Raw {
    put(asked, |key| key == "includeContext" && !declared.sampling_context, None)
}

/// `{method, params}` without what belongs to the other era: tasks, and progress that has no way back.
fn put(asked: &Request, leaves_out: impl Fn(&str) -> bool, more: Option<(&str, &str)>) -> Raw {
    json::object(|request| {
        request.text("method", &asked.method);
        request.object("params", |params| {
            if let Some((key, text)) = more {
                params.text(key, text);
            }
            for (key, value) in asked.params.iter() {
                match key {
                    "task" => {}
                    "_meta" => {
                        let kept = asked.params.meta().into_iter().flat_map(Object::iter);
                        let kept: Vec<_> = kept.filter(|(key, _)| !is_legacy_meta(key)).collect();
                        if !kept.is_empty() {
                            params.object("_meta", |meta| kept.iter().for_each(|(key, value)| meta.raw(key, value)));
                        }
                    }
                    key if leaves_out(key) => {}
                    key => params.raw(key, value),
                }
            }
        });
    })
}

fn is_legacy_meta(key: &str) -> bool {
    matches!(key, "progressToken" | "io.modelcontextprotocol/related-task")
}
