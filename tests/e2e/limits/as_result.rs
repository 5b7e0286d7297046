//! Refusals that a model reads: what a grant with `deny_as: tool_error` permits.

use tollgate_tests::Plan;

use super::*;

const PRICES: &str = r#"
apiVersion: tollgate/v1
kind: PriceBook
metadata: {name: standard}
spec:
  effective_from: 2026-01-01
  currency: EUR
  prices:
    - {match: "files:read", per_call: "0.01"}
---
apiVersion: tollgate/v1
kind: Budget
metadata: {name: yearly}
spec: {to: {agent: ci}, period: year, amount: "0.01", hard: deny}
"#;

/// A scene whose agent may use everything, and whose model reads of limits.
async fn told_to_models(plan: Plan, era: &Era) -> Scene {
    let mut scene = Scene::set(plan, era).await;
    grant(&scene, "ci", json!({"to": {"agent": "ci"}, "scopes": ["files:*"], "deny_as": "tool_error"})).await;
    scene.client = scene.agent.at_server("files").await;
    scene
}

fn dev() -> Plan {
    Deployment::dev().argument("--no-demo")
}

async fn grant(scene: &Scene, name: &str, spec: Value) {
    scene.tollgate.put(&format!("grants/{name}"), json!({"spec": spec})).await;
    scene.tollgate.policy_in_force().await;
}

/// What the model reads of a result that is told in this era.
fn read<'a>(result: &'a Value, era: &Era, reason: &str) -> &'a str {
    assert_eq!(result["isError"], json!(true), "{result}");
    let kind = (*era == Era::Modern).then(|| json!("complete"));
    assert_eq!(result.get("resultType"), kind.as_ref(), "{result}");
    assert_eq!(result["_meta"]["io.tollgate/refusal"]["reason"], json!(reason), "{result}");
    result["content"][0]["text"].as_str().expect("a text")
}

/// Asserts what every such answer has, its record included, and says what the model reads of it.
async fn assert_told<'a>(scene: &Scene, answer: &'a McpAnswer, era: &Era, reason: &str) -> &'a str {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let text = read(answer.result(), era, reason);
    assert_eq!(answer.result()["_meta"]["io.tollgate/refusal"]["call_id"], json!(answer.call_id()));
    let record = scene.tollgate.usage_of(answer.call_id()).await;
    assert_eq!((record.decision.as_str(), record.outcome.as_str(), record.forwarded), (reason, "refused", false));
    assert_eq!((record.http_status, record.output_tokens), (200, 0));
    text
}

