//! Servers of the oldest transport: an event stream by GET, and messages POSTed to the address that it announces.

use serde_json::{Value, json};
use tollgate_tests::{
    Agent, Deployment, McpClient, McpStream, Piece, Plan, PythonClient, RealServer, Reply, ScriptedServer,
};

use crate::scene::{Refused, Scene, assert_refusal};

async fn setting(plan: Plan, server: &RealServer) -> (Deployment, Agent) {
    let tollgate = plan.start().await;
    tollgate.allow_loopback_servers().await;
    tollgate.register_url("old", &server.url()).await;
    let agent = tollgate.agent("ci").grant("old:*").create().await;
    (tollgate, agent)
}

fn dev() -> Plan {
    Deployment::dev().argument("--no-demo")
}

/// Hears a server's question in the middle of a call, and answers it as `client`.
async fn answer_question(stream: &mut McpStream, client: &McpClient, content: &Value) {
    let asked = loop {
        let message = stream.next().await.expect("the server asks before it answers");
        if message["method"] == json!("elicitation/create") {
            break message;
        }
    };
    let result = json!({"action": "accept", "content": content});
    let taken = client.send_message(&json!({"jsonrpc": "2.0", "id": asked["id"], "result": result})).await;
    assert_eq!(taken.status, 202, "{}", taken.body);
}

#[tokio::test]
async fn a_server_of_the_typescript_sdk_is_reached_over_its_stream() {
    let server = RealServer::everything_over_sse().await;
    let (tollgate, agent) = setting(dev(), &server).await;
    for client in [agent.at_server("old").await, agent.at_all_servers().await] {
        let session = client.initialize("2025-11-25").await;
        let names = session.tool_names().await;
        let echo = names.iter().find(|name| name.ends_with("echo")).expect("it has an echo").clone();
        let answer = session.call(&echo, json!({"message": "hello"})).await;
        assert_eq!(answer.text(), "Echo: hello");
        assert_eq!(tollgate.usage_of(answer.call_id()).await.outcome, "ok");
    }
}

#[tokio::test]
async fn progress_comes_with_the_call_that_it_is_of() {
    let server = RealServer::python_over_sse().await;
    let (_tollgate, agent) = setting(dev(), &server).await;
    let session = agent.at_server("old").await.initialize("2025-06-18").await;
    let count = |token: &str| json!({"name": "count", "arguments": {"to": 3}, "_meta": {"progressToken": token}});
    let (one, other) =
        tokio::join!(session.request("tools/call", count("one")), session.request("tools/call", count("other")));
    for (answer, token) in [(one, "one"), (other, "other")] {
        assert_eq!(answer.text(), "counted to 3");
        let tokens: Vec<_> =
            answer.messages.iter().filter_map(|message| message["params"]["progressToken"].as_str()).collect();
        assert_eq!(tokens, [token; 3], "{}", answer.body);
    }
}

#[tokio::test]
async fn a_question_in_the_middle_of_a_call_is_answered() {
    let server = RealServer::python_over_sse().await;
    let (_tollgate, agent) = setting(dev(), &server).await;
    let session = agent.at_server("old").await.initialize("2025-11-25").await;
    let mut stream = session.open("tools/call", json!({"name": "ask", "arguments": {}})).await;
    answer_question(&mut stream, &session, &json!({"colour": "green"})).await;
    assert_eq!(stream.finish().await.text(), "accept: green");
}

#[tokio::test]
async fn the_python_sdks_client_talks_to_the_python_sdks_oldest_server() {
    let server = RealServer::python_over_sse().await;
    let (tollgate, agent) = setting(dev(), &server).await;
    let url = tollgate.server_url("old");
    let request = json!({
        "url": url, "mode": "legacy", "token": agent.token(&url).await,
        "answer": {"action": "accept", "content": {"colour": "blue"}},
        "steps": [{"list": true}, {"call": "echo", "arguments": {"message": "hello"}}, {"call": "ask", "arguments": {}}],
    });
    let outcome = PythonClient.run(&request).await;
    let steps = &outcome["steps"];
    assert_eq!(steps[0]["tools"].as_array().map(Vec::len), Some(3), "{outcome}");
    assert_eq!(steps[1]["text"], "Echo: hello", "{outcome}");
    assert_eq!(steps[2]["text"], "accept: blue", "{outcome}");
}

#[tokio::test]
async fn any_data_plane_serves_a_session_whose_stream_another_one_holds() {
    let server = RealServer::python_over_sse().await;
    let (mut tollgate, agent) = setting(Deployment::separate(2), &server).await;
    let session = agent.at_server("old").await.initialize("2025-11-25").await;
    let elsewhere = session.clone().through(tollgate.data_plane_url(1));
    for client in [&elsewhere, &session, &elsewhere] {
        assert_eq!(client.call("echo", json!({"message": "hello"})).await.text(), "Echo: hello");
    }
    for (asking, answering) in [(&elsewhere, &session), (&session, &elsewhere)] {
        let mut stream = asking.open("tools/call", json!({"name": "ask", "arguments": {}})).await;
        answer_question(&mut stream, answering, &json!({"colour": "red"})).await;
        assert_eq!(stream.finish().await.text(), "accept: red");
    }
    tollgate.crash_data_plane(0);
    let answer = elsewhere.call("echo", json!({"message": "hello"})).await;
    assert_refusal(&answer, Refused { status: 404, code: 40400, reason: "session_unknown" });
    let again = elsewhere.initialize("2025-11-25").await;
    assert_eq!(again.call("echo", json!({"message": "hello"})).await.text(), "Echo: hello");
}

