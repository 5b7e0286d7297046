//! What of a call is counted: the text that a model writes and the text that it gets, and the media beside it. Pure.
//!
//! Invariant: nothing that is no text is ever counted as text: neither media in base64, nor `_meta`, ids and what a
//! server says beside its answer.

use std::borrow::Cow;

use super::media::Media;
use crate::mcp::{
    json::{Object, Raw},
    message::Params,
    method::Method,
};

#[cfg(test)]
mod tests;

/// What is counted of a request: its arguments as they are written; of what names a resource, the URI.
///
/// The answers to a server's questions are not: they are a user's, or another model's.
#[must_use]
pub fn input(method: Method, params: &Params) -> Option<&Raw> {
    match method {
        Method::ToolsCall | Method::PromptsGet => params.arguments(),
        Method::CompletionComplete => params.get("argument"),
        Method::ResourcesRead | Method::SkillsGet | Method::ResourcesDirectoryRead => params.get("uri"),
        _ => None,
    }
}

/// The text of an input.
#[must_use]
pub fn input_text(input: &Raw) -> Cow<'_, str> {
    input.as_str().unwrap_or_else(|| written(input))
}

/// Whether answers to this method hold anything that is counted. `None`: it is not known what was asked.
#[must_use]
pub fn is_counted(method: Option<Method>) -> bool {
    method.is_none_or(|method| method.is_executing() || matches!(method, Method::TasksGet | Method::TasksResult))
}

/// Hands each text of a result to `text`, and tells what media are in it.
///
/// A result that only says what the server wants to know, or that a task was made, holds nothing that a model gets.
pub fn output(method: Option<Method>, result: &Raw, text: &mut dyn FnMut(&str)) -> Media {
    let mut found = Found { text, media: Media::default() };
    let Some(members) = result.object().filter(|members| is_final(members) && is_counted(method)) else {
        return found.media;
    };
    match method {
        Some(Method::TasksGet) => {
            if let Some(result) = members.get("result").and_then(Raw::object) {
                found.tool_result(&result);
            }
        }
        Some(Method::SkillsGet) => found.skill(members.get("skill")),
        Some(Method::ResourcesDirectoryRead) => each(members.get("resources"), |file| found.resource(file)),
        // What a result is can be told by its members, where it is not known what was asked: they have none in common.
        _ => {
            found.tool_result(&members);
            each(members.get("contents"), |content| found.resource(content));
            each(members.get("messages"), |message| found.message(message));
            let completion = members.get("completion").and_then(Raw::object);
            each(completion.as_ref().and_then(|completion| completion.get("values")), |value| found.said(value));
        }
    }
    found.media
}

struct Found<'a> {
    text: &'a mut dyn FnMut(&str),
    media: Media,
}

impl Found<'_> {
    /// Servers repeat in `content` what is in `structuredContent` (MCP 2025-06-18, server/tools, "Structured Content"):
    /// counted is one of them.
    fn tool_result(&mut self, members: &Object) {
        let content = members.get("content").and_then(Raw::array).unwrap_or_default();
        content.iter().for_each(|block| self.block(block));
        if let Some(structured) = members.get("structuredContent").filter(|_| content.is_empty()) {
            (self.text)(&written(structured));
        }
    }

    /// A message of a prompt has one block, or several.
    fn message(&mut self, message: &Raw) {
        let content = message.object().and_then(|message| message.get("content").cloned());
        match content.as_ref().and_then(Raw::array) {
            Some(blocks) => blocks.iter().for_each(|block| self.block(block)),
            None => content.iter().for_each(|block| self.block(block)),
        }
    }

    fn block(&mut self, block: &Raw) {
        let Some(members) = block.object() else { return };
        let kind = members.get("type").and_then(Raw::as_str).unwrap_or_default();
        match (&*kind, members.get("data").and_then(Raw::as_str)) {
            ("image", Some(data)) => self.media.image(&data),
            ("audio", Some(data)) => self.media.audio(&data),
            (_, Some(data)) => self.media.other(&data),
            ("resource", None) => members.get("resource").into_iter().for_each(|resource| self.resource(resource)),
            ("resource_link", None) => self.link(&members),
            (_, None) => members.get("text").into_iter().for_each(|text| self.said(text)),
        }
    }

    /// Its text, what it is where it is none, and what is known of it where it is only named.
    fn resource(&mut self, resource: &Raw) {
        let Some(members) = resource.object() else { return };
        let media_type = members.get("mimeType").and_then(Raw::as_str).unwrap_or_default();
        match (members.get("text"), members.get("blob").and_then(Raw::as_str)) {
            (Some(text), _) => self.said(text),
            (None, Some(blob)) if media_type.starts_with("image/") => self.media.image(&blob),
            (None, Some(blob)) if media_type.starts_with("audio/") => self.media.audio(&blob),
            (None, Some(blob)) => self.media.other(&blob),
            (None, None) => self.link(&members),
        }
    }

    fn skill(&mut self, skill: Option<&Raw>) {
        let Some(members) = skill.and_then(Raw::object) else { return };
        self.link(&members);
        each(members.get("resources"), |file| self.resource(file));
    }

    fn link(&mut self, members: &Object) {
        for member in ["uri", "title", "description"] {
            members.get(member).into_iter().for_each(|text| self.said(text));
        }
    }

    fn said(&mut self, text: &Raw) {
        if let Some(text) = text.as_str() {
            (self.text)(&text);
        }
    }
}

fn each(array: Option<&Raw>, mut visit: impl FnMut(&Raw)) {
    array.and_then(Raw::array).iter().flatten().for_each(&mut visit);
}

fn is_final(members: &Object) -> bool {
    let kind = members.get("resultType").and_then(Raw::as_str);
    !matches!(kind.as_deref(), Some("input_required" | "task"))
}

/// JSON as it was written.
fn written(raw: &Raw) -> Cow<'_, str> {
    // The strict reader takes nothing but UTF-8.
    String::from_utf8_lossy(raw.as_bytes())
}
