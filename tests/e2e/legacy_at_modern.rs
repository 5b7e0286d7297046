//! Legacy clients at servers that speak only the modern era: the session is the gateway's, and everything that happens
//! in it may happen at any data plane.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tollgate_tests::{Balancer, Deployment, Era, McpClient, McpStream, Piece, RealServer, Reply, TrialClient};

use crate::scene::Scene;

const VERSION: &str = "2025-11-25";

/// Two data planes, a modern server, and a legacy session of the agent `ci`.
async fn setting() -> (Scene, McpClient) {
    let scene = Scene::set(Deployment::separate(2), &Era::Modern).await;
    let session = scene.client.initialize(VERSION).await;
    (scene, session)
}

fn elsewhere(scene: &Scene, session: &McpClient) -> McpClient {
    session.clone().through(scene.tollgate.data_plane_url(1))
}

fn asks(questions: &Value) -> Reply {
    Reply::Result(json!({"resultType": "input_required", "inputRequests": questions, "requestState": "round"}))
}

/// One reply after the other, the last one for good.
fn turns<const N: usize>(replies: [Reply; N]) -> Reply {
    let later = |rest, first| Reply::Then(Box::new(first), Box::new(rest));
    replies.into_iter().rev().reduce(later).expect("a script has a reply")
}

fn form(message: &str) -> Value {
    json!({"method": "elicitation/create", "params": {
        "mode": "form", "message": message, "requestedSchema": {"type": "object", "properties": {}},
    }})
}

fn accepted(content: &Value) -> Value {
    json!({"action": "accept", "content": content})
}

async fn begin(session: &McpClient) -> McpStream {
    session.open("tools/call", json!({"name": "read", "arguments": {}})).await
}

async fn answer(session: &McpClient, question: &Value, result: &Value) {
    let reply = json!({"jsonrpc": "2.0", "id": question["id"], "result": result});
    assert_eq!(session.send_message(&reply).await.status, 202);
}

#[tokio::test]
async fn a_legacy_client_uses_a_modern_server_in_a_session_of_the_gateways() {
    let (scene, session) = setting().await;
    assert_eq!(session.tool_names().await, ["read"]);
    let answer = elsewhere(&scene, &session).call("read", json!({})).await;
    assert_eq!(*answer.result(), json!({"content": [{"type": "text", "text": "content"}]}), "nothing of the other era");
    let call = &scene.server.calls()[0];
    assert_eq!(call.header("mcp-session-id"), None);
    assert_eq!(call.header("mcp-protocol-version"), Some("2026-07-28"));
    assert_eq!(call.header("mcp-method"), Some("tools/call"));
    assert_eq!(call.header("mcp-name"), Some("read"));
    let meta = &call.message["params"]["_meta"];
    assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
    assert_eq!(meta["io.modelcontextprotocol/clientCapabilities"], json!({"elicitation": {}}));
    assert_eq!(meta["io.modelcontextprotocol/clientInfo"]["name"], "story");
    assert!(scene.server.seen().iter().all(|seen| seen.message["method"] != "initialize"));
    assert!(matches!(session.terminate().await.status, 200 | 204));
    assert_eq!(session.call("read", json!({})).await.status, 404);
}

#[tokio::test]
async fn a_servers_question_is_answered_at_another_data_plane() {
    let (scene, session) = setting().await;
    let questions = json!({"1 how many": form("How many?"), "2 where": form("Where to?")});
    scene.server.set("read", turns([asks(&questions), asks(&json!({"sure": form("Sure?")})), Reply::text("sold")]));
    let mut stream = begin(&session).await;
    let first = stream.next().await.expect("the first question");
    let second = stream.next().await.expect("the second question");
    assert_eq!(first["method"], "elicitation/create");
    assert_eq!(first["params"]["message"], "How many?");
    assert_ne!(first["id"], second["id"]);
    let other = elsewhere(&scene, &session);
    answer(&other, &second, &accepted(&json!({"to": "here"}))).await;
    answer(&session, &first, &accepted(&json!({"count": 3}))).await;
    let third = stream.next().await.expect("the question of another round");
    // An answer of the round before, once more: it counts for nothing.
    answer(&other, &first, &accepted(&json!({"count": 4}))).await;
    answer(&other, &third, &json!({"action": "decline"})).await;
    let answer = stream.finish().await;
    assert_eq!(answer.text(), "sold");
    let calls = scene.server.calls();
    assert_eq!(calls.len(), 3, "one request for each round and one for the answer");
    let of = |call: usize, member: &str| calls[call].message["params"].get(member).cloned();
    assert_eq!((of(0, "inputResponses"), of(0, "requestState")), (None, None));
    let given = json!({"1 how many": accepted(&json!({"count": 3})), "2 where": accepted(&json!({"to": "here"}))});
    assert_eq!((of(1, "inputResponses"), of(1, "requestState")), (Some(given), Some(json!("round"))));
    assert_eq!(of(2, "inputResponses"), Some(json!({"sure": {"action": "decline"}})));
    assert!(calls[0].message["id"] != calls[1].message["id"] && calls[1].message["id"] != calls[2].message["id"]);
    let record = scene.tollgate.usage_of(answer.call_id()).await;
    assert_eq!((record.outcome.as_str(), record.decision.as_str()), ("ok", "allowed"));
}

