//! The simulator: whether an agent could use something, and why.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Query, State},
    response::Response,
};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    filters,
    form::{self, Choices, Complaint},
    page::{PageError, Section, Shell, sentence, show_with},
    visitor::Visitor,
};
use crate::{
    access_checks::{self, AccessAnswer, AccessCheck, AccessDecision},
    app::App,
    error::ApiError,
    request,
};

/// What the form asks, and what there is to choose from.
pub(super) struct CheckForm {
    pub(super) asked: Asked,
    pub(super) choices: Choices,
}

/// What was entered. It is in the address, so that a question can be handed on.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    pub(super) agent: String,
    pub(super) user: String,
    pub(super) server: String,
    /// `tool`, `prompt` or `resource`.
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) arguments: String,
    pub(super) from: String,
}

#[derive(Template)]
#[template(path = "access/check.html")]
struct CheckPage {
    shell: Shell,
    form: CheckForm,
    answer: Option<AccessAnswer>,
    complaints: Vec<Complaint>,
}

/// `GET /access/check`.
pub(super) async fn show_check(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Query(asked): Query<Asked>,
) -> Result<Response, PageError> {
    let form = CheckForm { choices: form::choices(&app, &visitor).await?, asked };
    let shell = Shell::new(&visitor, Section::Access, "Check access").under("Access", "/access");
    let mut page = CheckPage { shell, form, answer: None, complaints: Vec::new() };
    let mut status = StatusCode::OK;
    if page.form.asked.is_begun() {
        match answer(&app, &visitor, &page.form.asked).await {
            Ok(answer) => page.answer = Some(answer),
            Err(error) => {
                status = StatusCode::UNPROCESSABLE_ENTITY;
                page.complaints = complaints(error)?;
            }
        }
    }
    show_with(status, &page)
}

async fn answer(app: &App, visitor: &Visitor, asked: &Asked) -> Result<AccessAnswer, ApiError> {
    let check: AccessCheck = request::decode(asked.check())?;
    access_checks::check(app, &visitor.caller, &check).await
}

fn complaints(error: ApiError) -> Result<Vec<Complaint>, PageError> {
    match error {
        ApiError::NotFound { noun: field @ ("agent" | "user"), .. } => {
            Ok(vec![Complaint { field, text: sentence(&error.to_string()) }])
        }
        error => form::complaints_of(error, "question", "", field_at),
    }
}

fn field_at(pointer: &str) -> &'static str {
    match pointer {
        "/agent" => "agent",
        "/server" => "server",
        "/from" => "from",
        _ if pointer.starts_with("/arguments") => "arguments",
        _ => "name",
    }
}

impl Asked {
    /// Whether anything was asked yet: the form's links fill in some of it.
    fn is_begun(&self) -> bool {
        !self.name.is_empty()
    }

    /// As the API takes it. Arguments that are no JSON go on as text, to be refused.
    fn check(&self) -> Value {
        let text = |text: &str| Some(text.trim()).filter(|text| !text.is_empty()).map(Value::from);
        let json = |text: Value| text.as_str().and_then(|json| serde_json::from_str(json).ok()).unwrap_or(text);
        let kind = if self.kind.is_empty() { "tool" } else { &self.kind };
        json!({
            "agent": self.agent, "user": text(&self.user), "server": self.server, kind: self.name,
            "arguments": text(&self.arguments).map(json), "from": text(&self.from),
        })
    }
}

impl CheckPage {
    fn is_allowed(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| answer.decision == AccessDecision::Allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_entered_is_what_the_api_is_asked() {
        let asked = Asked { agent: "bot".into(), server: "demo".into(), name: "echo".into(), ..Asked::default() };
        let bare = json!({
            "agent": "bot", "server": "demo", "tool": "echo", "user": null, "arguments": null, "from": null,
        });
        assert_eq!(asked.check(), bare);
        let asked = Asked {
            kind: "prompt".into(),
            user: " ada@acme.test ".into(),
            arguments: "{\"a\": 1}".into(),
            from: "::1".into(),
            ..asked
        };
        let whole = json!({
            "agent": "bot", "server": "demo", "prompt": "echo", "user": "ada@acme.test", "arguments": { "a": 1 },
            "from": "::1",
        });
        assert_eq!(asked.check(), whole);
        assert_eq!(Asked { arguments: "a=1".into(), ..asked }.check()["arguments"], "a=1");
    }
}
