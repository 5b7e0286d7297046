//! The same exchanges without the gateway and through it, compared message by message.
//!
//! `tests/corpus` holds what clients send: what the Python, TypeScript and Rust SDKs sent when they tried a server out, and,
//! by hand, what clients seldom send and gateways are tempted to touch. Whatever a server asks meanwhile is answered.

use std::collections::BTreeMap;

use http::Method;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Value, json};
use tollgate_tests::{
    Agent, Balancer, Deployment, McpClient, RealServer, ReferenceServer, Reply, ScriptedServer, Speaks, repository_root,
};

/// What a client sends: one line of a corpus.
#[derive(Debug, Clone, Deserialize)]
struct Sent {
    /// Those of the protocol; a session's id is added.
    headers: BTreeMap<String, String>,
    message: Value,
}

/// What came back: the status, and every message.
#[derive(Debug, PartialEq)]
struct Received {
    status: u16,
    messages: Vec<Value>,
}

#[tokio::test]
async fn a_legacy_server_answers_the_same_through_the_gateway() {
    let server = ReferenceServer::start(Speaks::Legacy).await;
    compare(server.url(), &["python-legacy", "typescript-legacy", "rmcp-legacy", "unusual-legacy"]).await;
}

#[tokio::test]
async fn the_everything_server_answers_the_same_through_the_gateway() {
    let server = RealServer::everything().await;
    compare(&server.url(), &["python-everything", "typescript-everything", "rmcp-everything"]).await;
}

#[tokio::test]
async fn a_modern_server_answers_the_same_through_the_gateway() {
    let server = ReferenceServer::start(Speaks::Modern).await;
    compare(server.url(), &["python-modern", "typescript-modern", "rmcp-modern", "unusual-modern"]).await;
}

#[tokio::test]
async fn tools_answer_the_same_at_the_federated_endpoint() {
    for (speaks, corpora) in
        [(Speaks::Legacy, ["python-legacy", "unusual-legacy"]), (Speaks::Modern, ["python-modern", "unusual-modern"])]
    {
        let server = ReferenceServer::start(speaks).await;
        let (tollgate, agent) = setting(server.url()).await;
        for corpus in corpora {
            let sent: Vec<Sent> = corpus_of(corpus).into_iter().filter(|sent| is_of_a_tool(&sent.message)).collect();
            let mut direct = play(&McpClient::new(server.url()), &sent).await;
            let everywhere = agent.at(&tollgate.federated_url()).await;
            let renamed: Vec<Sent> = sent.iter().map(federated).collect();
            let mut through = play(&everywhere, &renamed).await;
            let answers = sent.iter().zip(direct.iter_mut().zip(&mut through));
            answers.for_each(|(sent, (direct, through))| as_of_one_server(&sent.message, direct, through));
            assert_same(corpus, &sent, direct, through);
        }
    }
}

#[tokio::test]
async fn neither_side_loses_a_member_that_nobody_knows() {
    for (script, version) in [(ScriptedServer::modern(), None), (ScriptedServer::legacy(), Some("2025-11-25"))] {
        let result = json!({
            "content": [{"type": "text", "text": "x", "x-vendor": {"kept": [1, 2.50, null]}, "annotations": {"y": 1}}],
            "x-vendor": "kept",
            "_meta": {"com.example/unknown": {"kept": true}},
        });
        let server = script.tool("odd", Reply::Result(result)).start().await;
        let (tollgate, agent) = setting(&server.url()).await;
        let params = json!({
            "name": "odd",
            "arguments": {"": 0, "deep": {"n": 12_345_678_901_234_567_890_u64}},
            "x-vendor": [1, {"a": null}],
            "_meta": {"com.example/unknown": {"kept": true}},
        });
        let mut answers = Vec::new();
        for client in [McpClient::new(&server.url()), agent.at(&tollgate.server_url("reference")).await] {
            let client = match version {
                Some(version) => client.initialize(version).await,
                None => client,
            };
            answers.push(client.request("tools/call", params.clone()).await.result().clone());
        }
        assert_eq!(answers[0], answers[1], "the agent gets what the server answered");
        let calls = server.calls();
        let seen: Vec<Value> = calls.iter().map(|call| without_trace(&call.message["params"])).collect();
        assert_eq!(seen[0], seen[1], "the server gets what the agent sent");
    }
}

/// Two data planes with the server behind them, and an agent that may do everything there.
async fn setting(url: &str) -> (Deployment, Agent) {
    let tollgate = Deployment::separate(2).balanced_by(&Balancer::start().await).start().await;
    tollgate.allow_loopback_servers().await;
    tollgate.register_url("reference", url).await;
    let agent = tollgate.agent("player").grant("reference:*").create().await;
    (tollgate, agent)
}

async fn compare(url: &str, corpora: &[&str]) {
    let (tollgate, agent) = setting(url).await;
    for corpus in corpora {
        let sent = corpus_of(corpus);
        let direct = play(&McpClient::new(url), &sent).await;
        let through = play(&agent.at(&tollgate.server_url("reference")).await, &sent).await;
        assert_same(corpus, &sent, direct, through);
    }
}

fn corpus_of(name: &str) -> Vec<Sent> {
    let file = repository_root().join(format!("tests/corpus/{name}.jsonl"));
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{name}: {error}: {line}")))
        .collect()
}

