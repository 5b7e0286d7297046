//! What bad requests get: a specific status, code and reason, one record, and nothing else happens.

use http::Method;
use serde_json::json;
use tollgate_tests::{Http, McpClient};

use crate::scene::{Refused, Scene, assert_refusal, modern_call};

const MALFORMED: Refused = Refused { status: 400, code: -32700, reason: "request_malformed" };
const INVALID: Refused = Refused { status: 400, code: -32600, reason: "request_malformed" };

#[tokio::test]
async fn malformed_json_is_refused() {
    let scene = Scene::modern().await;
    let answer = scene.client.post_as_call("read", r#"{"jsonrpc": "2.0", "id": 7, "method": "#).await;
    scene.assert_refused(&answer, MALFORMED).await;
}

#[tokio::test]
async fn a_duplicate_key_is_refused_wherever_it_is() {
    let scene = Scene::modern().await;
    let twice_named = modern_call("read").to_string().replace(r#""name":"read""#, r#""name":"read","name":"write""#);
    let answer = scene.client.post_as_call("read", twice_named).await;
    scene.assert_refused(&answer, MALFORMED).await;
}

#[tokio::test]
async fn a_duplicate_key_inside_the_arguments_is_refused() {
    let scene = Scene::modern().await;
    let twice = modern_call("read").to_string().replace(r#""arguments":{}"#, r#""arguments":{"p":"a","\u0070":"b"}"#);
    let answer = scene.client.post_as_call("read", twice).await;
    scene.assert_refused(&answer, MALFORMED).await;
}

#[tokio::test]
async fn a_batch_is_refused() {
    let scene = Scene::modern().await;
    let answer = scene.client.post_as_call("read", json!([modern_call("read")]).to_string()).await;
    scene.assert_refused(&answer, INVALID).await;
}

#[tokio::test]
async fn a_body_of_ten_mebibytes_is_refused() {
    let scene = Scene::modern().await;
    let mut message = modern_call("read");
    message["params"]["arguments"] = json!({"text": "x".repeat(10 * 1024 * 1024)});
    let answer = scene.client.post_as_call("read", message.to_string()).await;
    scene.assert_refused(&answer, Refused { status: 413, code: 41300, reason: "request_too_large" }).await;
}

#[tokio::test]
async fn a_wrong_media_type_is_refused() {
    let scene = Scene::modern().await;
    let headers = [
        ("accept", "application/json, text/event-stream"),
        ("content-type", "text/json"),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "read"),
    ];
    let answer = scene.client.post(&headers, modern_call("read").to_string()).await;
    scene.assert_refused(&answer, Refused { status: 415, code: 41500, reason: "media_type_unsupported" }).await;
}

#[tokio::test]
async fn a_header_that_contradicts_the_body_is_refused() {
    let scene = Scene::modern().await;
    let answer = scene.client.post_as_call("write", modern_call("read").to_string()).await;
    scene.assert_refused(&answer, Refused { status: 400, code: -32020, reason: "header_mismatch" }).await;
}

#[tokio::test]
async fn a_method_of_another_era_does_not_exist() {
    let scene = Scene::modern().await;
    let answer = scene.client.request("ping", json!({})).await;
    assert_eq!((answer.status, &answer.error()["code"]), (404, &json!(-32601)), "{}", answer.body);
    assert_eq!(answer.error()["data"]["call_id"], json!(answer.call_id()));
    scene.assert_goes_on().await;
}

#[tokio::test]
async fn a_tool_of_no_server_is_unknown() {
    let scene = Scene::modern().await;
    let client = scene.agent.at_all_servers().await;
    let answer = client.call("nowhere__read", json!({})).await;
    scene.assert_refused(&answer, Refused { status: 200, code: -32602, reason: "tool_unknown" }).await;
}

#[tokio::test]
async fn a_tool_that_is_not_granted_is_refused_with_the_scope_it_would_need() {
    let scene = Scene::modern().await;
    let answer = scene.client.call("write", json!({})).await;
    assert_eq!(answer.status, 403, "{}", answer.body);
    let challenge = answer.header("www-authenticate").expect("a challenge");
    assert!(challenge.contains(r#"error="insufficient_scope""#), "{challenge}");
    assert!(challenge.contains(r#"scope="files:write""#), "an administrator may say yes: {challenge}");
    let record = scene.tollgate.usage_of(answer.call_id()).await;
    assert_eq!((record.decision.as_str(), record.http_status), (answer.reason(), 403));
    assert!(["tool_not_granted", "scope_insufficient"].contains(&answer.reason()), "{}", answer.body);
    assert!(answer.body.contains("files:write"), "the missing scope is not named: {}", answer.body);
    assert!(scene.server.calls().is_empty());
    assert_eq!(scene.client.tool_names().await, ["read"]);
}

#[tokio::test]
async fn an_agent_that_has_nothing_to_do_with_a_server_is_not_sent_to_ask_for_it() {
    let scene = Scene::modern().await;
    let elsewhere = "kind: Server\napiVersion: tollgate/v1\nmetadata: {name: elsewhere}\n\
                     spec: {instances: [{url: \"http://127.0.0.1:9/mcp\"}]}\n";
    scene.tollgate.apply(elsewhere).await;
    let stranger = scene.tollgate.agent("stranger").grant("elsewhere:read").create().await.at_all_servers().await;
    let answer = stranger.call("files__write", json!({})).await;
    assert_eq!((answer.status, answer.reason()), (403, "tool_not_granted"), "{}", answer.body);
    let challenge = answer.header("www-authenticate").expect("a challenge");
    assert!(challenge.contains(r#"error="insufficient_scope""#) && !challenge.contains("scope=\"files"), "{challenge}");
}

#[tokio::test]
async fn a_page_of_another_origin_is_refused() {
    let scene = Scene::modern().await;
    let call = || modern_call("read").to_string();
    // A name that was made to lead here stands in `Host` too, and proves nothing there.
    let rebound = [("origin", "http://rebound.example"), ("host", "rebound.example")];
    let answer = scene.client.post_as_call_with(&rebound, "read", call()).await;
    scene.assert_refused(&answer, Refused { status: 403, code: 40300, reason: "origin_forbidden" }).await;
    let own = [("origin", scene.tollgate.data_url())];
    assert_eq!(scene.client.post_as_call_with(&own, "read", call()).await.status, 200);
}

#[tokio::test]
async fn an_unknown_server_does_not_exist() {
    let scene = Scene::modern().await;
    let elsewhere = McpClient::new(&scene.tollgate.server_url("nowhere"));
    let token = scene.agent.token(&scene.tollgate.federated_url()).await;
    let answer = elsewhere.with_token(&token).call("read", json!({})).await;
    scene.assert_refused(&answer, Refused { status: 404, code: 40400, reason: "server_unknown" }).await;
}

#[tokio::test]
async fn an_unknown_tenant_does_not_exist() {
    let scene = Scene::modern().await;
    let url = format!("{}/t/nobody/mcp", scene.tollgate.data_url());
    let token = scene.agent.token(&scene.tollgate.federated_url()).await;
    let answer = McpClient::new(&url).with_token(&token).call("read", json!({})).await;
    assert_refusal(&answer, Refused { status: 404, code: 40400, reason: "tenant_unknown" });
    assert!(!answer.body.contains("default"), "{}", answer.body);
    let call_id = answer.call_id();
    let question = format!("SELECT decision FROM unattributed_requests WHERE call_id = '{call_id}'");
    let decision = tollgate_tests::eventually("the record of a request to nobody", || async {
        scene.tollgate.sql(&question).await.pop()
    })
    .await;
    assert_eq!(decision, "tenant_unknown");
    scene.assert_goes_on().await;
}

#[tokio::test]
async fn the_data_plane_has_no_other_pages() {
    let scene = Scene::modern().await;
    let http = Http::default();
    for path in ["/", "/metrics", "/healthz", "/api/openapi.json", "/t/default", "/t/default/mcp/files/more"] {
        let answer = http.get(&format!("{}{path}", scene.tollgate.data_url())).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
    }
    let get = scene.client.open_raw(Method::GET, &[("accept", "text/event-stream")], "").await.finish().await;
    assert_eq!(get.status, 405, "{}", get.body);
    assert!(scene.server.calls().is_empty());
}
