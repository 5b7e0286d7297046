//! The tools: what each is called, what it takes, and who runs it.
//!
//! Invariant: a tool that is listed can be called, and the other way round.

use rmcp::{
    ErrorData, RoleServer,
    model::{CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Tool},
    service::RequestContext,
};
use serde_json::{Value, json};

use crate::{library::shaped, server::Reference};

mod asking;
mod jobs;
mod lively;
pub(crate) mod media;

/// Every tool, in the order in which it is listed.
pub(crate) fn list() -> Vec<Tool> {
    let nothing = json!({"type": "object", "properties": {}});
    let with = |properties: Value| json!({"type": "object", "properties": properties});
    let described = [
        ("test_simple_text", "Answers with a text", nothing.clone()),
        ("test_image_content", "Answers with a picture", nothing.clone()),
        ("test_audio_content", "Answers with a sound", nothing.clone()),
        ("test_embedded_resource", "Answers with a resource", nothing.clone()),
        ("test_multiple_content_types", "Answers with a text, a picture and a resource", nothing.clone()),
        ("test_error_handling", "Fails, and says so in its result", nothing.clone()),
        ("test_custom_header", "Says back what came as an argument and in a header", mirrored()),
        ("json_schema_2020_12_tool", "Takes what a rich schema describes", rich()),
        ("test_tool_with_logging", "Logs three messages", nothing.clone()),
        ("test_logging_tool", "Logs where logging was asked for", nothing.clone()),
        ("test_tool_with_progress", "Reports progress three times", nothing.clone()),
        ("test_reconnection", "Takes a moment", nothing.clone()),
        ("test_trigger_tool_change", "Says that the list of tools changed", nothing.clone()),
        ("test_trigger_prompt_change", "Says that the list of prompts changed", nothing.clone()),
        ("test_trigger_resource_change", "Says that the list of resources changed", nothing.clone()),
        ("test_touch_resource", "Says that a resource changed", with(json!({"uri": {"type": "string"}}))),
        ("test_missing_capability", "Needs a client that can sample", nothing.clone()),
        ("test_sampling", "Asks the client's model", with(json!({"prompt": {"type": "string"}}))),
        ("test_elicitation", "Asks the user", with(json!({"message": {"type": "string"}}))),
        ("test_url_elicitation", "Asks the user to visit a page", nothing.clone()),
        ("test_elicitation_sep1034_defaults", "Asks the user, with defaults", nothing.clone()),
        ("test_elicitation_sep1330_enums", "Asks the user to choose", nothing.clone()),
        ("test_streaming_elicitation", "Asks the user, on a stream where there is one", nothing.clone()),
        ("test_input_required_result_elicitation", "Asks for a name", nothing.clone()),
        ("test_input_required_result_sampling", "Asks the client's model for a capital", nothing.clone()),
        ("test_input_required_result_list_roots", "Asks for the client's folders", nothing.clone()),
        ("test_input_required_result_request_state", "Asks, and keeps something meanwhile", nothing.clone()),
        ("test_input_required_result_tampered_state", "Asks, and notices a forged state", nothing.clone()),
        ("test_input_required_result_multiple_inputs", "Asks three things at once", nothing.clone()),
        ("test_input_required_result_multi_round", "Asks twice, one after the other", nothing.clone()),
        ("test_input_required_result_capabilities", "Asks what the client can answer", nothing.clone()),
        ("greet", "Greets, at once", with(json!({"name": {"type": "string"}}))),
        (
            "slow_compute",
            "Takes as long as it is told to",
            with(json!({"seconds": {"type": "number"}, "label": {"type": "string"}})),
        ),
        ("failing_job", "Fails after a while, and says so in its result", nothing.clone()),
        ("protocol_error_job", "Fails after a while, with an error", nothing.clone()),
        ("confirm_delete", "Asks before it deletes nothing", with(json!({"filename": {"type": "string"}}))),
        ("multi_input", "Asks two things at once while it runs", nothing.clone()),
        ("test_tool_with_task", "Asks first, and then takes a while", nothing.clone()),
    ];
    described
        .into_iter()
        .map(|(name, description, schema)| Tool::new(name, description, shaped::<rmcp::model::JsonObject>(schema)))
        .collect()
}

/// Runs a tool.
pub(crate) async fn call(
    server: &Reference,
    request: CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    match request.name.as_ref() {
        "test_simple_text"
        | "test_image_content"
        | "test_audio_content"
        | "test_embedded_resource"
        | "test_multiple_content_types"
        | "test_error_handling"
        | "test_custom_header"
        | "json_schema_2020_12_tool" => Ok(media::call(&request).into()),
        "test_tool_with_logging"
        | "test_logging_tool"
        | "test_tool_with_progress"
        | "test_reconnection"
        | "test_trigger_tool_change"
        | "test_trigger_prompt_change"
        | "test_trigger_resource_change"
        | "test_touch_resource" => Ok(lively::call(server, &request, context).await.into()),
        "greet"
        | "slow_compute"
        | "failing_job"
        | "protocol_error_job"
        | "confirm_delete"
        | "multi_input"
        | "test_tool_with_task" => jobs::call(server, request, context).await,
        known if known.starts_with("test_") && list().iter().any(|tool| tool.name == known) => {
            asking::call(server, &request, context).await
        }
        unknown => Err(ErrorData::invalid_params(format!("there is no tool {unknown}"), None)),
    }
}

/// An argument of a call, as text.
fn text_of(request: &CallToolRequestParams, name: &str) -> Option<String> {
    request.arguments.as_ref()?.get(name)?.as_str().map(str::to_owned)
}

fn said(text: impl Into<String>) -> CallToolResult {
    CallToolResult::success(vec![ContentBlock::text(text)])
}

fn failed(text: impl Into<String>) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(text)])
}

/// SEP-2243: the argument travels as `Mcp-Param-Value` too.
fn mirrored() -> Value {
    json!({
        "type": "object",
        "properties": {"value": {"type": "string", "x-mcp-header": "Value"}},
        "required": ["value"],
    })
}

/// SEP-1613 and SEP-2106: what a schema may hold beyond `properties`.
fn rich() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {
            "address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
            },
        },
        "properties": {
            "name": {"type": "string"},
            "address": {"$ref": "#/$defs/address"},
            "contactMethod": {"type": "string", "enum": ["phone", "email"]},
            "phone": {"type": "string"},
            "email": {"type": "string"},
        },
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}, {"required": ["name"]}]}],
        "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
        "then": {"required": ["phone"]},
        "else": {"required": ["name"]},
        "additionalProperties": false,
    })
}
