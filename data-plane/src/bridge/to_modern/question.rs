//! What an `input_required` result asks (MCP 2026-07-28, basic/patterns/mrtr), as requests to a legacy agent, and the
//! agent's responses as answers.
//!
//! Invariant: an agent is asked only what it declared; an answer that the modern era has no form for ends the call.

use bytes::Bytes;

use super::{
    Introduction,
    outcome::{INTERNAL_ERROR, error_of, incapable},
};
use crate::{
    bridge::to_legacy::{Capabilities, Kind},
    mcp::{
        json::{self, Object, Raw},
        message::{RequestId, write_request},
        method::Method,
        version::ProtocolVersion,
    },
};

/// What one round may ask.
pub const QUESTIONS_MAX: usize = 16;

/// What a server wants before it goes on.
#[derive(Debug, Clone)]
pub struct InputRequired {
    /// What it asks; none where it only wants to be asked again.
    pub questions: Vec<Question>,
    /// What it wants back, as it gave it.
    pub state: Option<Raw>,
}

/// One entry of `inputRequests`.
#[derive(Debug, Clone)]
pub struct Question {
    /// What the server knows the answer by.
    pub key: Box<str>,
    /// What kind of answer it takes.
    pub kind: Kind,
    params: Object,
}

/// Whether an answer to this method may ask something.
#[must_use]
pub const fn can_ask(method: Method) -> bool {
    matches!(method, Method::ToolsCall | Method::PromptsGet | Method::ResourcesRead)
}

/// Reads an `InputRequiredResult`.
///
/// # Errors
/// What is wrong with it.
pub fn read(result: &Object) -> Result<InputRequired, &'static str> {
    let asked = result.get("inputRequests").map(|asked| asked.object().ok_or("questions that are no object"));
    let asked = asked.transpose()?;
    let state = result.get("requestState").cloned();
    if asked.is_none() && state.is_none() {
        return Err("a result that needs input and asks nothing");
    }
    let asked = asked.unwrap_or_default();
    if asked.len() > QUESTIONS_MAX {
        return Err("more questions than one round may ask");
    }
    let questions = asked.iter().map(|(key, question)| Question::read(key, question)).collect::<Result<_, _>>()?;
    Ok(InputRequired { questions, state })
}

impl InputRequired {
    /// Whether the agent declared that it can answer all of it.
    ///
    /// # Errors
    /// What the call ends with otherwise.
    pub fn permitted(&self, method: Method, can: Capabilities) -> Result<(), Result<Raw, Raw>> {
        match self.questions.iter().find_map(|question| question.lacks(can)) {
            None => Ok(()),
            Some(needed) => Err(incapable(method, needed)),
        }
    }
}

impl Question {
    fn read(key: &str, question: &Raw) -> Result<Self, &'static str> {
        let members = question.object().ok_or("a question that is no object")?;
        let method = members.get("method").and_then(Raw::as_str).ok_or("a question without a method")?;
        let kind = match method.as_ref() {
            "elicitation/create" => Kind::Elicitation,
            "sampling/createMessage" => Kind::Sampling,
            "roots/list" => Kind::Roots,
            _ => return Err("a question that MCP does not know"),
        };
        let params = members.get("params").map(|params| params.object().ok_or("a question whose params are no object"));
        Ok(Self { key: key.into(), kind, params: params.transpose()?.unwrap_or_default() })
    }

    fn is_for_url(&self) -> bool {
        self.params.get("mode").and_then(Raw::as_str).as_deref() == Some("url")
    }

    /// What the agent would need for it and lacks.
    fn lacks(&self, can: Capabilities) -> Option<&'static str> {
        let tools = self.params.get("tools").is_some() || self.params.get("toolChoice").is_some();
        match self.kind {
            Kind::Elicitation if self.is_for_url() => (!can.url).then_some("elicitation.url"),
            Kind::Elicitation => (!can.form).then_some("elicitation.form"),
            Kind::Sampling if tools && can.sampling => (!can.sampling_tools).then_some("sampling.tools"),
            Kind::Sampling => (!can.sampling).then_some("sampling"),
            Kind::Roots => (!can.roots).then_some("roots"),
        }
    }

    /// The request that puts it to the agent. `id` is also what a page is known by, which the modern era does not say.
    #[must_use]
    pub fn write(&self, id: &RequestId, agent: &Introduction) -> Bytes {
        let method = match self.kind {
            Kind::Elicitation => "elicitation/create",
            Kind::Sampling => "sampling/createMessage",
            Kind::Roots => "roots/list",
        };
        let knows_modes = agent.version() >= ProtocolVersion::V2025_11_25;
        write_request(id, method, |params| {
            for (key, value) in self.params.iter() {
                match key {
                    "mode" if self.kind == Kind::Elicitation && !knows_modes => {}
                    "elicitationId" => {}
                    _ => params.raw(key, value),
                }
            }
            if self.kind == Kind::Elicitation && self.is_for_url() {
                params.raw("elicitationId", &Raw::text(&page_id(id)));
            }
        })
    }

    /// The answer that an agent's response is.
    ///
    /// # Errors
    /// What the call ends with: a refusal to sample or to list roots has no modern form.
    pub fn answer(&self, outcome: &Result<Raw, Raw>) -> Result<Raw, Raw> {
        match (outcome, self.kind) {
            (Ok(result), _) if result.kind() == json::Kind::Object => Ok(result.clone()),
            (_, Kind::Elicitation) => Ok(json::object(|answer| answer.text("action", "cancel"))),
            (_, Kind::Sampling) => Err(error_of(INTERNAL_ERROR, "the client did not sample for the server")),
            (_, Kind::Roots) => Err(error_of(INTERNAL_ERROR, "the client did not tell the server its roots")),
        }
    }
}

fn page_id(id: &RequestId) -> String {
    match id {
        RequestId::Text(text) => text.to_string(),
        RequestId::Integer(number) => number.to_string(),
    }
}
