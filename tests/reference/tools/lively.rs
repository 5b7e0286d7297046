//! Tools that say something before they answer, or make the server say something.
//!
//! Invariant: what a call causes is sent before its answer.

use std::{sync::PoisonError, time::Duration};

use rmcp::{
    RoleServer,
    model::{
        CallToolRequestParams, CallToolResult, LoggingLevel, LoggingMessageNotificationParam, ProgressNotificationParam,
    },
    service::RequestContext,
};
use serde_json::json;

use super::{failed, said, text_of};
use crate::{library::STATIC_TEXT, listeners::Change, questions::is_legacy, server::Reference};

/// Between two messages, so that they are seen one by one.
const MOMENT: Duration = Duration::from_millis(50);

/// Runs one of them.
pub(super) async fn call(
    server: &Reference,
    request: &CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> CallToolResult {
    let change = match request.name.as_ref() {
        "test_tool_with_logging" => return log_thrice(server, context).await,
        "test_logging_tool" => return log_once(server, context).await,
        "test_tool_with_progress" => return progress(context).await,
        "test_reconnection" => {
            tokio::time::sleep(MOMENT * 2).await;
            return said("The stream went on to its end.");
        }
        "test_trigger_tool_change" => Change::Tools,
        "test_trigger_prompt_change" => Change::Prompts,
        "test_trigger_resource_change" => Change::Resources,
        "test_touch_resource" => Change::Resource(text_of(request, "uri").unwrap_or_else(|| STATIC_TEXT.to_owned())),
        other => return failed(format!("{other} says nothing")),
    };
    server.shared.listeners.tell(&change).await;
    said("Everyone was told.")
}

async fn log_thrice(server: &Reference, context: &RequestContext<RoleServer>) -> CallToolResult {
    for message in ["Tool execution started", "Tool processing data", "Tool execution completed"] {
        log(server, message, context).await;
        tokio::time::sleep(MOMENT).await;
    }
    said("Three messages were logged.")
}

async fn log_once(server: &Reference, context: &RequestContext<RoleServer>) -> CallToolResult {
    log(server, "Logging was asked for", context).await;
    said("What was asked for was logged.")
}

/// Legacy clients set a level for the session; modern ones name one in a request, or get nothing.
async fn log(server: &Reference, message: &str, context: &RequestContext<RoleServer>) {
    let wanted = if is_legacy(context) {
        Some(*server.log_level.lock().unwrap_or_else(PoisonError::into_inner))
    } else {
        context.meta.log_level()
    };
    if wanted.is_some_and(|least| severity(least) <= severity(LoggingLevel::Info)) {
        let message = LoggingMessageNotificationParam::new(LoggingLevel::Info, json!(message)).with_logger("reference");
        // A client that left does not read its log.
        let _told_or_gone = context.peer.notify_logging_message(message).await;
    }
}

fn severity(level: LoggingLevel) -> u8 {
    match level {
        LoggingLevel::Debug => 0,
        LoggingLevel::Info => 1,
        LoggingLevel::Notice => 2,
        LoggingLevel::Warning => 3,
        LoggingLevel::Error => 4,
        LoggingLevel::Critical => 5,
        LoggingLevel::Alert => 6,
        LoggingLevel::Emergency => 7,
    }
}

async fn progress(context: &RequestContext<RoleServer>) -> CallToolResult {
    let token = context.meta.get_progress_token();
    for (done, message) in [(0.0, "begun"), (50.0, "half done"), (100.0, "done")] {
        if let Some(token) = &token {
            let report = ProgressNotificationParam::new(token.clone(), done).with_total(100.0).with_message(message);
            // A client that left needs no reports.
            let _told_or_gone = context.peer.notify_progress(report).await;
        }
        tokio::time::sleep(MOMENT).await;
    }
    said("Progress was reported.")
}
