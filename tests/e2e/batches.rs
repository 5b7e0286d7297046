//! Several messages in one body: legal in one revision, and as many calls as there are messages.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tollgate_tests::{McpAnswer, McpClient, Piece, Reply};

use crate::scene::{Refused, Scene, assert_refusal};

const ILLEGAL: Refused = Refused { status: 400, code: -32600, reason: "request_malformed" };

fn request(id: &str, method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

fn call(id: &str, tool: &str) -> Value {
    request(id, "tools/call", &json!({"name": tool, "arguments": {}}))
}

fn notification() -> Value {
    json!({"jsonrpc": "2.0", "method": "notifications/roots/list_changed"})
}

/// The answers by id, however they came.
fn answers(answer: &McpAnswer) -> BTreeMap<String, Value> {
    let all = answer.messages.iter().flat_map(|message| message.as_array().cloned().unwrap_or(vec![message.clone()]));
    let answers = all.filter(|message| message.get("id").is_some());
    answers.map(|message| (message["id"].as_str().unwrap_or_default().to_owned(), message.clone())).collect()
}

#[tokio::test]
async fn each_message_of_a_batch_is_a_call_of_its_own() {
    let scene = Scene::legacy().await;
    let session = scene.client.initialize("2025-03-26").await;
    let batch = json!([
        call("a", "read"),
        call("b", "write"),
        request("c", "tools/list", &json!({})),
        notification(),
        request("d", "ping", &json!({}))
    ]);
    let answer = session.send_message(&batch).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{}", answer.body);
    let answers = answers(&answer);
    assert_eq!(answers.keys().collect::<Vec<_>>(), ["a", "b", "c", "d"], "{}", answer.body);
    assert_eq!(answers["a"]["result"]["content"][0]["text"], json!("content"));
    assert_eq!(answers["b"]["error"]["code"], json!(40300), "{}", answer.body);
    assert_eq!(answers["c"]["result"]["tools"].as_array().map(Vec::len), Some(1), "{}", answer.body);
    assert_eq!(answers["d"]["result"], json!({}));
    let ledger = scene.server.ledger();
    assert_eq!(ledger.len(), 1, "what is granted reached the server once");
    assert_eq!(scene.tollgate.usage_of(&ledger[0]).await.decision, "allowed");
    let refused = answers["b"]["error"]["data"]["call_id"].as_str().expect("a refusal has a call id");
    assert_eq!(scene.tollgate.usage_of(refused).await.decision, answers["b"]["error"]["data"]["reason"]);
}

#[tokio::test]
async fn each_message_of_a_batch_is_charged() {
    let scene = Scene::legacy().await;
    let session = scene.client.initialize("2025-03-26").await;
    scene.tollgate.limit("ci", 2, "10m").await;
    let batch: Vec<Value> = ["a", "b", "c", "d"].map(|id| call(id, "read")).into();
    let answers = answers(&session.send_message(&json!(batch)).await);
    let limited = answers.values().filter(|answer| answer["error"]["code"] == json!(42900)).count();
    assert_eq!((answers.len(), limited), (4, 2), "{answers:?}");
    assert_eq!(scene.server.calls().len(), 2);
}

#[tokio::test]
async fn a_batch_with_a_stream_in_it_is_a_stream() {
    let scene = Scene::legacy().await;
    let session = scene.client.initialize("2025-03-26").await;
    let progress =
        json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1, "progress": 1}});
    let result = json!({"content": [{"type": "text", "text": "streamed"}]});
    scene.server.set("read", Reply::Events(vec![Piece::Notification(progress.clone()), Piece::Result(result)]));
    let batch = json!([call("a", "read"), request("b", "ping", &json!({})), call("c", "read")]);
    let answer = session.send_message(&batch).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/event-stream")), "{}", answer.body);
    assert_eq!(answer.messages.iter().filter(|message| **message == progress).count(), 2, "{}", answer.body);
    let answers = answers(&answer);
    assert_eq!(answers["a"]["result"]["content"][0]["text"], json!("streamed"), "{}", answer.body);
    assert_eq!(answers["c"]["result"]["content"][0]["text"], json!("streamed"), "{}", answer.body);
    assert_eq!(answers["b"]["result"], json!({}));
}

#[tokio::test]
async fn a_batch_without_requests_is_accepted() {
    let scene = Scene::legacy().await;
    let session = scene.client.initialize("2025-03-26").await;
    for batch in [
        json!([notification(), notification()]),
        json!([{"jsonrpc": "2.0", "id": 1, "result": {}}, {"jsonrpc": "2.0", "id": 2, "result": {}}]),
    ] {
        let answer = session.send_message(&batch).await;
        assert_eq!((answer.status, answer.body.as_str()), (202, ""), "{batch}");
    }
}

#[tokio::test]
async fn a_batch_outside_a_session_that_has_batches_is_refused_whole() {
    let scene = Scene::legacy().await;
    let batch = json!([call("a", "read"), call("b", "read")]);
    for version in ["2025-06-18", "2025-11-25"] {
        let session = scene.client.initialize(version).await;
        assert_refusal(&session.send_message(&batch).await, ILLEGAL);
        // Without the header only the session knows its revision.
        let id = session.session_id().expect("a session has an id");
        let headers = [
            ("accept", "application/json, text/event-stream"),
            ("content-type", "application/json"),
            ("mcp-session-id", id),
        ];
        assert_refusal(&session.post(&headers, batch.to_string()).await, ILLEGAL);
    }
    assert_refusal(&scene.client.send_message(&batch).await, ILLEGAL);
    assert!(scene.server.calls().is_empty());
}

#[tokio::test]
async fn a_batch_that_cannot_be_one_is_refused_whole() {
    let scene = Scene::legacy().await;
    let session = scene.client.initialize("2025-03-26").await;
    let initialize = request("i", "initialize", &json!({"protocolVersion": "2025-03-26", "capabilities": {}}));
    let answered = json!({"jsonrpc": "2.0", "id": "r", "result": {}});
    let crowd: Vec<Value> = (0..65).map(|id| call(&id.to_string(), "read")).collect();
    for batch in [
        json!([]),
        json!([call("a", "read"), initialize]),
        json!([call("a", "read"), call("a", "read")]),
        json!([call("a", "read"), answered]),
        json!([call("a", "read"), "b"]),
        json!([[call("a", "read")]]),
        json!(crowd),
    ] {
        assert_refusal(&session.send_message(&batch).await, ILLEGAL);
    }
    assert!(scene.server.calls().is_empty());
    assert_eq!(session.call("read", json!({})).await.text(), "content");
}

#[tokio::test]
async fn a_batch_in_another_agents_session_is_not_found() {
    let scene = Scene::legacy().await;
    let session = scene.client.initialize("2025-03-26").await;
    let thief = scene.tollgate.agent("cd").grant("files:read").create().await.at_server("files").await;
    let thief: McpClient = thief.with_session("2025-03-26", session.session_id().expect("a session has an id"));
    let answer = thief.send_message(&json!([call("a", "read")])).await;
    assert_refusal(&answer, Refused { status: 404, code: 40400, reason: "session_unknown" });
    assert!(scene.server.calls().is_empty());
}
