//! What each kind of modern message gets: the HTTP status and the JSON-RPC code that 2026-07-28 gives it, with the
//! request's own id.

use http::Method;
use serde_json::{Value, json};
use tollgate_tests::{McpAnswer, McpClient, Reply};

use crate::scene::{Refused, Scene, assert_refusal, modern_call};

const MEDIA: [(&str, &str); 2] =
    [("accept", "application/json, text/event-stream"), ("content-type", "application/json")];
const MISMATCH: Refused = Refused { status: 400, code: -32020, reason: "header_mismatch" };

/// A whole modern request of any method.
fn request(method: &str, mut params: Value) -> Value {
    params["_meta"] = modern_call("read")["params"]["_meta"].clone();
    json!({"jsonrpc": "2.0", "id": "seven", "method": method, "params": params})
}

/// Posts with the headers that go with it.
async fn post(client: &McpClient, message: &Value, headers: &[(&str, &str)]) -> McpAnswer {
    client.post(&[&MEDIA, headers].concat(), message.to_string()).await
}

const fn standard(method: &str) -> [(&str, &str); 2] {
    [("mcp-protocol-version", "2026-07-28"), ("mcp-method", method)]
}

fn named<'a>(method: &'a str, name: &'a str) -> [(&'a str, &'a str); 3] {
    let [version, method] = standard(method);
    [version, method, ("mcp-name", name)]
}

async fn assert_refused_with_id(scene: &Scene, answer: &McpAnswer, expected: Refused) {
    scene.assert_refused(answer, expected).await;
    assert_eq!(answer.messages[0]["id"], json!("seven"), "{}", answer.body);
}

#[tokio::test]
async fn a_request_is_answered_with_200_and_its_own_id() {
    let scene = Scene::modern().await;
    for id in [json!("seven"), json!(7), json!(-9_007_199_254_740_991_i64), json!("")] {
        let mut call = modern_call("read");
        call["id"] = id.clone();
        let answer = scene.client.post_as_call("read", call.to_string()).await;
        assert_eq!((answer.status, &answer.messages[0]["id"]), (200, &id), "{}", answer.body);
    }
}

#[tokio::test]
async fn a_notification_is_accepted_with_202_and_no_body() {
    let scene = Scene::modern().await;
    let message = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}});
    let answer = post(&scene.client, &message, &standard("notifications/cancelled")).await;
    assert_eq!((answer.status, answer.body.as_str()), (202, ""));
    assert!(scene.server.seen().is_empty(), "the modern wire has no notification for servers");
    scene.assert_goes_on().await;
}

#[tokio::test]
async fn a_notification_that_contradicts_its_headers_is_refused_without_an_id() {
    let scene = Scene::modern().await;
    let message = json!({"jsonrpc": "2.0", "method": "notifications/cancelled"});
    let answer = post(&scene.client, &message, &standard("tools/call")).await;
    scene.assert_refused(&answer, MISMATCH).await;
    assert!(answer.messages[0]["id"].is_null(), "{}", answer.body);
}

#[tokio::test]
async fn a_request_without_metadata_is_refused() {
    let scene = Scene::modern().await;
    let headers = named("tools/call", "read");
    let missing = Refused { status: 400, code: -32602, reason: "missing_meta" };
    let mut bare = request("tools/call", json!({"name": "read"}));
    bare["params"].as_object_mut().expect("params").remove("_meta");
    let answer = post(&scene.client, &bare, &headers).await;
    assert_refused_with_id(&scene, &answer, missing).await;
}

#[tokio::test]
async fn a_request_without_capabilities_is_refused() {
    let scene = Scene::modern().await;
    let headers = named("tools/call", "read");
    let missing = Refused { status: 400, code: -32602, reason: "missing_meta" };
    let mut incapable = request("tools/call", json!({"name": "read"}));
    let meta = incapable["params"]["_meta"].as_object_mut().expect("_meta");
    meta.remove("io.modelcontextprotocol/clientCapabilities");
    let answer = post(&scene.client, &incapable, &headers).await;
    assert_refused_with_id(&scene, &answer, missing).await;
}

#[tokio::test]
async fn a_log_level_that_there_is_not_is_refused() {
    let scene = Scene::modern().await;
    let mut loud = request("tools/call", json!({"name": "read"}));
    loud["params"]["_meta"]["io.modelcontextprotocol/logLevel"] = json!("loud");
    let answer = post(&scene.client, &loud, &named("tools/call", "read")).await;
    let invalid = Refused { status: 400, code: -32602, reason: "invalid_params" };
    assert_refused_with_id(&scene, &answer, invalid).await;
}