#[tokio::test]
async fn a_model_reads_which_limit_is_reached_and_when_to_come_again() {
    let scene = told_to_models(dev(), &Era::Modern).await;
    scene.tollgate.limit("ci", 1, "10m").await;
    assert_eq!(scene.client.call("read", json!({})).await.text(), "content");
    let told = scene.client.call("read", json!({})).await;
    let text = assert_told(&scene, &told, &Era::Modern, "rate_limited_requests").await;
    let wait = retry_after(&told);
    let expected = "limit `ci` on the agent is reached for agent `ci`: 0 left of 1 requests in 600 s";
    assert_eq!(text, format!("{expected}. Retry in {wait} s"));
    assert_eq!(told.result()["_meta"]["io.tollgate/refusal"]["retry_after_s"], json!(wait));
    assert_eq!(told.header("ratelimit-policy"), Some(r#""ci";q=1;w=600"#));
    assert_eq!(told.header("ratelimit"), Some(format!(r#""ci";r=0;t={wait}"#).as_str()));
    assert_eq!(scene.server.calls().len(), 1, "the second call did not reach the server");

    // What has no result that could say it is an error as ever.
    for (method, params) in [("prompts/get", json!({"name": "plan"})), ("resources/read", json!({"uri": "file:///a"}))]
    {
        assert_limited(&scene.client.request(method, params).await);
    }
    // As soon as the grant does not say so any more.
    grant(&scene, "ci", json!({"to": {"agent": "ci"}, "scopes": ["files:*"]})).await;
    assert_limited(&scene.client.call("read", json!({})).await);
}

#[tokio::test]
async fn sessions_read_a_result_of_their_own_era_in_batches_too() {
    let scene = told_to_models(dev(), &Era::Legacy).await;
    let session = scene.client.initialize("2025-03-26").await;
    scene.tollgate.limit("ci", 1, "10m").await;
    let call = |id: &str| json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "read"}});
    let answer = session.send_message(&json!([call("a"), call("b"), call("c")])).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let results = answer.messages.iter().flat_map(|message| message.as_array().cloned().unwrap_or_default());
    let told: Vec<_> = results.filter(|message| message["result"]["isError"] == json!(true)).collect();
    assert_eq!(told.len(), 2, "{}", answer.body);
    for message in &told {
        read(&message["result"], &Era::Legacy, "rate_limited_requests");
        let id = message["result"]["_meta"]["io.tollgate/refusal"]["call_id"].as_str().expect("a call id");
        assert_eq!(scene.tollgate.usage_of(id).await.outcome, "refused");
    }
    let alone = session.call("read", json!({})).await;
    assert_told(&scene, &alone, &Era::Legacy, "rate_limited_requests").await;
    assert!((1..=610).contains(&retry_after(&alone)));
    assert_eq!(scene.server.calls().len(), 1);
}

#[tokio::test]
async fn who_calls_for_a_task_in_a_session_is_told_by_an_error() {
    let scene = told_to_models(dev(), &Era::Legacy).await;
    let session = scene.client.initialize("2025-11-25").await;
    scene.tollgate.limit("ci", 1, "10m").await;
    assert_eq!(session.call("read", json!({})).await.text(), "content");
    let task = json!({"name": "read", "arguments": {}, "task": {"ttl": 1_000}});
    assert_limited(&session.request("tools/call", task).await);
}

#[tokio::test]
async fn across_eras_each_agent_reads_its_own() {
    for era in [Era::Modern, Era::Legacy] {
        let scene = told_to_models(dev(), &era).await;
        let session = scene.client.initialize("2025-11-25").await;
        scene.tollgate.limit("ci", 1, "10m").await;
        assert_eq!(scene.client.call("read", json!({})).await.text(), "content");
        for (client, era) in [(&scene.client, Era::Modern), (&session, Era::Legacy)] {
            assert_told(&scene, &client.call("read", json!({})).await, &era, "rate_limited_requests").await;
        }
        assert_eq!(scene.server.calls().len(), 1);
    }
}

#[tokio::test]
async fn at_endpoints_of_several_servers_the_grant_of_the_tool_decides() {
    let scene = told_to_models(dev(), &Era::Modern).await;
    scene.tollgate.toolset("few", json!({"tools": [{"server": "files", "tool": "read", "name": "look"}]})).await;
    scene.tollgate.limit("ci", 1, "10m").await;
    assert_eq!(scene.client.call("read", json!({})).await.text(), "content");
    let (all, few) = (scene.agent.at_all_servers().await, scene.agent.at_toolset("few").await);
    for (client, tool) in [(&all, "files__read"), (&few, "look")] {
        assert_told(&scene, &client.call(tool, json!({})).await, &Era::Modern, "rate_limited_requests").await;
    }
}

#[tokio::test]
async fn tokens_places_and_budgets_are_told_the_same_way() {
    let release = Arc::new(Notify::new());
    let scene = told_to_models(dev(), &Era::Modern).await;
    let tokens = json!({"to": {"agent": "ci"}, "tokens": {"count": 600, "per": "10m"}});
    scene.tollgate.limits("words", tokens).await;
    let running = {
        let waits = Reply::Events(vec![Piece::Until(Arc::clone(&release)), Piece::Result(text("done"))]);
        scene.server.set("write", waits);
        let client = scene.client.clone();
        tokio::spawn(async move { client.call("write", json!({})).await })
    };
    eventually_true("it to run", || async { scene.server.calls().len() == 1 }).await;
    let told = scene.client.call("read", json!({})).await;
    let said = assert_told(&scene, &told, &Era::Modern, "rate_limited_tokens").await;
    assert!(said.contains("99 left of 600 tokens in 600 s. Retry in "), "{said}");
    scene.tollgate.delete("limits/words").await;

    scene.tollgate.limits("one", json!({"to": {"agent": "ci"}, "concurrency": 1})).await;
    let second = {
        let client = scene.client.clone();
        tokio::spawn(async move { client.call("write", json!({})).await })
    };
    eventually_true("another to run", || async { scene.server.calls().len() == 2 }).await;
    let told = scene.client.call("read", json!({})).await;
    let said = assert_told(&scene, &told, &Era::Modern, "concurrency_limited").await;
    assert!(said.ends_with("0 left of 1 calls at once. Retry in 1 s"), "{said}");
    scene.tollgate.delete("limits/one").await;
    release.notify_waiters();
    for call in [running, second] {
        assert_eq!(call.await.expect("it ends").text(), "done");
    }

    scene.tollgate.apply(PRICES).await;
    assert_eq!(scene.client.call("read", json!({})).await.text(), "content");
    let told = scene.client.call("read", json!({})).await;
    let said = assert_told(&scene, &told, &Era::Modern, "budget_exhausted").await;
    assert!(
        said.starts_with("budget `yearly` on the agent is used up for agent `ci`: of 0.01 EUR 0.01 are spent"),
        "{said}"
    );
    assert_eq!(told.header("retry-after"), None);
    assert_eq!(told.result()["_meta"]["io.tollgate/refusal"]["spent"], json!("0.01"));
}

#[tokio::test]
async fn of_several_grants_the_one_counts_that_decides() {
    let scene = Scene::modern().await;
    scene.tollgate.limit("ci", 1, "10m").await;
    let manifest = "apiVersion: tollgate/v1\nkind: Grant\nmetadata: {name: team}\n\
                    spec: {to: {team: stories}, scopes: [\"files:*\"], deny_as: tool_error}\n";
    scene.tollgate.apply(manifest).await;
    let shown = scene.tollgate.command(&["get", "grant", "team", "-o", "yaml"]).await.success();
    assert!(shown.stdout.contains("deny_as: tool_error"), "{}", shown.stdout);
    assert_eq!(scene.client.call("read", json!({})).await.text(), "content");
    assert_limited(&scene.client.call("read", json!({})).await);
    // What the team has counts where the agent has nothing of its own.
    scene.tollgate.delete("grants/ci").await;
    let told = scene.client.call("read", json!({})).await;
    assert_told(&scene, &told, &Era::Modern, "rate_limited_requests").await;
    // That it may not is an error, as ever.
    scene.tollgate.delete("grants/team").await;
    assert_eq!(scene.client.call("read", json!({})).await.status, 403);
}
