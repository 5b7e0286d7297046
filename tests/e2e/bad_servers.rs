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

#[tokio::test]
async fn a_stream_without_end_is_cut_off() {
    let line = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": "x".repeat(1 << 20)}});
    endless(&format!("data: {line}\n\n")).await;
}

#[tokio::test]
async fn a_line_without_end_is_cut_off() {
    endless(&"x".repeat(1 << 16)).await;
}

#[tokio::test]
async fn an_event_of_a_hundred_megabytes_is_cut_off() {
    endless(&format!("data: {}\n", "x".repeat(1 << 20))).await;
}

#[tokio::test]
async fn comments_without_end_are_cut_off() {
    endless(&format!(": {}\n\n", "x".repeat(1 << 16))).await;
}

#[tokio::test]
async fn a_list_after_a_stream_without_end_is_cut_off() {
    let scene = Scene::modern().await;
    let line = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": "x".repeat(1 << 20)}});
    let forever = Reply::Events(vec![Piece::Forever(format!("data: {line}\n\n"))]);
    scene.server.set_method("tools/list", forever);
    assert_refusal(&scene.client.request("tools/list", json!({})).await, INVALID);
    scene.assert_goes_on().await;
}

#[tokio::test]
async fn a_second_answer_to_one_request_is_heard_by_nobody() {
    let scene = Scene::modern().await;
    let result = |text: &str| Piece::Result(json!({"content": [{"type": "text", "text": text}]}));
    scene.server.set("read", Reply::Events(vec![Piece::Notification(progress()), result("first"), result("second")]));
    let answer = scene.client.call("read", json!({})).await;
    assert_eq!(answer.text(), "first");
    assert!(!answer.body.contains("second"), "{}", answer.body);
    let record = scene.tollgate.usage_of(answer.call_id()).await;
    assert_eq!((record.decision.as_str(), record.outcome.as_str()), ("allowed", "ok"));
    scene.server.set("read", Reply::text("content"));
    scene.assert_goes_on().await;
}

#[tokio::test]
async fn an_answer_after_the_agent_went_away_is_heard_by_nobody() {
    let scene = Scene::modern().await;
    let late = Arc::new(Notify::new());
    let welcome = Piece::Result(json!({"content": [{"type": "text", "text": "welcome"}]}));
    let pieces = vec![Piece::Notification(progress()), Piece::Until(Arc::clone(&late)), welcome];
    scene.server.set("read", Reply::Events(pieces));
    let mut stream = scene.client.open("tools/call", json!({"name": "read", "arguments": {}})).await;
    assert!(stream.next().await.is_some());
    let call_id = stream.headers["tollgate-call-id"].to_str().expect("an id is text").to_owned();
    drop(stream);
    assert_eq!(scene.tollgate.usage_of(&call_id).await.outcome, "abandoned");
    late.notify_one();
    scene.server.set("read", Reply::text("content"));
    let other = scene.tollgate.agent("cd").grant("files:read").create().await.at_server("files").await;
    for client in [&scene.client, &other] {
        let answer = client.call("read", json!({})).await;
        assert_eq!(answer.text(), "content");
        assert!(!answer.body.contains("welcome"), "{}", answer.body);
    }
}

#[tokio::test]
async fn an_answer_to_another_agents_request_is_heard_by_neither() {
    let scene = Scene::modern().await;
    let free = Arc::new(Notify::new());
    let pieces = vec![Piece::Notification(progress()), Piece::Until(Arc::clone(&free)), Piece::Result(json!({}))];
    scene.server.set("read", Reply::Events(pieces));
    let mut waiting = scene.client.open("tools/call", json!({"name": "read", "arguments": {}})).await;
    assert!(waiting.next().await.is_some());
    let crossed = json!({"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": "welcome"}]}});
    let other = scene.tollgate.agent("cd").grant("files:read").create().await.at_server("files").await;
    scene.server.set("read", Reply::Events(vec![Piece::Bytes(format!("data: {crossed}\n\n"))]));
    assert_eq!(other.request("tools/list", json!({})).await.status, 200, "its next request has another id than 1");
    let answer = other.call("read", json!({})).await;
    assert_refusal(&answer, Refused { status: 502, ..INVALID });
    assert!(!answer.body.contains("welcome"), "{}", answer.body);
    free.notify_one();
    let answer = waiting.finish().await;
    assert!(!answer.body.contains("welcome"), "{}", answer.body);
    assert!(answer.result().is_object());
}

