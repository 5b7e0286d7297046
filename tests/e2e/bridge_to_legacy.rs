//! Modern agents at legacy servers: what the agent sees is its own era, what the server sees is its own.

use serde_json::{Value, json};
use tokio::sync::Notify;
use tollgate_tests::{
    Agent, Deployment, Era, McpAnswer, McpClient, NodeClient, Piece, PythonClient, RealServer, Reply, ScriptedServer,
    eventually_true,
};

use crate::scene::{Refused, Scene, assert_refusal, end_the_time_of};

mod listening;
mod parked;

const STATE_UNKNOWN: Refused = Refused { status: 200, code: -32602, reason: "request_state_unknown" };

/// Two data planes, a scripted legacy server, and the agent's client at each data plane.
async fn at_two() -> (Scene, McpClient, McpClient) {
    let scene = Scene::set(Deployment::separate(2), &Era::Legacy).await;
    let here = scene.client.clone().through(scene.tollgate.data_plane_url(0));
    let there = scene.client.clone().through(scene.tollgate.data_plane_url(1));
    (scene, here, there)
}

#[tokio::test]
async fn a_modern_client_calls_a_legacy_server_in_one_upstream_session() {
    let (scene, here, there) = at_two().await;
    for client in [&here, &there, &here] {
        let answer = client.call("read", json!({})).await;
        assert_eq!((answer.status, answer.text()), (200, "content"), "{}", answer.body);
        assert_eq!(answer.result()["resultType"], "complete");
        assert_eq!(answer.result()["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "scripted");
    }
    assert_eq!(there.tool_names().await, ["read"], "and only what is granted is listed");
    let seen = scene.server.seen();
    let handshakes = seen.iter().filter(|seen| seen.message["method"] == "initialize").count();
    assert_eq!(handshakes, 1, "both data planes use the session that one of them opened");
    for call in scene.server.calls() {
        assert_eq!(call.header("mcp-session-id"), Some("scripted-1"));
        assert_eq!(call.header("mcp-protocol-version"), Some("2025-11-25"));
        assert!(call.header("mcp-method").is_none() && call.header("mcp-name").is_none());
        let meta = call.message["params"]["_meta"].as_object().expect("trace context");
        assert!(meta.keys().all(|key| !key.starts_with("io.modelcontextprotocol/")), "{meta:?}");
    }
    let ids: std::collections::BTreeSet<String> =
        scene.server.calls().iter().map(|call| call.message["id"].to_string()).collect();
    assert_eq!(ids.len(), 3, "no id comes twice in a session");
}

#[tokio::test]
async fn an_upstream_session_that_no_call_uses_for_long_is_ended_once() {
    let (scene, here, there) = at_two().await;
    for client in [&here, &there] {
        assert_eq!(client.call("read", json!({})).await.text(), "content");
    }
    end_the_time_of(&scene.tollgate, "bridge", "until");
    let ended = || scene.server.seen().into_iter().filter(|seen| seen.http_method == "DELETE").collect::<Vec<_>>();
    eventually_true("the server to hear of it", || async { !ended().is_empty() }).await;
    assert_eq!(here.call("read", json!({})).await.text(), "content", "in another session");
    assert_eq!(scene.server.calls()[2].header("mcp-session-id"), Some("scripted-2"));
    assert_eq!(ended().iter().map(|seen| seen.header("mcp-session-id")).collect::<Vec<_>>(), [Some("scripted-1")]);
}

#[tokio::test]
async fn a_server_hears_what_the_agent_declared_and_other_capabilities_have_a_session_of_their_own() {
    let scene = Scene::legacy().await;
    scene.client.call("read", json!({})).await;
    let meta = json!({"io.modelcontextprotocol/clientCapabilities": {"sampling": {}, "roots": {}}});
    let answer = scene.client.request("tools/call", json!({"name": "read", "arguments": {}, "_meta": meta})).await;
    assert_eq!(answer.text(), "content");
    let seen = scene.server.seen();
    let declared: Vec<Value> = seen
        .iter()
        .filter(|seen| seen.message["method"] == "initialize")
        .map(|seen| seen.message["params"]["capabilities"].clone())
        .collect();
    assert_eq!(declared, [json!({"elicitation": {"form": {}}}), json!({"sampling": {}, "roots": {}})]);
    let sessions: Vec<_> =
        scene.server.calls().iter().map(|call| call.header("mcp-session-id").map(str::to_owned)).collect();
    assert_ne!(sessions[0], sessions[1]);
}

#[tokio::test]
async fn agents_share_no_upstream_session() {
    let scene = Scene::legacy().await;
    let other = scene.tollgate.agent("other").grant("files:read").create().await;
    scene.client.call("read", json!({})).await;
    other.at_server("files").await.call("read", json!({})).await;
    let sessions: Vec<_> =
        scene.server.calls().iter().map(|call| call.header("mcp-session-id").map(str::to_owned)).collect();
    assert_ne!(sessions[0], sessions[1]);
}

#[tokio::test]
async fn discover_tells_what_the_handshake_told() {
    let scene = Scene::legacy().await;
    let answer = scene.client.request("server/discover", json!({})).await;
    let result = answer.result();
    assert_eq!(result["supportedVersions"][0], "2026-07-28");
    assert_eq!(result["capabilities"], json!({"tools": {}}));
    assert_eq!((result["ttlMs"].clone(), result["cacheScope"].clone()), (json!(0), json!("private")));
    assert_eq!(result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "scripted");
}

#[tokio::test]
async fn errors_keep_their_meaning_and_progress_its_token() {
    let scene = Scene::legacy().await;
    for (given, status, code) in
        [(-32002, 200, -32602), (-32601, 404, -32601), (-32050, 200, -32603), (-32000, 200, -32000)]
    {
        scene.server.set("read", Reply::Error(given, "no".to_owned()));
        let answer = scene.client.call("read", json!({})).await;
        assert_eq!((answer.status, answer.error()["code"].clone()), (status, json!(code)), "{given}: {}", answer.body);
    }
    let elsewhere = json!({"jsonrpc": "2.0", "method": "notifications/progress",
                           "params": {"progressToken": "nobody's", "progress": 1}});
    let logged =
        json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "error", "data": "x"}});
    let pieces =
        vec![Piece::Notification(elsewhere), Piece::Notification(logged), Piece::Result(json!({"content": []}))];
    scene.server.set("read", Reply::Events(pieces));
    let answer = scene.client.call("read", json!({})).await;
    assert!(answer.messages.iter().all(|message| message.get("method").is_none()), "{}", answer.body);
    assert_eq!(answer.result()["content"], json!([]));
}