#[tokio::test]
async fn a_modern_client_reaches_the_oldest_servers_too() {
    let server = RealServer::python_over_sse().await;
    let (tollgate, agent) = setting(Deployment::separate(2), &server).await;
    let client = agent.at_server("old").await;
    let elsewhere = client.clone().through(tollgate.data_plane_url(1));
    for client in [&client, &elsewhere] {
        assert_eq!(client.call("echo", json!({"message": "hello"})).await.text(), "Echo: hello");
    }
}

/// A server that answers `initialize` as those of the oldest transport do, and whose stream begins with `first`.
async fn older(first: &str, then: Vec<Piece>) -> Scene {
    let scene = Scene::legacy().await;
    scene.server.set_method("initialize", Reply::Raw(405, "text/plain".to_owned(), "Method Not Allowed".to_owned()));
    scene.server.set_method("GET", Reply::Events([vec![Piece::Bytes(first.to_owned())], then].concat()));
    scene
}

/// The server `old`, registered as one of the oldest transport.
fn manifest(url: &str) -> String {
    format!(
        "apiVersion: tollgate/v1\nkind: Server\nmetadata: {{name: old}}\n\
         spec: {{transport: sse, instances: [{{url: '{url}'}}]}}\n"
    )
}

#[tokio::test]
async fn a_server_that_is_registered_as_one_is_approached_as_one() {
    let server = RealServer::python_over_sse().await;
    let tollgate = Deployment::separate(2).start().await;
    tollgate.allow_loopback_servers().await;
    tollgate.apply(&manifest(&server.url())).await;
    assert_eq!(
        tollgate.get("servers/old").await["status"]["effective"],
        json!({"transport": "sse", "era": "legacy", "approval": "trust", "reported_usage": "ignore"})
    );
    let agent = tollgate.agent("ci").grant("old:*").create().await;
    let client = agent.at_server("old").await;
    for client in [&client, &client.clone().through(tollgate.data_plane_url(1))] {
        assert_eq!(client.call("echo", json!({"message": "hello"})).await.text(), "Echo: hello");
        let session = client.initialize("2025-11-25").await;
        assert_eq!(session.call("echo", json!({"message": "hello"})).await.text(), "Echo: hello");
    }
}

#[tokio::test]
async fn a_server_that_is_registered_as_one_is_asked_for_its_stream_first() {
    let tollgate = dev().start().await;
    tollgate.allow_loopback_servers().await;
    let server = ScriptedServer::legacy().tool("read", Reply::text("content")).start().await;
    server.set_method("GET", Reply::Raw(405, "text/plain".to_owned(), String::new()));
    tollgate.apply(&manifest(&server.url())).await;
    let client = tollgate.agent("ci").grant("old:*").create().await.at_server("old").await;
    let expected = Refused { status: 502, code: 50200, reason: "upstream_invalid" };
    for answer in [client.try_initialize("2025-11-25").await, client.call("read", json!({})).await] {
        assert_refusal(&answer, expected);
    }
    assert_eq!(server.seen()[0].http_method, "GET");
    assert!(server.seen().iter().all(|seen| seen.message["method"] != "initialize"), "{:?}", server.seen());
}

#[tokio::test]
async fn messages_go_to_the_origin_of_the_stream_only() {
    let other = ScriptedServer::legacy().tool("read", Reply::text("welcome")).start().await;
    let scene = older(&format!("event: endpoint\ndata: {}\n\n", other.url()), Vec::new()).await;
    let answer = scene.client.try_initialize("2025-11-25").await;
    assert_refusal(&answer, Refused { status: 502, code: 50200, reason: "upstream_invalid" });
    scene.assert_tells_nothing(&answer);
    assert!(other.seen().is_empty(), "what an agent said went to another origin");
}

#[tokio::test]
async fn a_stream_that_announces_nothing_is_no_session() {
    for first in ["event: message\ndata: {}\n\n", "event: endpoint\ndata: \n\n", ": nothing\n\n"] {
        let scene = older(first, Vec::new()).await;
        let answer = scene.client.try_initialize("2025-11-25").await;
        assert_refusal(&answer, Refused { status: 502, code: 50200, reason: "upstream_invalid" });
        assert!(answer.header("mcp-session-id").is_none());
    }
}

#[tokio::test]
async fn a_server_without_any_stream_keeps_its_own_error() {
    let scene = Scene::legacy().await;
    scene.server.set_method("initialize", Reply::Raw(405, "text/plain".to_owned(), String::new()));
    let answer = scene.client.try_initialize("2025-11-25").await;
    assert_refusal(&answer, Refused { status: 502, code: 50200, reason: "upstream_invalid" });
}
