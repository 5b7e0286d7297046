//! Tools that take their time: a task where the client knows tasks (SEP-2663), and a long call where it does not.
//!
//! Invariant: only a client that declared tasks in this very request gets one.

use std::time::Duration;

use rmcp::{
    ErrorData, RoleServer,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities, CreateTaskResult, InputRequests,
    },
    service::RequestContext,
    task_manager::{TaskContext, TaskExit, TaskOptions},
};
use serde_json::{Value, json};

use super::{failed, said, text_of};
use crate::{
    questions::{Asked, ask, form, is_legacy},
    server::Reference,
};

/// Runs one of them.
pub(super) async fn call(
    server: &Reference,
    request: CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    if request.name == "greet" {
        return Ok(
            said(format!("Hello, {}!", text_of(&request, "name").unwrap_or_else(|| "stranger".to_owned()))).into()
        );
    }
    let knows_tasks = context.client_capabilities().is_some_and(|client| client.supports_tasks());
    if is_legacy(context) {
        return at_once(request, context).await;
    }
    if !knows_tasks {
        if matches!(request.name.as_ref(), "slow_compute" | "protocol_error_job") {
            return at_once(request, context).await;
        }
        // The others cannot be served without a task.
        let needed = ClientCapabilities::builder().enable_tasks().build();
        return Err(ErrorData::missing_required_client_capability(needed));
    }
    if request.name == "test_tool_with_task" {
        let wanted = InputRequests::from([(NAME.to_owned(), name_form())]);
        if let Asked::Waiting(waiting) = ask(wanted, request.input_responses.as_ref(), None, context).await? {
            return Ok(waiting.into());
        }
    }
    let task = server.shared.tasks.spawn(TaskOptions::default(), move |task| Box::pin(run(request, task)));
    Ok(CreateTaskResult::new(task).into())
}

const NAME: &str = "user_name";

/// The work of a task.
async fn run(request: CallToolRequestParams, task: TaskContext) -> Result<CallToolResult, TaskExit> {
    match request.name.as_ref() {
        "confirm_delete" => {
            let file = text_of(&request, "filename").unwrap_or_default();
            let sure = form(&format!("Delete {file}?"), &json!({"confirm": {"type": "boolean"}}), &["confirm"]);
            let answer = task.request_input("confirm", sure).await?;
            Ok(deleted(&file, &answer))
        }
        "multi_input" => {
            let field = json!({"value": {"type": "string"}});
            let first = task.request_input("first", form("The first value?", &field, &["value"]));
            let second = task.request_input("second", form("The second value?", &field, &["value"]));
            let (first, second) = tokio::join!(first, second);
            Ok(said(format!("{} and {}", first?["content"]["value"], second?["content"]["value"])))
        }
        "test_tool_with_task" => {
            let answers = request.input_responses.unwrap_or_default();
            Ok(greeted(answers.get(NAME).unwrap_or(&Value::Null)))
        }
        _ => tokio::select! {
            () = task.cancelled() => Err(TaskExit::Cancelled),
            done = compute(&request) => done.map_err(TaskExit::Error),
        },
    }
}

/// The same work in one call, with its questions asked by the session.
async fn at_once(
    request: CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    let field = json!({"value": {"type": "string"}});
    let (key, question) = match request.name.as_ref() {
        "confirm_delete" => ("confirm", form("Delete it?", &json!({"confirm": {"type": "boolean"}}), &["confirm"])),
        "multi_input" => ("first", form("The value?", &field, &["value"])),
        "test_tool_with_task" => (NAME, name_form()),
        _ => return compute(&request).await.map(Into::into),
    };
    let wanted = InputRequests::from([(key.to_owned(), question)]);
    let answer = match ask(wanted, request.input_responses.as_ref(), None, context).await? {
        Asked::Waiting(waiting) => return Ok(waiting.into()),
        Asked::Answered(mut answers) => answers.remove(key).unwrap_or_default(),
    };
    Ok(match request.name.as_ref() {
        "confirm_delete" => deleted(&text_of(&request, "filename").unwrap_or_default(), &answer),
        "test_tool_with_task" => greeted(&answer),
        _ => said(answer["content"]["value"].to_string()),
    }
    .into())
}

/// What takes time, and nothing else.
async fn compute(request: &CallToolRequestParams) -> Result<CallToolResult, ErrorData> {
    let seconds = request.arguments.as_ref().and_then(|arguments| arguments.get("seconds")).and_then(Value::as_f64);
    let short = Duration::from_millis(300);
    match request.name.as_ref() {
        "failing_job" => {
            tokio::time::sleep(short).await;
            Ok(failed("This job fails on purpose."))
        }
        "protocol_error_job" => {
            tokio::time::sleep(short).await;
            Err(ErrorData::internal_error("this job fails on purpose", None))
        }
        _ => {
            let seconds = seconds.unwrap_or(1.0).clamp(0.0, 600.0);
            tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
            let label = text_of(request, "label").unwrap_or_else(|| "compute".to_owned());
            Ok(said(format!("{label} was done after {seconds} s.")))
        }
    }
}

fn name_form() -> rmcp::model::InputRequest {
    form("What is your name?", &json!({"name": {"type": "string"}}), &["name"])
}

fn greeted(answer: &Value) -> CallToolResult {
    said(format!("Hello, {}!", answer["content"]["name"].as_str().unwrap_or("stranger")))
}

fn deleted(file: &str, answer: &Value) -> CallToolResult {
    let sure = answer["content"]["confirm"].as_bool().unwrap_or(false);
    said(format!("{file} was {}deleted.", if sure { "" } else { "not " }))
}
