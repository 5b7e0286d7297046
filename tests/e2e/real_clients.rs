//! The official SDKs, unmodified, against the demo server behind the gateway.

use serde_json::{Value, json};
use tollgate_tests::{Agent, Deployment, NodeClient, PythonClient};

/// A deployment with the demo server, and an agent that may use some of its tools.
async fn setting() -> (Deployment, Agent) {
    let tollgate = Deployment::dev().start().await;
    let agent = tollgate.agent("ci").grant("demo:echo").grant("demo:countdown").grant("demo:confirm_order");
    let agent = agent.create().await;
    (tollgate, agent)
}

#[tokio::test]
async fn python_in_the_legacy_era_at_one_server() {
    python_at_one_server("legacy", "2025-11-25").await;
}

#[tokio::test]
async fn python_in_the_modern_era_at_one_server() {
    python_at_one_server("2026-07-28", "2026-07-28").await;
}

#[tokio::test]
async fn python_finds_the_modern_era_by_itself() {
    python_at_one_server("auto", "2026-07-28").await;
}

#[tokio::test]
async fn python_in_the_legacy_era_at_all_servers() {
    python_at_all_servers("legacy").await;
}

#[tokio::test]
async fn python_in_the_modern_era_at_all_servers() {
    python_at_all_servers("2026-07-28").await;
}

#[tokio::test]
async fn python_gets_its_own_token_from_a_bare_401() {
    let (tollgate, agent) = setting().await;
    let request = json!({
        "url": tollgate.server_url("demo"), "mode": "auto",
        "client_id": agent.client_id, "client_secret": agent.client_secret,
        "issuer": format!("{}/t/default", tollgate.control_url()),
        "steps": [{"call": "echo", "arguments": {"text": "hello"}}],
    });
    let outcome = PythonClient.run(&request).await;
    assert_eq!(outcome["steps"][0]["text"], "hello", "{outcome}");
}

#[tokio::test]
async fn typescript_in_both_eras() {
    let (tollgate, agent) = setting().await;
    let url = tollgate.server_url("demo");
    let token = agent.token(&url).await;
    for (era, version) in [("legacy", "2025-11-25"), ("auto", "2026-07-28")] {
        let steps = json!([{"list": true}, {"call": "echo", "arguments": {"text": "hello"}},
                           {"call": "countdown", "arguments": {"from": 3, "interval_ms": 10}}, {"call": "slow"}]);
        let request = json!({"url": url, "era": era, "token": token, "steps": steps});
        let outcome = NodeClient.run(&request).await;
        assert_eq!(outcome["protocolVersion"], version, "{outcome}");
        assert_eq!(sorted(&outcome["steps"][0]["tools"]), ["confirm_order", "countdown", "echo"], "{outcome}");
        assert_eq!(outcome["steps"][1]["text"], "hello", "{outcome}");
        assert_eq!(outcome["steps"][2]["progress"].as_array().map(Vec::len), Some(3), "{outcome}");
        assert!(outcome["steps"][3]["error"].is_object(), "the denied tool is refused: {outcome}");
    }
}

async fn python_at_one_server(mode: &str, version: &str) {
    let (tollgate, agent) = setting().await;
    let url = tollgate.server_url("demo");
    let request = json!({
        "url": url, "mode": mode, "token": agent.token(&url).await,
        "answer": {"action": "accept", "content": {"confirmed": true, "quantity": 3}},
        "steps": [
            {"list": true},
            {"call": "echo", "arguments": {"text": "hello"}},
            {"call": "countdown", "arguments": {"from": 3, "interval_ms": 10}},
            {"call": "confirm_order", "arguments": {"item": "tea"}},
            {"call": "slow", "arguments": {"seconds": 0}},
        ],
    });
    let outcome = PythonClient.run(&request).await;
    assert_eq!(outcome["protocol_version"], version, "{outcome}");
    let steps = &outcome["steps"];
    assert_eq!(sorted(&steps[0]["tools"]), ["confirm_order", "countdown", "echo"], "only what is granted: {outcome}");
    assert_eq!(steps[1]["text"], "hello", "{outcome}");
    assert_eq!(steps[2]["text"], "Counted down from 3.", "{outcome}");
    assert_eq!(steps[2]["progress"].as_array().map(Vec::len), Some(3), "{outcome}");
    assert_eq!(steps[3]["text"], "Ordered 3 × tea.", "{outcome}");
    assert_eq!(steps[3]["questions"].as_array().map(Vec::len), Some(1), "{outcome}");
    assert!(steps[4]["error"].is_object(), "the denied tool is refused: {outcome}");
    assert_usage(&tollgate, &["confirm_order", "countdown", "echo"]).await;
}

async fn python_at_all_servers(mode: &str) {
    let (tollgate, agent) = setting().await;
    let url = tollgate.federated_url();
    let request = json!({
        "url": url, "mode": mode, "token": agent.token(&url).await,
        "steps": [
            {"list": true},
            {"call": "demo__echo", "arguments": {"text": "hello"}},
            {"call": "demo__countdown", "arguments": {"from": 3, "interval_ms": 10}},
            {"call": "demo__slow", "arguments": {"seconds": 0}},
        ],
    });
    let outcome = PythonClient.run(&request).await;
    let steps = &outcome["steps"];
    let granted = ["demo__confirm_order", "demo__countdown", "demo__echo"];
    assert_eq!(sorted(&steps[0]["tools"]), granted, "only what is granted: {outcome}");
    assert_eq!(steps[1]["text"], "hello", "{outcome}");
    assert_eq!(steps[2]["progress"].as_array().map(Vec::len), Some(3), "{outcome}");
    assert!(steps[3]["error"].is_object(), "the denied tool is refused: {outcome}");
    assert_usage(&tollgate, &["countdown", "echo"]).await;
}

/// What ran is recorded for the agent, and the refused call beside it.
async fn assert_usage(tollgate: &Deployment, ran: &[&str]) {
    let recorded = tollgate_tests::eventually("the usage of a real client", || async {
        let records = tollgate.usage().await;
        let calls: Vec<_> =
            records.into_iter().filter(|record| record.method.as_deref() == Some("tools/call")).collect();
        calls.iter().any(|record| record.tool.as_deref() == Some("slow")).then_some(calls)
    })
    .await;
    for record in &recorded {
        let tool = record.tool.as_deref().unwrap_or_default();
        assert_eq!(record.forwarded, ran.contains(&tool), "{record:?}");
        assert_eq!(record.agent.as_deref(), Some("ci"));
        assert_eq!(record.server.as_deref(), Some("demo"));
    }
}

fn sorted(names: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = names.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    names.sort_unstable();
    names
}