#[tokio::test]
async fn every_header_that_is_missing_doubled_or_wrong_is_refused() {
    let scene = Scene::modern().await;
    let call = request("tools/call", json!({"name": "read"}));
    let [version, method, name] = named("tools/call", "read");
    for headers in [
        vec![method, name],
        vec![version, name],
        vec![version, method],
        vec![("mcp-protocol-version", "2025-11-25"), method, name],
        vec![version, ("mcp-method", "Tools/Call"), name],
        vec![version, method, ("mcp-name", "write")],
        vec![version, method, name, name],
        vec![version, version, method, name],
        vec![version, method, ("mcp-name", "=?base64?cmVhZA=?=")],
    ] {
        let answer = post(&scene.client, &call, &headers).await;
        assert_refusal(&answer, MISMATCH);
        assert_eq!(answer.messages[0]["id"], json!("seven"), "{headers:?}: {}", answer.body);
    }
    assert!(scene.server.seen().is_empty());
    let padded = [version, method, ("mcp-name", "  read\t")];
    assert_eq!(post(&scene.client, &call, &padded).await.status, 200, "white space around a value is no part of it");
    let encoded = [version, method, ("mcp-name", "=?base64?cmVhZA==?=")];
    assert_eq!(post(&scene.client, &call, &encoded).await.status, 200);
}