/// Sends one after the other, each when the one before is answered.
async fn play(client: &McpClient, corpus: &[Sent]) -> Vec<Received> {
    let mut session = None;
    let mut received = Vec::new();
    for Sent { headers, message } in corpus {
        let mut headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        headers.extend([("accept", "application/json, text/event-stream"), ("content-type", "application/json")]);
        headers.extend(session.as_deref().map(|id| ("mcp-session-id", id)));
        let mut stream = client.open_raw(Method::POST, &headers, message.to_string()).await;
        let mut messages = Vec::new();
        while let Some(mut said) = stream.next().await {
            if said.get("method").is_some() && said.get("id").is_some() {
                let answer = json!({"jsonrpc": "2.0", "id": said["id"], "result": answer(&said)});
                let accepted = client.post(&headers, answer.to_string()).await;
                assert_eq!(accepted.status, 202, "{}", accepted.body);
                // A gateway may call a question by another name.
                said["id"] = "a question".into();
            }
            messages.push(said);
        }
        let id = stream.headers.get("mcp-session-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
        session = id.or(session);
        let rest = stream.finish().await;
        if messages.is_empty() {
            messages = rest.messages;
        }
        received.push(Received { status: rest.status, messages });
    }
    received
}

/// What the client's side says to a question of the server.
fn answer(question: &Value) -> Value {
    match question["method"].as_str() {
        Some("elicitation/create") => {
            json!({"action": "accept", "content": {"username": "Ann", "email": "ann@example.org", "name": "Ann", "check": true}})
        }
        Some("sampling/createMessage") => {
            json!({"role": "assistant", "content": {"type": "text", "text": "hello"}, "model": "m", "stopReason": "endTurn"})
        }
        Some("roots/list") => json!({"roots": [{"uri": "file:///srv", "name": "srv"}]}),
        _ => json!({}),
    }
}

fn assert_same(corpus: &str, sent: &[Sent], direct: Vec<Received>, through: Vec<Received>) {
    let mut differences = Vec::new();
    for ((sent, mut direct), mut through) in sent.iter().zip(direct).zip(through) {
        as_in_any_run(&mut direct);
        as_in_any_run(&mut through);
        direct.messages.iter_mut().for_each(|message| as_the_gateway_may(&sent.message, message));
        if direct != through {
            differences.push(format!("{}\n  direct:  {direct:?}\n  through: {through:?}", sent.message));
        }
    }
    assert!(differences.is_empty(), "{corpus}: {} differ\n{}", differences.len(), differences.join("\n"));
}

/// What the gateway changes, and says that it does: a list that was filtered for one agent is nobody else's, and a server
/// is reached in every revision that the gateway speaks.
fn as_the_gateway_may(sent: &Value, message: &mut Value) {
    let is_list = sent["method"].as_str().is_some_and(|method| method.ends_with("/list"));
    if let Some(scope) = message.pointer_mut("/result/cacheScope").filter(|_| is_list) {
        *scope = "private".into();
    }
    if let Some(versions) = message.pointer_mut("/result/supportedVersions") {
        *versions = json!(["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"]);
    }
}

/// What differs between two runs without the gateway too: the time of day, and which of several questions that are asked
/// at once comes first.
fn as_in_any_run(received: &mut Received) {
    for message in &mut received.messages {
        if let Some(text) = message.pointer_mut("/result/contents/0/text")
            && let Some((stable, _time)) = text.as_str().and_then(|text| text.split_once("created at"))
        {
            *text = stable.into();
        }
    }
    let is_question = |message: &Value| message["id"] == "a question";
    let mut questions: Vec<Value> = received.messages.iter().filter(|message| is_question(message)).cloned().collect();
    questions.sort_by_key(ToString::to_string);
    let mut sorted = questions.into_iter();
    for message in received.messages.iter_mut().filter(|message| is_question(message)) {
        *message = sorted.next().expect("there are as many as before");
    }
}

fn is_of_a_tool(message: &Value) -> bool {
    let method = message["method"].as_str().unwrap_or_default();
    ["initialize", "notifications/initialized"].contains(&method) || method.starts_with("tools/")
}

const PREFIX: &str = "reference__";
const URI_PREFIX: &str = "tollgate://reference/";

fn federated(sent: &Sent) -> Sent {
    let mut sent = sent.clone();
    if let Some(name) = sent.message["params"]["name"].as_str() {
        let name = format!("{PREFIX}{name}");
        if let Some(header) = sent.headers.get_mut("mcp-name") {
            header.clone_from(&name);
        }
        sent.message["params"]["name"] = name.into();
    }
    sent
}

/// Of what is merged over servers, what is this server's: its tools and resources, under their own names.
fn as_of_one_server(sent: &Value, direct: &mut Received, through: &mut Received) {
    through.messages.iter_mut().for_each(with_own_uris);
    if sent["method"] == "initialize" {
        direct.messages.clear();
        through.messages.clear();
    }
    if sent["method"] == "tools/list" {
        for message in direct.messages.iter_mut().chain(&mut through.messages) {
            message["result"] = json!({"tools": message["result"]["tools"]});
            for tool in message["result"]["tools"].as_array_mut().into_iter().flatten() {
                let name = tool["name"].as_str().unwrap_or_default();
                tool["name"] = name.strip_prefix(PREFIX).unwrap_or(name).into();
            }
        }
    }
}

fn with_own_uris(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(with_own_uris),
        Value::Object(members) => members.values_mut().for_each(with_own_uris),
        Value::String(text) => {
            if let Some(encoded) = text.strip_prefix(URI_PREFIX) {
                *text = percent_decode_str(encoded).decode_utf8().expect("a URI is a text").into_owned();
            }
        }
        _ => {}
    }
}

/// The trace context that every request has on its way is the gateway's.
fn without_trace(params: &Value) -> Value {
    let mut params = params.clone();
    if let Some(meta) = params["_meta"].as_object_mut() {
        meta.remove("traceparent");
        meta.remove("tracestate");
    }
    params
}
