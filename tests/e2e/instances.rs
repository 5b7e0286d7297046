//! Servers that run more than once: which copy gets a call, and what a copy that fails or drains does to calls.

use serde_json::{Value, json};
use tollgate_tests::{Deployment, McpClient, Reply, Script, ScriptedServer};

const CALLS: usize = 40;

async fn copy(era: fn() -> Script, name: &str) -> ScriptedServer {
    era().tool("read", Reply::text(name)).start().await
}

async fn register(tollgate: &Deployment, instances: &[Value]) {
    tollgate.put("servers/files", json!({ "spec": { "instances": instances } })).await;
    tollgate.policy_in_force().await;
}

async fn client(tollgate: &Deployment) -> McpClient {
    tollgate.agent("ci").grant("files:*").create().await.at_server("files").await
}

/// Which copies answered.
async fn answers(client: &McpClient, count: usize) -> Vec<String> {
    let mut answers = Vec::new();
    for _ in 0..count {
        answers.push(client.call("read", json!({})).await.text().to_owned());
    }
    answers
}

#[tokio::test]
async fn calls_are_shared_and_a_copy_that_dies_costs_no_later_call() {
    let (one, two) = (copy(ScriptedServer::modern, "one").await, copy(ScriptedServer::modern, "two").await);
    let tollgate = Deployment::dev().argument("--no-demo").start().await;
    tollgate.allow_loopback_servers().await;
    register(&tollgate, &[json!({ "url": one.url() }), json!({ "url": two.url() })]).await;
    let client = client(&tollgate).await;
    let shared = answers(&client, CALLS).await;
    assert!(["one", "two"].iter().all(|copy| shared.iter().any(|answer| answer == copy)), "{shared:?}");

    one.stop();
    // At most the call that finds out fails: nothing says whether the copy took it, so it is not made again.
    let mut failed = 0;
    for _ in 0..CALLS {
        let answer = client.call("read", json!({})).await;
        if answer.status == 200 {
            assert_eq!(answer.text(), "two");
        } else {
            failed += 1;
        }
    }
    assert!(failed <= 1, "{failed} calls failed");
}

#[tokio::test]
async fn a_copy_that_drains_keeps_its_sessions_and_gets_no_new_one() {
    let (one, two) = (copy(ScriptedServer::legacy, "one").await, copy(ScriptedServer::legacy, "two").await);
    let tollgate = Deployment::dev().argument("--no-demo").start().await;
    tollgate.allow_loopback_servers().await;
    register(&tollgate, &[json!({ "url": one.url() })]).await;
    let client = client(&tollgate).await;
    let held = client.initialize("2025-11-25").await;
    assert_eq!(answers(&held, 1).await, ["one"]);

    register(&tollgate, &[json!({ "url": one.url(), "draining": true }), json!({ "url": two.url() })]).await;
    for _ in 0..5 {
        let fresh = client.initialize("2025-11-25").await;
        assert_eq!(answers(&fresh, 1).await, ["two"]);
    }
    assert_eq!(answers(&held, 3).await, ["one", "one", "one"]);
}