#[tokio::test]
async fn only_the_session_that_was_asked_can_answer() {
    let (scene, session) = setting().await;
    scene.server.set("read", turns([asks(&json!({"q": form("Who?")})), Reply::text("done")]));
    let mut stream = begin(&session).await;
    let question = stream.next().await.expect("a question");
    let thief = scene.tollgate.agent("thief").grant("files:read").create().await;
    let thief = thief.at_server("files").await.initialize(VERSION).await;
    answer(&thief, &question, &accepted(&json!({"name": "thief"}))).await;
    let own_other = scene.client.initialize(VERSION).await;
    answer(&own_other, &question, &accepted(&json!({"name": "another session"}))).await;
    answer(&session, &question, &accepted(&json!({"name": "agent"}))).await;
    assert_eq!(stream.finish().await.text(), "done");
    let given = scene.server.calls()[1].message["params"]["inputResponses"].clone();
    assert_eq!(given, json!({"q": accepted(&json!({"name": "agent"}))}));
}

#[tokio::test]
async fn an_agent_that_refuses_to_answer_cancels_the_question() {
    let (scene, session) = setting().await;
    scene.server.set("read", turns([asks(&json!({"q": form("Who?")})), Reply::text("done")]));
    let mut stream = begin(&session).await;
    let question = stream.next().await.expect("a question");
    let refusal = json!({"jsonrpc": "2.0", "id": question["id"], "error": {"code": -32601, "message": "no"}});
    assert_eq!(elsewhere(&scene, &session).send_message(&refusal).await.status, 202);
    assert_eq!(stream.finish().await.text(), "done");
    let given = scene.server.calls()[1].message["params"]["inputResponses"].clone();
    assert_eq!(given, json!({"q": {"action": "cancel"}}));
}

#[tokio::test]
async fn an_agent_is_never_asked_what_it_cannot_answer() {
    let (scene, session) = setting().await;
    scene.server.set("read", asks(&json!({"q": {"method": "sampling/createMessage", "params": {"messages": []}}})));
    let answer = session.call("read", json!({})).await;
    assert_eq!(answer.result()["isError"], true);
    assert!(answer.text().contains("sampling"), "{}", answer.text());
    assert_eq!(scene.server.calls().len(), 1);
}

#[tokio::test]
async fn a_server_that_asks_without_end_is_not_followed() {
    let (scene, session) = setting().await;
    scene.server.set("read", asks(&json!({"q": form("Again?")})));
    let mut stream = begin(&session).await;
    let mut rounds = 0;
    let error = loop {
        let message = stream.next().await.expect("a question or the end");
        if message.get("error").is_some() {
            break message;
        }
        rounds += 1;
        answer(&session, &message, &json!({"action": "decline"})).await;
    };
    assert_eq!((rounds, &error["error"]["code"]), (16, &json!(-32603)));
    assert_eq!(scene.server.calls().len(), 17);
}

#[tokio::test]
async fn a_server_that_only_wants_to_be_asked_again_is() {
    let (scene, session) = setting().await;
    let later = Reply::Result(json!({"resultType": "input_required", "requestState": "later"}));
    scene.server.set("read", turns([later, Reply::text("now")]));
    assert_eq!(session.call("read", json!({})).await.text(), "now");
    let retry = scene.server.calls()[1].message["params"].clone();
    assert_eq!((retry["requestState"].as_str(), retry.get("inputResponses")), (Some("later"), None));
}

