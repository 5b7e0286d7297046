//! What a handler asks the client for, by the means of the client's era.
//!
//! Legacy: requests from server to client on the stream of the call, all at once, and the handler waits. Modern: the
//! call ends with the questions, and the client calls again with the answers.
//!
//! Invariant: a handler sees answers, never eras.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use rmcp::{
    ErrorData, RoleServer,
    model::{ClientCapabilities, InputRequest, InputRequests, InputRequiredResult, InputResponses},
    service::RequestContext,
};
use serde_json::{Value, json};

/// Answers by the key of their question.
pub(crate) type Answers = BTreeMap<String, Value>;

/// What became of asking.
pub(crate) enum Asked {
    Answered(Answers),
    /// This is the result of the call, for now.
    Waiting(InputRequiredResult),
}

/// Whether the client speaks a revision with sessions (before 2026-07-28).
pub(crate) fn is_legacy(context: &RequestContext<RoleServer>) -> bool {
    context.protocol_version().is_none_or(|version| version.has_initialize())
}

/// Asks unless `given` holds an answer to everything; `state` travels with the questions of a modern call.
pub(crate) async fn ask(
    questions: InputRequests,
    given: Option<&InputResponses>,
    state: Option<String>,
    context: &RequestContext<RoleServer>,
) -> Result<Asked, ErrorData> {
    if is_legacy(context) {
        let asked = questions.into_iter().map(|(key, question)| async move {
            let answer = over_the_session(question, context).await?;
            Ok::<_, ErrorData>((key, answer))
        });
        return Ok(Asked::Answered(try_join_all(asked).await?.into_iter().collect()));
    }
    // An answer is an object; anything else counts as none, and is asked for again.
    let answers: Answers = given.into_iter().flatten().filter(|(_, answer)| answer.is_object()).map(owned).collect();
    if questions.keys().all(|key| answers.contains_key(key)) {
        return Ok(Asked::Answered(answers));
    }
    declared(&questions, context)?;
    Ok(Asked::Waiting(InputRequiredResult::new(Some(questions), state)))
}

/// A form to be filled in.
pub(crate) fn form(message: &str, properties: &Value, required: &[&str]) -> InputRequest {
    let schema = json!({"type": "object", "properties": properties, "required": required});
    question("elicitation/create", &json!({"mode": "form", "message": message, "requestedSchema": schema}))
}

/// A page that the user is to visit.
pub(crate) fn page(message: &str, url: &str) -> InputRequest {
    question("elicitation/create", &json!({"mode": "url", "message": message, "url": url, "elicitationId": "page"}))
}

/// A prompt for the client's model.
pub(crate) fn sampling(prompt: &str) -> InputRequest {
    let message = json!({"role": "user", "content": {"type": "text", "text": prompt}});
    question("sampling/createMessage", &json!({"messages": [message], "maxTokens": 100}))
}

/// The folders that the client works in.
pub(crate) fn roots() -> InputRequest {
    question("roots/list", &json!({}))
}

fn question(method: &str, params: &Value) -> InputRequest {
    serde_json::from_value(json!({"method": method, "params": params})).expect("a question of a known method")
}

fn owned((key, answer): (&String, &Value)) -> (String, Value) {
    (key.clone(), answer.clone())
}

async fn over_the_session(question: InputRequest, context: &RequestContext<RoleServer>) -> Result<Value, ErrorData> {
    let peer = &context.peer;
    let answer = match question {
        InputRequest::Elicitation(request) => peer.create_elicitation(request.params).await.map(json_of),
        InputRequest::CreateMessage(request) => peer.create_message(request.params).await.map(json_of),
        InputRequest::ListRoots(_) => peer.list_roots().await.map(json_of),
        _ => return Err(ErrorData::internal_error("a question of an unknown kind", None)),
    };
    answer.map_err(|error| ErrorData::internal_error(format!("the client did not answer: {error}"), None))
}

fn json_of(answer: impl serde::Serialize) -> Value {
    serde_json::to_value(answer).expect("results are JSON")
}

/// A server must not ask for what the client did not declare in this very request.
fn declared(questions: &InputRequests, context: &RequestContext<RoleServer>) -> Result<(), ErrorData> {
    let client = context.client_capabilities().unwrap_or_default();
    let missing = |wanted: fn(&InputRequest) -> bool| questions.values().any(wanted);
    let needed = if client.elicitation.is_none() && missing(|one| matches!(one, InputRequest::Elicitation(_))) {
        ClientCapabilities::builder().enable_elicitation().build()
    } else if client.sampling.is_none() && missing(|one| matches!(one, InputRequest::CreateMessage(_))) {
        ClientCapabilities::builder().enable_sampling().build()
    } else if client.roots.is_none() && missing(|one| matches!(one, InputRequest::ListRoots(_))) {
        ClientCapabilities::builder().enable_roots().build()
    } else {
        return Ok(());
    };
    Err(ErrorData::missing_required_client_capability(needed))
}
