//! Tools that ask the client: the user, the model, the folders.
//!
//! Invariant: a state that comes back is opened before anything is believed of it.

use std::collections::BTreeMap;

use rmcp::{
    ErrorData, RoleServer,
    model::{CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities, InputRequest},
    service::RequestContext,
};
use serde_json::{Value, json};

use super::{said, text_of};
use crate::{
    questions::{Answers, Asked, ask, form, is_legacy, page, roots, sampling},
    server::Reference,
};

/// Runs one of them.
pub(super) async fn call(
    server: &Reference,
    request: &CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    match request.name.as_ref() {
        "test_missing_capability" => return needs_sampling(context).map(Into::into),
        "test_input_required_result_multi_round" => return two_rounds(server, request, context).await,
        "test_input_required_result_capabilities" => return what_the_client_can(request, context).await,
        _ => {}
    }
    let state = match request.name.as_ref() {
        "test_input_required_result_request_state"
        | "test_input_required_result_tampered_state"
        | "test_input_required_result_multiple_inputs" => Some(kept(server, request, "asked")?),
        _ => None,
    };
    let questions = questions_of(request);
    if state.is_some() && !is_legacy(context) && request.request_state.is_none() {
        // Answers without the state that went with the questions are no answers.
        return Ok(end(request, ask(questions, None, state, context).await?));
    }
    Ok(end(request, ask(questions, request.input_responses.as_ref(), state, context).await?))
}

fn questions_of(request: &CallToolRequestParams) -> BTreeMap<String, InputRequest> {
    let named = |name: &str, question: InputRequest| BTreeMap::from([(name.to_owned(), question)]);
    match request.name.as_ref() {
        "test_sampling" => {
            named("sampled", sampling(&text_of(request, "prompt").unwrap_or_else(|| "Say something.".to_owned())))
        }
        "test_elicitation" => {
            let message = text_of(request, "message").unwrap_or_else(|| "Who are you?".to_owned());
            let fields = json!({
                "username": {"type": "string", "description": "Your name"},
                "email": {"type": "string", "description": "Your address"},
            });
            named("person", form(&message, &fields, &["username", "email"]))
        }
        "test_url_elicitation" => named("page", page("Sign in.", "https://example.com/sign-in")),
        "test_elicitation_sep1034_defaults" => named("details", form("Everything has a default", &defaults(), &[])),
        "test_elicitation_sep1330_enums" => named("choices", form("Choose", &choices(), &[])),
        "test_streaming_elicitation" => {
            named("value", form("Which value?", &json!({"value": {"type": "string"}}), &["value"]))
        }
        "test_input_required_result_sampling" => named("capital_question", sampling("What is the capital of France?")),
        "test_input_required_result_list_roots" => named("client_roots", roots()),
        "test_input_required_result_request_state" | "test_input_required_result_tampered_state" => {
            named("confirm", form("Are you sure?", &json!({"ok": {"type": "boolean"}}), &["ok"]))
        }
        "test_input_required_result_multiple_inputs" => everything(),
        _ => named("user_name", name_form()),
    }
}

fn everything() -> BTreeMap<String, InputRequest> {
    BTreeMap::from([
        ("user_name".to_owned(), name_form()),
        ("greeting".to_owned(), sampling("Write a greeting.")),
        ("client_roots".to_owned(), roots()),
    ])
}

fn name_form() -> InputRequest {
    form("What is your name?", &json!({"name": {"type": "string"}}), &["name"])
}

/// What the answers make of the call.
fn end(request: &CallToolRequestParams, asked: Asked) -> CallToolResponse {
    let answers = match asked {
        Asked::Waiting(waiting) => return waiting.into(),
        Asked::Answered(answers) => answers,
    };
    let text = match request.name.as_ref() {
        "test_sampling" => format!("LLM response: {}", sampled(&answers["sampled"])),
        "test_input_required_result_sampling" => format!("The model says: {}", sampled(&answers["capital_question"])),
        "test_input_required_result_elicitation" => {
            format!("Hello, {}!", answers["user_name"]["content"]["name"].as_str().unwrap_or("stranger"))
        }
        "test_input_required_result_list_roots" => {
            format!("The client's folders: {}", answers["client_roots"]["roots"])
        }
        "test_input_required_result_request_state" | "test_input_required_result_tampered_state" => {
            "Confirmed: state-ok".to_owned()
        }
        "test_input_required_result_multiple_inputs" => "All inputs were received.".to_owned(),
        _ => described(&answers),
    };
    said(text).into()
}

