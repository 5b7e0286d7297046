//! Arguments that travel in headers too, as the schemas of tools ask for it.

use serde_json::{Value, json};
use tollgate_tests::{McpAnswer, McpClient, Reply, ScriptedServer};

use crate::scene::{Refused, Scene, assert_refusal, modern_call};

const MISMATCH: Refused = Refused { status: 400, code: -32020, reason: "header_mismatch" };

/// A list with the tools `read`, whose argument `region` this annotation mirrors, and `write`.
fn list(annotation: &str) -> Reply {
    let region = json!({"type": "string", "x-mcp-header": annotation});
    Reply::Result(json!({
        "tools": [
            {"name": "read", "inputSchema": {"type": "object", "properties": {"region": region}}},
            {"name": "write", "inputSchema": {"type": "object"}},
        ],
        "ttlMs": 0,
        "cacheScope": "public",
    }))
}

fn plain_list() -> Reply {
    let tools = json!([{"name": "read", "inputSchema": {"type": "object"}}]);
    Reply::Result(json!({"tools": tools, "ttlMs": 0, "cacheScope": "public"}))
}

async fn call(client: &McpClient, tool: &str, arguments: Value, headers: &[(&str, &str)]) -> McpAnswer {
    let mut call = modern_call(tool);
    call["params"]["arguments"] = arguments;
    client.post_as_call_with(headers, tool, call.to_string()).await
}

fn regions(server: &ScriptedServer) -> Vec<Option<String>> {
    server.calls().iter().map(|call| call.header("mcp-param-region").map(str::to_owned)).collect()
}

#[tokio::test]
async fn headers_that_say_what_the_arguments_say_reach_the_server() {
    let scene = Scene::modern().await;
    scene.server.set_method("tools/list", list("Region"));
    let arguments = json!({"region": "größe"});
    for (endpoint, tool) in [(&scene.client, "read"), (&scene.agent.at_all_servers().await, "files__read")] {
        let headers = [("mcp-param-region", "=?base64?Z3LDtsOfZQ==?="), ("mcp-param-unknown", "x")];
        let answer = call(endpoint, tool, arguments.clone(), &headers).await;
        assert_eq!(answer.text(), "content");
    }
    assert_eq!(regions(&scene.server), vec![Some("=?base64?Z3LDtsOfZQ==?=".to_owned()); 2]);
    let unknown: Vec<_> = scene.server.calls().iter().map(|call| call.header("mcp-param-unknown").is_some()).collect();
    assert_eq!(unknown, [true, true], "what the gateway does not know is the server's to judge");
}

#[tokio::test]
async fn headers_that_contradict_the_arguments_are_refused() {
    let scene = Scene::modern().await;
    scene.server.set_method("tools/list", list("Region"));
    let arguments = json!({"region": "eu"});
    for headers in [
        vec![("mcp-param-region", "us")],
        vec![("mcp-param-region", "=?base64?ZXU?=")],
        vec![("mcp-param-region", "eu"), ("mcp-param-region", "eu")],
    ] {
        assert_refusal(&call(&scene.client, "read", arguments.clone(), &headers).await, MISMATCH);
    }
    let invented = call(&scene.client, "read", json!({}), &[("mcp-param-region", "eu")]).await;
    assert_refusal(&invented, MISMATCH);
    // The schema is known by now, and so is what is missing.
    assert_refusal(&call(&scene.client, "read", arguments, &[]).await, MISMATCH);
    assert!(scene.server.calls().is_empty());
    assert_eq!(call(&scene.client, "read", json!({"region": null}), &[]).await.text(), "content");
}

#[tokio::test]
async fn a_server_that_changed_its_schema_is_asked_again_with_the_headers_it_wants() {
    let scene = Scene::modern().await;
    scene.server.set_method("tools/list", plain_list());
    assert_eq!(scene.client.tool_names().await, ["read"]);
    scene.server.set_method("tools/list", list("Region"));
    let refusal = Reply::Refusal(400, -32020, "Mcp-Param-Region is missing".to_owned());
    scene.server.set("read", Reply::Then(Box::new(refusal), Box::new(Reply::text("content"))));
    let answer = call(&scene.client, "read", json!({"region": "eu"}), &[]).await;
    assert_eq!(answer.text(), "content");
    assert_eq!(regions(&scene.server), [None, Some("eu".to_owned())]);
    let record = scene.tollgate.usage_of(answer.call_id()).await;
    assert_eq!((record.decision.as_str(), record.outcome.as_str()), ("allowed", "ok"));
}

#[tokio::test]
async fn a_server_that_refuses_the_same_headers_is_not_asked_again() {
    let scene = Scene::modern().await;
    scene.server.set_method("tools/list", plain_list());
    scene.server.set("read", Reply::Refusal(400, -32020, "it is never right".to_owned()));
    let answer = call(&scene.client, "read", json!({}), &[]).await;
    assert_eq!((answer.status, &answer.error()["code"]), (400, &json!(-32020)), "{}", answer.body);
    assert_eq!(scene.server.calls().len(), 1);
}

#[tokio::test]
async fn a_tool_whose_annotation_breaks_a_rule_is_listed_nowhere() {
    let scene = Scene::modern().await;
    let agent = scene.tollgate.agent("cd").grant("files:*").create().await;
    let (single, everything) = (agent.at_server("files").await, agent.at_all_servers().await);
    for broken in ["two words", "", "a\r\nb"] {
        scene.server.set_method("tools/list", list(broken));
        assert_eq!(single.tool_names().await, ["write"], "{broken}");
        assert_eq!(everything.tool_names().await, ["files__write"], "{broken}");
    }
    scene.server.set_method("tools/list", list("Region"));
    assert_eq!(single.tool_names().await, ["read", "write"]);
}
