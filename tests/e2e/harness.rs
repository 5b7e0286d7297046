//! The harness itself: what stands in for the world behaves like the world.

use serde_json::json;
use tollgate_tests::{Piece, PythonClient, RealServer, Redis, Reply, ScriptedServer};

#[tokio::test]
async fn the_official_client_takes_the_scripted_server_for_a_server_in_each_era() {
    let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress",
                          "params": {"progressToken": "none", "progress": 1}});
    let streamed =
        vec![Piece::Notification(progress), Piece::Result(json!({"content": [{"type": "text", "text": "streamed"}]}))];
    for (script, mode) in [
        (ScriptedServer::modern(), "2026-07-28"),
        (ScriptedServer::modern(), "auto"),
        (ScriptedServer::legacy(), "legacy"),
        (ScriptedServer::legacy(), "auto"),
    ] {
        let server = script.tool("read", Reply::text("content")).tool("watch", Reply::Events(streamed.clone()));
        let server = server.start().await;
        let steps = json!([{"list": true}, {"call": "read"}, {"call": "watch"}]);
        let outcome = PythonClient.run(&json!({"url": server.url(), "mode": mode, "token": "x", "steps": steps})).await;
        assert_eq!(outcome["steps"][0]["tools"], json!(["read", "watch"]), "{mode}: {outcome}");
        assert_eq!(outcome["steps"][1]["text"], "content", "{mode}: {outcome}");
        assert_eq!(outcome["steps"][2]["text"], "streamed", "{mode}: {outcome}");
        assert_eq!(server.calls().len(), 2);
    }
}

#[tokio::test]
async fn real_servers_start() {
    let _redis = Redis::start().await;
    let server = RealServer::everything().await;
    let steps = json!([{"call": "echo", "arguments": {"message": "hello"}}]);
    let outcome = PythonClient.run(&json!({"url": server.url(), "mode": "legacy", "token": "x", "steps": steps})).await;
    assert_eq!(outcome["steps"][0]["text"], "Echo: hello", "{outcome}");
}