#[tokio::test]
async fn a_version_that_is_not_served_is_told_which_are() {
    let scene = Scene::modern().await;
    for requested in ["2027-01-01", "1999-01-01"] {
        let mut call = request("tools/call", json!({"name": "read"}));
        call["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!(requested);
        let headers = [("mcp-protocol-version", requested), ("mcp-method", "tools/call"), ("mcp-name", "read")];
        let answer = post(&scene.client, &call, &headers).await;
        assert_refusal(&answer, Refused { status: 400, code: -32022, reason: "unsupported_protocol_version" });
        assert_eq!(answer.messages[0]["id"], json!("seven"), "{}", answer.body);
        let data = &answer.error()["data"];
        assert_eq!(data["requested"], json!(requested));
        assert_eq!(data["supported"], json!(["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"]));
    }
}

#[tokio::test]
async fn a_capability_that_the_server_needs_is_told_as_the_server_tells_it() {
    let scene = Scene::modern().await;
    let needed = json!({"requiredCapabilities": {"elicitation": {"form": {}}}});
    let error = json!({"code": -32021, "message": "elicitation is needed", "data": needed});
    let body = json!({"jsonrpc": "2.0", "id": 7, "error": error}).to_string();
    scene.server.set("read", Reply::Raw(400, "application/json".to_owned(), body));
    let answer = scene.client.post_as_call("read", modern_call("read").to_string()).await;
    assert_eq!((answer.status, answer.error()), (400, &error), "{}", answer.body);
    assert_eq!(answer.messages[0]["id"], json!(7));
}

#[tokio::test]
async fn what_the_modern_wire_does_not_know_is_not_found() {
    let scene = Scene::modern().await;
    let unknown = Refused { status: 404, code: -32601, reason: "unknown_method" };
    for method in [
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
        "tasks/list",
        "tasks/result",
        "vendor/method",
        "Tools/List",
    ] {
        let answer = post(&scene.client, &request(method, json!({})), &standard(method)).await;
        assert_refusal(&answer, unknown);
        assert_eq!(answer.messages[0]["id"], json!("seven"), "{method}: {}", answer.body);
    }
    assert!(scene.server.seen().is_empty(), "a server saw what MCP does not have");
    scene.assert_goes_on().await;
}

#[tokio::test]
async fn other_verbs_than_post_are_not_allowed_on_the_modern_wire() {
    let scene = Scene::modern().await;
    for verb in [Method::GET, Method::DELETE, Method::PUT] {
        let headers = [("accept", "text/event-stream"), ("mcp-protocol-version", "2026-07-28")];
        let answer = scene.client.open_raw(verb.clone(), &headers, "").await.finish().await;
        assert_eq!(answer.status, 405, "{verb}: {}", answer.body);
        assert!(answer.header("allow").is_some_and(|allowed| allowed.contains("POST")), "{verb}");
    }
}

#[tokio::test]
async fn who_is_not_identified_gets_401_and_the_way_to_a_token() {
    let scene = Scene::modern().await;
    let call = request("tools/call", json!({"name": "read"}));
    for client in [scene.client.clone().without_token(), scene.client.clone().with_token("nonsense")] {
        let answer = post(&client, &call, &named("tools/call", "read")).await;
        assert_eq!((answer.status, &answer.error()["code"]), (401, &json!(40100)), "{}", answer.body);
        assert_eq!(answer.messages[0]["id"], json!("seven"));
        let challenge = answer.header("www-authenticate").expect("a challenge");
        assert!(challenge.contains("resource_metadata="), "{challenge}");
    }
}

#[tokio::test]
async fn what_is_not_granted_gets_403_and_the_scope() {
    let scene = Scene::modern().await;
    let call = request("tools/call", json!({"name": "write"}));
    let answer = post(&scene.client, &call, &named("tools/call", "write")).await;
    assert_eq!((answer.status, &answer.messages[0]["id"]), (403, &json!("seven")), "{}", answer.body);
    let challenge = answer.header("www-authenticate").expect("a challenge");
    for part in ["error=\"insufficient_scope\"", "scope=\"files:write\"", "resource_metadata=\"http"] {
        assert!(challenge.contains(part), "{part} is not in {challenge}");
    }
}

#[tokio::test]
async fn errors_of_servers_pass_with_the_requests_id() {
    let scene = Scene::modern().await;
    for code in [-32602, -32603, -32000, 17] {
        scene.server.set("read", Reply::Error(code, "it says".to_owned()));
        let answer =
            post(&scene.client, &request("tools/call", json!({"name": "read"})), &named("tools/call", "read")).await;
        assert_eq!((answer.status, &answer.messages[0]["id"]), (200, &json!("seven")), "{}", answer.body);
        assert_eq!(*answer.error(), json!({"code": code, "message": "it says"}));
    }
}

#[tokio::test]
async fn a_refusal_of_what_can_be_read_carries_the_id_of_the_request() {
    let scene = Scene::modern().await;
    let call = request("tools/call", json!({"name": "read"})).to_string();
    let not_acceptable = [("accept", "application/json"), ("content-type", "application/json")];
    let answer = scene.client.post(&[&not_acceptable[..], &named("tools/call", "read")].concat(), call.clone()).await;
    assert_refused_with_id(&scene, &answer, Refused { status: 406, code: 40600, reason: "not_acceptable" }).await;
}

#[tokio::test]
async fn a_wrong_type_in_params_is_refused_with_the_requests_id() {
    let scene = Scene::modern().await;
    let wrong = request("tools/call", json!({"name": ["read"]}));
    let answer = post(&scene.client, &wrong, &named("tools/call", "read")).await;
    assert_refused_with_id(&scene, &answer, Refused { status: 400, code: -32602, reason: "request_malformed" }).await;
}

#[tokio::test]
async fn the_question_for_the_era_gets_no_status_that_means_legacy() {
    let scene = Scene::modern().await;
    scene.tollgate.limit("ci", 1, "10m").await;
    let discover = request("server/discover", json!({}));
    let headers = standard("server/discover");
    for client in [scene.client.clone(), scene.agent.at_all_servers().await] {
        for _ in 0..3 {
            let answer = post(&client, &discover, &headers).await;
            assert_eq!(answer.status, 200, "it is not limited: {}", answer.body);
        }
    }
    let mut large = discover.clone();
    large["params"]["padding"] = json!("x".repeat(5 * 1024 * 1024));
    let answer = post(&scene.client, &large, &headers).await;
    assert_refusal(&answer, Refused { status: 503, code: 41300, reason: "request_too_large" });
    assert!(answer.header("retry-after").is_some());
    let token = scene.agent.token(&scene.tollgate.federated_url()).await;
    let nowhere = McpClient::new(&scene.tollgate.server_url("nowhere")).with_token(&token);
    let answer = post(&nowhere, &discover, &headers).await;
    assert_refusal(&answer, Refused { status: 503, code: 40400, reason: "server_unknown" });
    let nobody = format!("{}/t/nobody/mcp", scene.tollgate.data_url());
    let answer = post(&McpClient::new(&nobody).with_token(&token), &discover, &headers).await;
    assert_refusal(&answer, Refused { status: 503, code: 40400, reason: "tenant_unknown" });
}