#[tokio::test]
async fn a_list_that_goes_in_a_circle_is_left_out() {
    let scene = Scene::modern().await;
    let page =
        |next: &str| Reply::Result(json!({"tools": [], "nextCursor": next, "ttlMs": 0, "cacheScope": "private"}));
    let circle = Reply::Then(page("a").into(), Box::new(Reply::Then(page("b").into(), page("a").into())));
    scene.server.set_method("tools/list", circle);
    let everything = scene.agent.at_all_servers().await;
    let answer = everything.request("tools/list", json!({})).await;
    assert_eq!(answer.result()["tools"], json!([]), "{}", answer.body);
    let left_out = json!([{"server": "files", "reason": "upstream_invalid"}]);
    assert_eq!(answer.result()["_meta"]["io.tollgate/left-out"], left_out);
    let asked = scene.server.seen().iter().filter(|seen| seen.message["method"] == "tools/list").count();
    assert_eq!(asked, 3, "the circle is walked once");
}

#[tokio::test]
async fn a_body_that_contradicts_its_media_type_is_not_passed_on() {
    let answer = json!({"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": "welcome"}]}});
    garbage(Reply::Raw(200, "application/json".to_owned(), format!("event: message\ndata: {answer}\n\n"))).await;
}

#[tokio::test]
async fn json_that_is_said_to_be_a_stream_is_not_passed_on() {
    let scene = Scene::modern().await;
    let answer = json!({"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": "welcome"}]}});
    scene.server.set("read", Reply::Raw(200, "text/event-stream".to_owned(), answer.to_string()));
    let answer = scene.client.call("read", json!({})).await;
    assert_eq!(answer.reason(), "upstream_invalid");
    assert!(!answer.body.contains("welcome"), "{}", answer.body);
    assert_recorded(&scene, &answer).await;
}

#[tokio::test]
async fn a_session_id_that_is_not_visible_text_opens_no_session() {
    let scene = Scene::legacy().await;
    let welcome = json!({
        "protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "scripted", "version": "1"},
    });
    for id in [&b"tab\tinside"[..], b"space inside", b"\xffbeyond", b"", &[b'x'; 2000]] {
        let reply = Reply::Header("mcp-session-id", id.to_vec(), Box::new(Reply::Result(welcome.clone())));
        scene.server.set_method("initialize", reply);
        let answer = scene.client.try_initialize("2025-11-25").await;
        assert_refusal(&answer, INVALID);
        assert!(answer.header("mcp-session-id").is_none());
    }
}

/// A stream with this in it again and again ends for the agent with an error; how much memory that took is bounded.
async fn endless(text: &str) {
    let scene = Scene::modern().await;
    scene.server.set("read", Reply::Events(vec![Piece::Notification(progress()), Piece::Forever(text.to_owned())]));
    let mut stream = scene.client.open("tools/call", json!({"name": "read", "arguments": {}})).await;
    let call_id = stream.headers["tollgate-call-id"].to_str().expect("an id is text").to_owned();
    let mut last = json!(null);
    while let Some(message) = stream.next().await {
        last = message;
    }
    assert_eq!(last["error"]["data"]["reason"], json!("upstream_invalid"), "{last}");
    let record = scene.tollgate.usage_of(&call_id).await;
    assert_eq!((record.decision.as_str(), record.outcome.as_str()), ("allowed", "upstream_error"));
    scene.server.set("read", Reply::text("content"));
    scene.assert_goes_on().await;
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
