//! What the agent gets when the server behind the gateway misbehaves.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::Notify;
use tollgate_tests::{Deployment, Era, McpAnswer, Piece, Reply, ScriptedServer, free_port};

use crate::scene::{Refused, Scene, assert_refusal};

const INVALID: Refused = Refused { status: 502, code: 50200, reason: "upstream_invalid" };

#[tokio::test]
async fn a_server_that_is_down_is_unavailable() {
    let scene = Scene::modern().await;
    scene.tollgate.register_url("files", &format!("http://127.0.0.1:{}/mcp", free_port())).await;
    let answer = scene.client.call("read", json!({})).await;
    assert_refusal(&answer, Refused { status: 502, code: 50200, reason: "upstream_unavailable" });
    assert_recorded(&scene, &answer).await;
    scene.tollgate.register("files", &scene.server).await;
    scene.assert_goes_on().await;
}

#[tokio::test]
async fn garbage_from_a_server_is_not_passed_on() {
    garbage(Reply::Raw(200, "application/json".to_owned(), "<h1>welcome</h1>".to_owned())).await;
}

#[tokio::test]
async fn an_answer_of_another_media_type_is_not_passed_on() {
    garbage(Reply::Raw(200, "text/html".to_owned(), "<h1>welcome</h1>".to_owned())).await;
}

#[tokio::test]
async fn an_answer_with_another_id_is_not_passed_on() {
    let other =
        json!({"jsonrpc": "2.0", "id": "another", "result": {"content": [{"type": "text", "text": "welcome"}]}});
    garbage(Reply::Raw(200, "application/json".to_owned(), other.to_string())).await;
}

#[tokio::test]
async fn an_answer_with_a_duplicate_key_is_not_passed_on() {
    let twice = r#"{"jsonrpc":"2.0","id":1,"result":{},"result":{"welcome":1}}"#;
    garbage(Reply::Raw(200, "application/json".to_owned(), twice.to_owned())).await;
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let text = "x".repeat(20 * 1024 * 1024);
    let endless = json!({"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": text}]}});
    garbage(Reply::Raw(200, "application/json".to_owned(), endless.to_string())).await;
}

#[tokio::test]
async fn a_stream_without_an_answer_is_not_passed_on_as_one() {
    let scene = Scene::modern().await;
    scene.server.set("read", Reply::Events(vec![Piece::Notification(progress())]));
    let answer = scene.client.call("read", json!({})).await;
    assert_eq!(answer.reason(), "upstream_invalid");
    assert_recorded(&scene, &answer).await;
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let scene = Scene::modern().await;
    let elsewhere = ScriptedServer::modern().tool("read", Reply::text("welcome")).start().await;
    scene.server.set("read", Reply::Redirect(elsewhere.url()));
    let answer = scene.client.call("read", json!({})).await;
    assert_refusal(&answer, INVALID);
    assert!(elsewhere.seen().is_empty(), "the gateway followed a redirect");
    assert_recorded(&scene, &answer).await;
}

#[tokio::test]
async fn a_server_error_is_told_as_such() {
    let scene = Scene::modern().await;
    scene.server.set("read", Reply::Raw(500, "text/plain".to_owned(), "stack trace: welcome".to_owned()));
    let answer = scene.client.call("read", json!({})).await;
    assert!(matches!(answer.status, 502 | 503), "{}", answer.body);
    assert!(["upstream_invalid", "upstream_unavailable"].contains(&answer.reason()), "{}", answer.body);
    assert!(!answer.body.contains("welcome"), "{}", answer.body);
    assert_recorded(&scene, &answer).await;
}

#[tokio::test]
async fn a_stream_that_stops_in_the_middle_ends_with_an_error() {
    let scene = Scene::modern().await;
    let stop = Arc::new(Notify::new());
    let pieces = vec![Piece::Notification(progress()), Piece::Until(Arc::clone(&stop)), Piece::Abort];
    scene.server.set("read", Reply::Events(pieces));
    let mut stream = scene.client.open("tools/call", json!({"name": "read", "arguments": {}})).await;
    assert_eq!(stream.next().await.map(|message| message["method"].clone()), Some(json!("notifications/progress")));
    stop.notify_one();
    let answer = stream.finish().await;
    assert_refusal(&answer, Refused { status: 200, ..INVALID });
    assert_recorded(&scene, &answer).await;
}

#[tokio::test]
async fn a_server_that_hangs_times_out() {
    let plan = Deployment::dev().argument("--no-demo").env("TOLLGATE_UPSTREAM_TIMEOUT", "1s");
    let scene = Scene::set(plan, &Era::Modern).await;
    scene.server.set("read", Reply::Hang);
    let answer = scene.client.call("read", json!({})).await;
    assert_refusal(&answer, Refused { status: 504, code: 50400, reason: "upstream_timeout" });
    assert_recorded(&scene, &answer).await;
}

#[tokio::test]
async fn a_tools_own_error_passes_unchanged() {
    let scene = Scene::modern().await;
    scene.server.set("read", Reply::Error(-32602, "no such file".to_owned()));
    let answer = scene.client.call("read", json!({})).await;
    assert_eq!(answer.status, 200);
    assert_eq!(*answer.error(), json!({"code": -32602, "message": "no such file"}));
    let record = scene.tollgate.usage_of(answer.call_id()).await;
    assert_eq!((record.decision.as_str(), record.outcome.as_str()), ("allowed", "rpc_error"));
}

async fn garbage(reply: Reply) {
    let scene = Scene::modern().await;
    scene.server.set("read", reply);
    let answer = scene.client.call("read", json!({})).await;
    assert_refusal(&answer, INVALID);
    assert!(!answer.body.contains("welcome"), "garbage was passed on: {}", answer.body);
    assert_recorded(&scene, &answer).await;
}

/// One record says what happened, the agent learns nothing of the server's address, and the next call is served.
async fn assert_recorded(scene: &Scene, answer: &McpAnswer) {
    scene.assert_tells_nothing(answer);
    let record = scene.tollgate.usage_of(answer.call_id()).await;
    assert_eq!(record.decision, "allowed", "Tollgate let the call pass");
    let outcome = if answer.reason() == "upstream_timeout" { "timeout" } else { "upstream_error" };
    assert_eq!(record.outcome, outcome);
    assert_eq!(record.http_status, i64::from(answer.status));
    if answer.reason() != "upstream_unavailable" {
        assert_eq!(scene.server.ledger(), [answer.call_id()], "the server saw the call once");
        scene.server.set("read", Reply::text("content"));
        scene.assert_goes_on().await;
    }
}

fn progress() -> serde_json::Value {
    json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1, "progress": 1}})
}
