//! A server that no one here wrote, behind the gateway.

use serde_json::json;
use tollgate_tests::{Agent, Deployment, PythonClient, RealServer};

async fn setting() -> (Deployment, RealServer, Agent) {
    let server = RealServer::everything().await;
    let tollgate = Deployment::dev().argument("--no-demo").start().await;
    let manifest = format!(
        "
apiVersion: tollgate/v1
kind: Team
metadata: {{name: platform}}
spec: {{display_name: Platform}}
---
apiVersion: tollgate/v1
kind: Server
metadata: {{name: everything}}
spec: {{team: platform, instances: [{{url: {}}}]}}
---
apiVersion: tollgate/v1
kind: Agent
metadata: {{name: ci}}
spec: {{team: platform, type: autonomous}}
---
apiVersion: tollgate/v1
kind: Grant
metadata: {{name: ci-everything}}
spec: {{to: {{agent: ci}}, scopes: ['everything:echo', 'everything:trigger-long-running-operation']}}
",
        server.url()
    );
    tollgate.apply(&manifest).await;
    let credential = tollgate.command(&["agents", "secret", "ci"]).await.success().json();
    let text = |name: &str| credential[name].as_str().expect("a credential has both members").to_owned();
    let agent = Agent::with_credential(&tollgate, "ci", &text("client_id"), &text("client_secret"));
    (tollgate, server, agent)
}

#[tokio::test]
async fn the_everything_server_works_for_the_python_sdk() {
    let (tollgate, _server, agent) = setting().await;
    let url = tollgate.server_url("everything");
    let request = json!({
        "url": url, "mode": "legacy", "token": agent.token(&url).await,
        "steps": [
            {"list": true},
            {"call": "echo", "arguments": {"message": "hello"}},
            {"call": "trigger-long-running-operation", "arguments": {"duration": 1, "steps": 2}},
            {"call": "get-sum", "arguments": {"a": 1, "b": 2}},
        ],
    });
    let outcome = PythonClient.run(&request).await;
    let steps = &outcome["steps"];
    assert_eq!(steps[0]["tools"], json!(["echo", "trigger-long-running-operation"]), "{outcome}");
    assert_eq!(steps[1]["text"], "Echo: hello", "{outcome}");
    assert_eq!(steps[2]["progress"].as_array().map(Vec::len), Some(2), "{outcome}");
    assert!(steps[3]["error"].is_object(), "{outcome}");
}

#[tokio::test]
async fn the_everything_server_works_over_plain_http() {
    let (_tollgate, _server, agent) = setting().await;
    let session = agent.at_server("everything").await.initialize("2025-06-18").await;
    assert_eq!(session.call("echo", json!({"message": "hello"})).await.text(), "Echo: hello");
    let everywhere = agent.at_all_servers().await.initialize("2025-11-25").await;
    assert_eq!(everywhere.call("everything__echo", json!({"message": "hello"})).await.text(), "Echo: hello");
}
