//! Tools that answer at once with content of every kind.
//!
//! Invariant: the same call has the same answer, byte for byte.

use rmcp::model::{CallToolRequestParams, CallToolResult, ContentBlock};
use serde_json::json;

use super::{failed, said, text_of};
use crate::library::shaped;

/// A red dot: a PNG of one pixel, in base64.
pub(crate) const PICTURE: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";
/// Silence: a WAV without samples, in base64.
const SOUND: &str = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=";

/// Runs one of them.
pub(super) fn call(request: &CallToolRequestParams) -> CallToolResult {
    let picture = || shaped(json!({"type": "image", "data": PICTURE, "mimeType": "image/png"}));
    match request.name.as_ref() {
        "test_simple_text" => said("This is a simple text, for tests."),
        "test_image_content" => CallToolResult::success(vec![picture()]),
        "test_audio_content" => {
            CallToolResult::success(vec![shaped(json!({"type": "audio", "data": SOUND, "mimeType": "audio/wav"}))])
        }
        "test_embedded_resource" => {
            CallToolResult::success(vec![resource("test://embedded-resource", "text/plain", "An embedded resource.")])
        }
        "test_multiple_content_types" => CallToolResult::success(vec![
            ContentBlock::text("Several kinds of content:"),
            picture(),
            resource("test://mixed-content-resource", "application/json", r#"{"test":"data","value":123}"#),
        ]),
        "test_custom_header" => match text_of(request, "value") {
            Some(value) => said(value),
            None => failed("value must be a text"),
        },
        "json_schema_2020_12_tool" => said(format!("Taken: {}", json!(request.arguments))),
        _ => failed("This tool fails on purpose."),
    }
}

fn resource(uri: &str, mime_type: &str, text: &str) -> ContentBlock {
    shaped(json!({"type": "resource", "resource": {"uri": uri, "mimeType": mime_type, "text": text}}))
}