#[tokio::test]
async fn a_session_that_the_server_forgot_is_opened_again_and_the_tool_runs_once() {
    let (scene, here, there) = at_two().await;
    here.call("read", json!({})).await;
    let gone = "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32000,\"message\":\"No valid session\"}}";
    scene.server.set("read", Reply::Raw(400, "application/json".to_owned(), gone.to_owned()));
    let lost = there.call("read", json!({})).await;
    assert_refusal(&lost, Refused { status: 502, code: 50200, reason: "upstream_invalid" });
    scene.server.set("read", Reply::text("content"));
    assert_eq!(here.call("read", json!({})).await.text(), "content");
    let handshakes = scene.server.seen().iter().filter(|seen| seen.message["method"] == "initialize").count();
    assert_eq!(handshakes, 2, "one at first, and one in place of the forgotten one");
}

#[tokio::test]
async fn an_agent_that_hangs_up_cancels_the_call_at_the_server() {
    let scene = Scene::legacy().await;
    let never = std::sync::Arc::new(Notify::new());
    let progress = json!({"jsonrpc": "2.0", "method": "notifications/x", "params": {}});
    scene.server.set("read", Reply::Events(vec![Piece::Notification(progress), Piece::Until(never)]));
    let stream = scene.client.open("tools/call", json!({"name": "read", "arguments": {}})).await;
    assert_eq!(stream.status, 200);
    drop(stream);
    eventually_true("the server to hear that nobody waits", || async {
        let call = scene.server.calls()[0].message["id"].clone();
        scene.server.seen().iter().any(|seen| {
            seen.message["method"] == "notifications/cancelled" && seen.message["params"]["requestId"] == call
        })
    })
    .await;
}

/// `server-everything` behind two data planes, and an agent that may use all of it.
async fn everything() -> (Deployment, RealServer, Agent) {
    let tollgate = Deployment::separate(2).start().await;
    tollgate.allow_loopback_servers().await;
    let server = RealServer::everything().await;
    tollgate.register_url("everything", &server.url()).await;
    let agent = tollgate.agent("ci").grant("everything:*").create().await;
    (tollgate, server, agent)
}

