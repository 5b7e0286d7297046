//! The question that `confirm_order` asks, in the form of each era.
//!
//! Invariant: nothing is kept between the rounds of a modern call. The retry brings the arguments again, and the
//! answer decides nothing but the text that comes back.

use rmcp::{
    ErrorData, RoleServer,
    model::{
        CallToolResponse, CallToolResult, ClientCapabilities, ContentBlock, ElicitRequest, ElicitRequestParams,
        ElicitResult, ElicitationAction, ElicitationSchema, InputRequest, InputRequests, InputRequiredResult,
        InputResponses,
    },
    service::{ElicitationMode, RequestContext},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::toolbox::is_legacy;

/// Names the question among the inputs that a modern call asks for.
const QUESTION: &str = "confirmation";

/// What the user fills in.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Confirmation {
    /// Whether to place the order
    confirmed: bool,
    /// How many to order
    quantity: u32,
}

rmcp::elicit_safe!(Confirmation);

/// Asks, by the means of the caller's era, and says what became of the order.
pub(crate) async fn confirm(
    item: &str,
    answers: Option<InputResponses>,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    let message = format!("Order \"{item}\"? Nothing is bought: this is a demo.");
    if is_legacy(context) {
        return ask_over_the_session(item, message, context).await;
    }
    if context.client_capabilities().is_none_or(|client| client.elicitation.is_none()) {
        let needed = ClientCapabilities::builder().enable_elicitation().build();
        return Err(ErrorData::missing_required_client_capability(needed));
    }
    match answers.and_then(|mut answers| answers.remove(QUESTION)) {
        None => question(message).map(Into::into),
        Some(answer) => {
            let answer: ElicitResult = serde_json::from_value(answer)
                .map_err(|error| ErrorData::invalid_params(format!("the answer is malformed: {error}"), None))?;
            Ok(outcome(item, &answer.action, answer.content).into())
        }
    }
}

/// Legacy: a request from server to client, on the stream of the call.
async fn ask_over_the_session(
    item: &str,
    message: String,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    if !context.peer.supported_elicitation_modes().contains(&ElicitationMode::Form) {
        return Ok(failed("your client cannot show a question: it did not declare the elicitation capability").into());
    }
    let answer = context
        .peer
        .create_elicitation(form(message)?)
        .await
        .map_err(|error| ErrorData::internal_error(format!("the question was not answered: {error}"), None))?;
    Ok(outcome(item, &answer.action, answer.content).into())
}

/// Modern: the call ends with the question; the client calls again with the answer.
fn question(message: String) -> Result<InputRequiredResult, ErrorData> {
    let mut questions = InputRequests::new();
    questions.insert(QUESTION.to_owned(), InputRequest::Elicitation(ElicitRequest::new(form(message)?)));
    Ok(InputRequiredResult::from_input_requests(questions))
}

fn form(message: String) -> Result<ElicitRequestParams, ErrorData> {
    let requested_schema = ElicitationSchema::from_type::<Confirmation>()
        .map_err(|error| ErrorData::internal_error(format!("the question has no schema: {error}"), None))?;
    Ok(ElicitRequestParams::FormElicitationParams { meta: None, message, requested_schema })
}

fn outcome(item: &str, action: &ElicitationAction, content: Option<serde_json::Value>) -> CallToolResult {
    match action {
        ElicitationAction::Accept => match content.map(serde_json::from_value::<Confirmation>) {
            Some(Ok(Confirmation { confirmed: true, quantity })) => said(format!("Ordered {quantity} × {item}.")),
            Some(Ok(_)) => said(format!("Not ordered: {item} was not confirmed.")),
            Some(Err(error)) => failed(&format!("the answer does not fit the question: {error}")),
            None => failed("the answer is empty"),
        },
        ElicitationAction::Decline => said(format!("Not ordered: the user declined {item}.")),
        _ => said(format!("Not ordered: the user closed the question about {item}.")),
    }
}

fn said(text: String) -> CallToolResult {
    CallToolResult::success(vec![ContentBlock::text(text)])
}

fn failed(text: &str) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(text)])
}