/// What people answered, for whoever reads the result.
fn described(answers: &Answers) -> String {
    let lines = answers.values().map(|answer| {
        let action = answer["action"].as_str().unwrap_or("nothing");
        format!("User response: action={action}, content={}", answer["content"])
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A model's answer is one block, or several.
fn sampled(answer: &Value) -> String {
    let blocks = answer["content"].as_array().cloned().unwrap_or_else(|| vec![answer["content"].clone()]);
    blocks.iter().filter_map(|block| block["text"].as_str()).collect()
}

fn needs_sampling(context: &RequestContext<RoleServer>) -> Result<CallToolResult, ErrorData> {
    if context.client_capabilities().is_some_and(|client| client.sampling.is_some()) {
        return Ok(said("The client can sample."));
    }
    let needed = ClientCapabilities::builder().enable_sampling().build();
    Err(ErrorData::missing_required_client_capability(needed))
}

/// Asks a second thing when the first is answered. What was answered first travels in the state.
async fn two_rounds(
    server: &Reference,
    request: &CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    let first = BTreeMap::from([("step1".to_owned(), name_form())]);
    let colour = form("What is your favourite colour?", &json!({"color": {"type": "string"}}), &["color"]);
    let second = BTreeMap::from([("step2".to_owned(), colour)]);
    let given = request.input_responses.as_ref();
    let round = match request.request_state.as_deref() {
        Some(state) => opened(server, state)?,
        None => "first".to_owned(),
    };
    if is_legacy(context) || round == "first" {
        let asked =
            ask(first, given.filter(|_| request.request_state.is_some()), Some(sealed(server, "first")?), context);
        if let Asked::Waiting(waiting) = asked.await? {
            return Ok(waiting.into());
        }
        return match ask(second, None, Some(sealed(server, "second")?), context).await? {
            Asked::Waiting(waiting) => Ok(waiting.into()),
            Asked::Answered(_) => Ok(said("Both rounds are done.").into()),
        };
    }
    match ask(second, given, Some(sealed(server, "second")?), context).await? {
        Asked::Waiting(waiting) => Ok(waiting.into()),
        Asked::Answered(_) => Ok(said("Both rounds are done.").into()),
    }
}

async fn what_the_client_can(
    request: &CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    let client = context.client_capabilities().unwrap_or_default();
    let mut questions = everything();
    questions.retain(|_, question| match question {
        InputRequest::Elicitation(_) => client.elicitation.is_some(),
        InputRequest::CreateMessage(_) => client.sampling.is_some(),
        _ => client.roots.is_some(),
    });
    match ask(questions, request.input_responses.as_ref(), None, context).await? {
        Asked::Waiting(waiting) => Ok(waiting.into()),
        Asked::Answered(answers) => Ok(said(format!("{} answers came.", answers.len())).into()),
    }
}

/// The state that came with the request, once it is found to be ours, or a new one.
fn kept(server: &Reference, request: &CallToolRequestParams, stage: &str) -> Result<String, ErrorData> {
    if let Some(state) = request.request_state.as_deref() {
        opened(server, state)?;
    }
    sealed(server, stage)
}

fn sealed(server: &Reference, stage: &str) -> Result<String, ErrorData> {
    let sealed = server.shared.state.seal_json(&stage);
    sealed.map_err(|error| ErrorData::internal_error(error.to_string(), None))
}

fn opened(server: &Reference, state: &str) -> Result<String, ErrorData> {
    let opened = server.shared.state.open_json(state);
    opened.map_err(|_| ErrorData::invalid_params("the requestState is not this server's", None))
}

/// SEP-1034: a default for every primitive type.
fn defaults() -> Value {
    json!({
        "name": {"type": "string", "description": "Your name", "default": "John Doe"},
        "age": {"type": "integer", "description": "Your age", "default": 30},
        "score": {"type": "number", "description": "Your score", "default": 95.5},
        "status": {"type": "string", "description": "What you are", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "description": "Whether you are known", "default": true},
    })
}

/// SEP-1330: every way to choose one of several, or several.
fn choices() -> Value {
    let titled = json!([
        {"const": "value1", "title": "First Option"},
        {"const": "value2", "title": "Second Option"},
        {"const": "value3", "title": "Third Option"},
    ]);
    let plain = json!(["option1", "option2", "option3"]);
    json!({
        "untitledSingle": {"type": "string", "enum": plain},
        "titledSingle": {"type": "string", "oneOf": titled},
        "legacyEnum": {"type": "string", "enum": ["opt1", "opt2", "opt3"], "enumNames": ["One", "Two", "Three"]},
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": plain}},
        "titledMulti": {"type": "array", "items": {"anyOf": titled}},
    })
}