#[tokio::test]
async fn the_everything_server_serves_a_modern_client_at_both_data_planes() {
    let (tollgate, _server, agent) = everything().await;
    let client = agent.at_server("everything").await;
    let (here, there) =
        (client.clone().through(tollgate.data_plane_url(0)), client.through(tollgate.data_plane_url(1)));
    assert_eq!(here.call("echo", json!({"message": "hello"})).await.text(), "Echo: hello");
    let resources = there.request("resources/list", json!({})).await;
    let uri = resources.result()["resources"][0]["uri"].as_str().expect("a resource").to_owned();
    let read = here.request("resources/read", json!({"uri": uri})).await;
    assert_eq!(read.result()["cacheScope"], "private", "{}", read.body);
    let prompts = there.request("prompts/list", json!({})).await;
    assert!(prompts.result()["prompts"].as_array().is_some_and(|prompts| !prompts.is_empty()));
    let prompt = here.request("prompts/get", json!({"name": "simple-prompt"})).await;
    assert_eq!(prompt.result()["resultType"], "complete", "{}", prompt.body);
    let reference = json!({"type": "ref/prompt", "name": "completable-prompt"});
    let argument = json!({"name": "department", "value": "E"});
    let completed = there.request("completion/complete", json!({"ref": reference, "argument": argument})).await;
    assert_eq!(completed.result()["completion"]["values"][0], "Engineering", "{}", completed.body);
    let meta = json!({"progressToken": 7});
    let arguments = json!({"duration": 1, "steps": 2});
    let params = json!({"name": "trigger-long-running-operation", "arguments": arguments, "_meta": meta});
    let long = there.request("tools/call", params).await;
    let progress: Vec<Value> =
        long.messages.iter().filter(|said| said["method"] == "notifications/progress").cloned().collect();
    assert_eq!(progress.len(), 2, "{}", long.body);
    assert!(progress.iter().all(|said| said["params"]["progressToken"] == 7));
}

/// What both SDKs do, and what comes of it at the reference server.
fn steps() -> Value {
    json!([
        {"list": true},
        {"call": "echo", "arguments": {"message": "hello"}},
        {"call": "trigger-long-running-operation", "arguments": {"duration": 1, "steps": 2}},
        {"call": "trigger-elicitation-request"},
        {"call": "trigger-sampling-request", "arguments": {"prompt": "What is six by nine?", "maxTokens": 10}},
    ])
}

fn assert_steps(outcome: &Value) {
    let steps = &outcome["steps"];
    let tools = steps[0]["tools"].as_array().unwrap_or_else(|| panic!("a list of tools: {outcome}"));
    assert!(tools.contains(&json!("trigger-elicitation-request")), "the server knows that it may ask: {outcome}");
    assert_eq!(steps[1]["text"], "Echo: hello", "{outcome}");
    assert_eq!(steps[2]["progress"].as_array().map(Vec::len), Some(2), "{outcome}");
    assert!(steps[3]["text"].as_str().is_some_and(|text| text.contains("Ada")), "{outcome}");
    assert!(steps[4]["text"].as_str().is_some_and(|text| text.contains("forty-two")), "{outcome}");
}

#[tokio::test]
async fn the_python_sdk_in_the_modern_era_is_asked_by_the_everything_server() {
    let (tollgate, _server, agent) = everything().await;
    let url = tollgate.server_url("everything");
    let answer = json!({"action": "accept", "content": {"name": "Ada", "check": true}});
    let request = json!({"url": url, "mode": "2026-07-28", "token": agent.token(&url).await, "answer": answer,
                         "sample": "forty-two", "steps": steps()});
    let outcome = PythonClient.run(&request).await;
    assert_eq!(outcome["protocol_version"], "2026-07-28", "{outcome}");
    assert_steps(&outcome);
}

#[tokio::test]
async fn the_typescript_sdk_in_the_modern_era_is_asked_by_the_everything_server() {
    let (tollgate, _server, agent) = everything().await;
    let url = tollgate.server_url("everything");
    let answer = json!({"action": "accept", "content": {"name": "Ada", "check": true}});
    let request = json!({"url": url, "era": "auto", "token": agent.token(&url).await, "answer": answer,
                         "sample": "forty-two", "steps": steps()});
    let outcome = NodeClient.run(&request).await;
    assert_eq!(outcome["protocolVersion"], "2026-07-28", "{outcome}");
    assert_steps(&outcome);
}
