//! Resources, prompts and completions.
//!
//! Invariant: every name, URI and text is fixed, so that two runs can be compared.

use rmcp::{
    ErrorData, RoleServer,
    model::{
        CacheScope, CompleteRequestParams, CompleteResult, CompletionInfo, GetPromptRequestParams, GetPromptResponse,
        GetPromptResult, InputRequests, ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult,
        ReadResourceResult, Reference, ResourceContents,
    },
    service::RequestContext,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{
    questions::{self, Asked},
    server::TTL_MS,
    skills,
    tools::media::PICTURE,
};

/// The resource that tests subscribe to and touch.
pub(crate) const STATIC_TEXT: &str = "test://static-text";
const STATIC_BINARY: &str = "test://static-binary";

/// Every resource with a fixed URI.
pub(crate) fn resources() -> ListResourcesResult {
    let resources = json!([
        {"uri": STATIC_TEXT, "name": "Static text", "description": "A text that never changes", "mimeType": "text/plain"},
        {"uri": STATIC_BINARY, "name": "Static picture", "description": "A picture that never changes", "mimeType": "image/png"},
    ]);
    let result = ListResourcesResult { resources: shaped(resources), ..Default::default() };
    result.with_ttl_ms(TTL_MS).with_cache_scope(CacheScope::Public)
}

/// Every family of resources.
pub(crate) fn templates() -> ListResourceTemplatesResult {
    let templates = json!([{
        "uriTemplate": "test://template/{id}/data",
        "name": "Data by id",
        "description": "What is known of an id",
        "mimeType": "application/json",
    }]);
    let result = ListResourceTemplatesResult { resource_templates: shaped(templates), ..Default::default() };
    result.with_ttl_ms(TTL_MS).with_cache_scope(CacheScope::Public)
}

/// What is at a URI.
pub(crate) fn read(uri: &str) -> Result<ReadResourceResult, ErrorData> {
    let contents = match uri {
        STATIC_TEXT => ResourceContents::text("The text of the static resource.", uri).with_mime_type("text/plain"),
        STATIC_BINARY => ResourceContents::blob(PICTURE, uri).with_mime_type("image/png"),
        _ => match uri.strip_prefix("test://template/").and_then(|rest| rest.strip_suffix("/data")) {
            Some(id) => {
                let data = json!({"id": id, "templateTest": true, "data": format!("Data for ID: {id}")});
                ResourceContents::text(data.to_string(), uri).with_mime_type("application/json")
            }
            None => skills::read(uri).ok_or_else(|| {
                ErrorData::resource_not_found(format!("nothing is at {uri}"), Some(json!({"uri": uri})))
            })?,
        },
    };
    Ok(ReadResourceResult::new(vec![contents]).with_ttl_ms(TTL_MS).with_cache_scope(CacheScope::Public))
}

/// Every prompt.
pub(crate) fn prompts() -> ListPromptsResult {
    let prompts = json!([
        {"name": "test_simple_prompt", "description": "A prompt as it is"},
        {"name": "test_prompt_with_arguments", "description": "A prompt to be filled in", "arguments": [
            {"name": "arg1", "description": "The first part", "required": true},
            {"name": "arg2", "description": "The second part", "required": false},
        ]},
        {"name": "test_prompt_with_embedded_resource", "description": "A prompt with a resource in it", "arguments": [
            {"name": "resourceUri", "description": "The resource to put in", "required": false},
        ]},
        {"name": "test_prompt_with_image", "description": "A prompt with a picture in it"},
        {"name": "test_input_required_result_prompt", "description": "A prompt that asks the user first"},
    ]);
    let result = ListPromptsResult { prompts: shaped(prompts), ..Default::default() };
    result.with_ttl_ms(TTL_MS).with_cache_scope(CacheScope::Public)
}

/// A prompt, filled in.
pub(crate) async fn prompt(
    request: GetPromptRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<GetPromptResponse, ErrorData> {
    let argument = |name: &str| {
        let arguments = request.arguments.as_ref();
        arguments.and_then(|arguments| arguments.get(name)).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let messages = match request.name.as_str() {
        "test_simple_prompt" => json!([says("A simple prompt, for tests.")]),
        "test_prompt_with_arguments" => {
            let text = format!("Prompt with arguments: arg1='{}', arg2='{}'", argument("arg1"), argument("arg2"));
            json!([says(&text)])
        }
        "test_prompt_with_embedded_resource" => {
            let uri = Some(argument("resourceUri")).filter(|uri| !uri.is_empty()).unwrap_or(STATIC_TEXT.to_owned());
            let resource = json!({"uri": uri, "mimeType": "text/plain", "text": "The text of the resource."});
            json!([
                {"role": "user", "content": {"type": "resource", "resource": resource}},
                says("Work with the resource above."),
            ])
        }
        "test_prompt_with_image" => json!([
            {"role": "user", "content": {"type": "image", "data": PICTURE, "mimeType": "image/png"}},
            says("Describe the picture above."),
        ]),
        "test_input_required_result_prompt" => return asking(request, context).await,
        unknown => return Err(ErrorData::invalid_params(format!("there is no prompt {unknown}"), None)),
    };
    Ok(GetPromptResult::new(shaped(messages)).into())
}

async fn asking(
    request: GetPromptRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<GetPromptResponse, ErrorData> {
    let form =
        questions::form("What is the prompt to be about?", &json!({"context": {"type": "string"}}), &["context"]);
    let wanted = InputRequests::from([("user_context".to_owned(), form)]);
    Ok(match questions::ask(wanted, request.input_responses.as_ref(), None, context).await? {
        Asked::Waiting(waiting) => waiting.into(),
        Asked::Answered(answers) => {
            let about = answers["user_context"]["content"]["context"].as_str().unwrap_or("nothing").to_owned();
            GetPromptResult::new(shaped(json!([says(&format!("Write about {about}."))]))).into()
        }
    })
}

/// What could follow what was typed.
pub(crate) fn complete(request: &CompleteRequestParams) -> Result<CompleteResult, ErrorData> {
    let known: &[&str] = match &request.r#ref {
        Reference::Prompt(prompt) if prompt.name == "test_prompt_with_arguments" => &["paris", "park", "party", "test"],
        Reference::Resource(_) => &["1", "2", "3"],
        _ => &[],
    };
    let typed = request.argument.value.as_str();
    let values = known.iter().filter(|value| value.starts_with(typed)).map(|value| (*value).to_owned()).collect();
    let values = CompletionInfo::with_all_values(values).map_err(|error| ErrorData::internal_error(error, None))?;
    Ok(CompleteResult::new(values))
}

fn says(text: &str) -> Value {
    json!({"role": "user", "content": {"type": "text", "text": text}})
}

/// The library's own JSON as the type that it is.
pub(crate) fn shaped<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("what the server offers has the shape that the protocol gives it")
}