#[tokio::test]
async fn what_a_server_does_not_know_ends_no_session() {
    let (scene, session) = setting().await;
    // The server answers 404 with a JSON-RPC error, as its era has it.
    let everything = scene.tollgate.agent("reader").grant("files:*").create().await;
    let everything = everything.at_server("files").await.initialize(VERSION).await;
    let answer = everything.request("prompts/list", json!({})).await;
    assert_eq!((answer.status, &answer.error()["code"]), (200, &json!(-32601)));
    assert_eq!(everything.call("read", json!({})).await.text(), "content");
    let unheard_of = session.request("resources/subscribe", json!({"uri": "a://b"})).await;
    assert_eq!(unheard_of.status, 403, "subscriptions are granted with the whole server");
    let unheard_of = everything.request("resources/subscribe", json!({"uri": "a://b"})).await;
    assert_eq!((unheard_of.status, &unheard_of.error()["code"]), (200, &json!(-32601)));
}

#[tokio::test]
async fn the_log_level_of_a_session_is_told_with_every_request() {
    let (scene, session) = setting().await;
    let level_of = |call: usize| {
        let meta = &scene.server.calls()[call].message["params"]["_meta"];
        meta.get("io.modelcontextprotocol/logLevel").cloned()
    };
    session.call("read", json!({})).await;
    assert_eq!(level_of(0), None);
    assert_eq!(*session.request("logging/setLevel", json!({"level": "warning"})).await.result(), json!({}));
    elsewhere(&scene, &session).call("read", json!({})).await;
    assert_eq!(level_of(1), Some(json!("warning")));
    let wrong = session.request("logging/setLevel", json!({"level": "loud"})).await;
    assert_eq!(wrong.error()["code"], json!(-32602));
}

#[tokio::test]
async fn progress_and_log_messages_pass_and_nothing_else_does() {
    let (scene, session) = setting().await;
    let notice =
        |method: &str| json!({"jsonrpc": "2.0", "method": method, "params": {"progressToken": "p", "progress": 1}});
    let question = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
    scene.server.set(
        "read",
        Reply::Events(vec![
            Piece::Notification(notice("notifications/progress")),
            Piece::Notification(notice("notifications/tools/list_changed")),
            Piece::Bytes(format!("data: {question}\n\n")),
            Piece::Notification(notice("notifications/message")),
            Piece::Result(json!({"content": [{"type": "text", "text": "done"}]})),
        ]),
    );
    let answer = session.request("tools/call", json!({"name": "read", "_meta": {"progressToken": "p"}})).await;
    let heard: Vec<_> = answer.messages.iter().filter_map(|message| message["method"].as_str()).collect();
    assert_eq!(heard, ["notifications/progress", "notifications/message"]);
    assert_eq!(answer.text(), "done");
    assert_eq!(scene.server.calls()[0].message["params"]["_meta"]["progressToken"], "p");
}

#[tokio::test]
async fn what_a_server_says_of_itself_is_kept_for_whom_it_allows() {
    for (scope, asked) in [("public", 1), ("private", 2)] {
        let scene = Scene::set(Deployment::dev().argument("--no-demo"), &Era::Modern).await;
        let spec = json!({"instances": [{"url": scene.server.url()}], "era": "modern"});
        let registered = json!({"spec": spec});
        scene.tollgate.put("servers/files", registered).await;
        scene.tollgate.policy_in_force().await;
        let other = scene.tollgate.agent("other").grant("files:read").create().await.at_server("files").await;
        let discovered = json!({"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}},
                                "ttlMs": 3_600_000, "cacheScope": scope});
        scene.server.set_method("server/discover", Reply::Result(discovered));
        for client in [&scene.client, &scene.client, &other, &other] {
            client.initialize(VERSION).await;
        }
        let of_calls = |seen: &&tollgate_tests::Seen| seen.message["id"] == "tollgate-discover";
        assert_eq!(scene.server.seen().iter().filter(of_calls).count(), asked, "{scope}");
    }
}

#[tokio::test]
async fn a_request_is_cancelled_through_another_data_plane() {
    let (scene, session) = setting().await;
    let progress =
        json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1, "progress": 1}});
    let never = Piece::Until(Arc::new(Notify::new()));
    let running = Reply::Events(vec![Piece::Notification(progress), never]);
    for reply in [running, asks(&json!({"q": form("Who?")}))] {
        scene.server.set("read", reply);
        let mut stream = begin(&session).await;
        let call_id = stream.headers["tollgate-call-id"].to_str().expect("ids are text").to_owned();
        stream.next().await.expect("the call runs");
        let id = scene.server.calls().last().expect("a call").message["id"].clone();
        let cancelled = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}});
        assert_eq!(elsewhere(&scene, &session).send_message(&cancelled).await.status, 202);
        assert_eq!(stream.next().await, None, "a cancelled request has no answer");
        assert_eq!(scene.tollgate.usage_of(&call_id).await.outcome, "abandoned");
    }
}

