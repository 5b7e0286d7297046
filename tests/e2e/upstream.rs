//! What a server behind the gateway gets to see.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::Notify;
use tollgate_tests::{Piece, Reply};

use crate::scene::Scene;

#[tokio::test]
async fn the_agents_token_never_reaches_a_server() {
    let scene = Scene::modern().await;
    let answer = scene.client.call("read", json!({})).await;
    assert_eq!(answer.text(), "content");
    for seen in scene.server.seen() {
        assert_eq!(seen.header("authorization"), None);
        assert_eq!(seen.header("cookie"), None);
    }
}

#[tokio::test]
async fn a_server_sees_the_call_id_and_the_trace() {
    let scene = Scene::modern().await;
    let trace_id = "4bf92f3577b34da6a3ce929d0e0e4736";
    let caller = format!("00-{trace_id}-00f067aa0ba902b7-01");
    let params = json!({"name": "read", "arguments": {}, "_meta": {"traceparent": caller, "example.com/own": 1}});
    let answer = scene.client.request("tools/call", params).await;
    assert_eq!(answer.text(), "content");
    let call = &scene.server.calls()[0];
    assert_eq!(call.header("tollgate-call-id"), Some(answer.call_id()));
    let traceparent = call.message["params"]["_meta"]["traceparent"].as_str().expect("trace context is injected");
    assert!(traceparent.contains(trace_id), "{traceparent} goes on with the caller's trace");
    assert_ne!(traceparent, caller, "the gateway's own span is the parent");
    assert_eq!(call.header("traceparent"), Some(traceparent));
    assert_eq!(call.message["params"]["_meta"]["example.com/own"], 1);
}

#[tokio::test]
async fn arguments_arrive_byte_for_byte() {
    let scene = Scene::modern().await;
    let arguments = r#"{"z":1.0,"a":[1e2,-0.0,12345678901234567890],"text":"\u00e9 / \/"}"#;
    let body = crate::scene::modern_call("read")
        .to_string()
        .replace(r#""arguments":{}"#, &format!(r#""arguments":{arguments}"#));
    let answer = scene.client.post_as_call("read", body).await;
    assert_eq!(answer.text(), "content");
    assert!(scene.server.calls()[0].body.contains(arguments), "{}", scene.server.calls()[0].body);
}

#[tokio::test]
async fn a_stream_is_passed_on_while_it_runs() {
    let scene = Scene::modern().await;
    let release = Arc::new(Notify::new());
    let notification = json!({"jsonrpc": "2.0", "method": "notifications/progress",
                              "params": {"progressToken": "p", "progress": 1, "example.com/own": true}});
    scene.server.set(
        "read",
        Reply::Events(vec![
            Piece::Notification(notification.clone()),
            Piece::Until(Arc::clone(&release)),
            Piece::Result(json!({"content": [{"type": "text", "text": "content"}]})),
        ]),
    );
    let params = json!({"name": "read", "arguments": {}, "_meta": {"progressToken": "p"}});
    let mut stream = scene.client.open("tools/call", params).await;
    assert_eq!(stream.next().await, Some(notification), "it arrives before the server is done");
    release.notify_one();
    let answer = stream.finish().await;
    assert_eq!(answer.text(), "content");
}

#[tokio::test]
async fn an_agent_that_goes_away_is_recorded_as_such() {
    let scene = Scene::modern().await;
    let never = Arc::new(Notify::new());
    let notification = json!({"jsonrpc": "2.0", "method": "notifications/progress",
                              "params": {"progressToken": "p", "progress": 1}});
    scene.server.set("read", Reply::Events(vec![Piece::Notification(notification), Piece::Until(never)]));
    let mut stream = scene.client.open("tools/call", json!({"name": "read", "arguments": {}})).await;
    let call_id = stream.headers["tollgate-call-id"].to_str().expect("ids are text").to_owned();
    stream.next().await.expect("the first notification");
    drop(stream);
    assert_eq!(scene.tollgate.usage_of(&call_id).await.outcome, "abandoned");
}

#[tokio::test]
async fn unknown_members_of_a_result_survive() {
    let scene = Scene::modern().await;
    let result =
        json!({"resultType": "complete", "content": [{"type": "hologram", "depth": 3}], "example.com/own": [1]});
    scene.server.set("read", Reply::Result(result.clone()));
    assert_eq!(*scene.client.call("read", json!({})).await.result(), result);
}