#[tokio::test]
async fn questions_reach_an_agent_at_the_endpoint_of_all_servers() {
    let scene = Scene::set(Deployment::separate(2), &Era::Modern).await;
    let session = scene.agent.at_all_servers().await.initialize(VERSION).await;
    assert_eq!(session.tool_names().await, ["files__read"]);
    scene.server.set("read", turns([asks(&json!({"q": form("Who?")})), Reply::text("done")]));
    let mut stream = session.open("tools/call", json!({"name": "files__read", "arguments": {}})).await;
    let question = stream.next().await.expect("a question");
    answer(&elsewhere(&scene, &session), &question, &accepted(&json!({"name": "x"}))).await;
    assert_eq!(stream.finish().await.text(), "done");
    assert_eq!(scene.server.calls()[1].header("mcp-name"), Some("read"));
}

#[tokio::test]
async fn a_redis_cluster_carries_questions_and_sessions_between_data_planes() {
    let scene = Scene::set(Deployment::separate(2).on_redis_cluster(), &Era::Modern).await;
    let session = scene.client.initialize("2025-06-18").await;
    let other = elsewhere(&scene, &session);
    for data_plane in [&session, &other] {
        scene.server.set("read", turns([asks(&json!({"q": form("Who?")})), Reply::text("done")]));
        let mut stream = begin(data_plane).await;
        let question = stream.next().await.expect("a question");
        assert_eq!(question["params"].get("mode"), None, "this revision knows no modes");
        answer(&other, &question, &accepted(&json!({"name": "x"}))).await;
        assert_eq!(stream.finish().await.text(), "done");
    }
}

#[tokio::test]
async fn the_typescript_sdk_of_before_uses_modern_servers_of_both_sdks() {
    let (python, typescript) = (RealServer::python().await, RealServer::typescript().await);
    let balancer = Balancer::start().await;
    let tollgate = Deployment::separate(2).balanced_by(&balancer).start().await;
    tollgate.allow_loopback_servers().await;
    for (name, server) in [("python", &python), ("typescript", &typescript)] {
        let spec = json!({"instances": [{"url": server.url()}], "era": "modern"});
        tollgate.put(&format!("servers/{name}"), json!({"spec": spec})).await;
    }
    let agent = tollgate.agent("ci").grant("python:*").grant("typescript:*").create().await;
    for name in ["python", "typescript"] {
        let url = tollgate.server_url(name);
        let step = |tool: &str| json!({"name": tool, "arguments": {}});
        let request = json!({
            "url": url, "token": agent.token(&url).await,
            "content": {"username": "Ann Example", "email": "ann@example.com"},
            "tool": step("test_simple_text"), "resource": "test://static-text", "prompt": "test_simple_prompt",
            "progress": step("test_tool_with_progress"), "elicitation": step("test_elicitation"),
            "subscription": {"uri": "test://static-text", "touch": step("test_touch_resource")},
        });
        let facts = TrialClient::TypeScript1.run(&request).await;
        assert_eq!(facts["protocol_version"], VERSION, "{name}: {facts}");
        assert!(facts["tools"]["listed"].as_array().is_some_and(|tools| tools.len() >= 4), "{name}: {facts}");
        assert_eq!(facts["progress"]["reports"], 3, "{name}: {facts}");
        assert_eq!(facts["elicitation"]["asked"], 1, "{name}: {facts}");
        assert!(
            facts["elicitation"]["text"].as_str().is_some_and(|text| text.contains("Ann Example")),
            "{name}: {facts}"
        );
        assert!(facts["resources"]["text"].is_string() && facts["prompts"]["messages"] == 1, "{name}: {facts}");
        assert_eq!(facts["subscriptions"]["uri"], "test://static-text", "{name}: {facts}");
    }
}

#[tokio::test]
async fn a_session_outlives_the_data_plane_whose_call_was_asking() {
    let (mut scene, session) = setting().await;
    scene.server.set("read", turns([asks(&json!({"q": form("Who?")})), Reply::text("done")]));
    let other = elsewhere(&scene, &session);
    let mut stream = begin(&other).await;
    let question = stream.next().await.expect("a question");
    scene.tollgate.crash_data_plane(1);
    answer(&session, &question, &accepted(&json!({"name": "too late"}))).await;
    assert_eq!(session.call("read", json!({})).await.text(), "done", "the session goes on");
    assert_eq!(scene.server.calls().len(), 2, "nobody went on with the call that was lost");
    scene.tollgate.start_data_plane(1).await;
}
