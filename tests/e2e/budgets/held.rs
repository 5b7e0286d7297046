//! How calls are held to budgets, over all data planes and with whatever dies.

use serde_json::{Value, json};
use tollgate_tests::{Deployment, Era, McpAnswer, eventually_true};

use crate::scene::{Refused, Scene, assert_refusal};

const EXHAUSTED: Refused = Refused { status: 429, code: 42900, reason: "budget_exhausted" };
const UNAVAILABLE: Refused = Refused { status: 503, code: 50300, reason: "store_unavailable" };

const PRICES: &str = r#"
apiVersion: tollgate/v1
kind: PriceBook
metadata: {name: standard}
spec:
  effective_from: 2026-01-01
  currency: EUR
  prices:
    - {match: "files:read", per_call: "0.01"}
"#;
const BY_TOKENS: &str = "    - {match: \"files:write\", per_1k_output_tokens: \"0.1\"}\n";
const FREE: &str = "    - {match: \"files:write\", per_call: \"0\"}\n";

/// Two data planes, this price for `write`, and this much for the agent in a year.
async fn scene(write: &str, amount: &str) -> Scene {
    let mut scene = Scene::set(Deployment::separate(2), &Era::Modern).await;
    scene.client = scene.tollgate.agent("spender").grant("files:*").create().await.at_server("files").await;
    scene.tollgate.apply(&format!("{PRICES}{write}---\n{}", budget(amount, ""))).await;
    scene
}

fn budget(amount: &str, more: &str) -> String {
    format!(
        "apiVersion: tollgate/v1\nkind: Budget\nmetadata: {{name: yearly}}\n\
         spec: {{to: {{agent: spender}}, period: year, amount: \"{amount}\", hard: deny{more}}}\n"
    )
}

fn assert_exhausted(answer: &McpAnswer) -> Value {
    assert_refusal(answer, EXHAUSTED);
    assert_eq!(answer.header("retry-after"), None, "an administrator may raise it at any time");
    let data = answer.error()["data"].clone();
    assert_eq!((&data["budget"], &data["scope"]), (&json!("yearly"), &json!("agent")));
    assert_eq!((&data["retryable"], &data["currency"]), (&json!(false), &json!("EUR")));
    assert!(data["reset_at"].as_str().is_some_and(|reset| reset.ends_with('Z')), "{data}");
    data
}

async fn spent(scene: &Scene) -> Value {
    let budget = scene.tollgate.command(&["get", "budget", "yearly", "-o", "json"]).await.success().json();
    budget["status"]["spent"].clone()
}

#[tokio::test]
async fn a_budget_holds_across_data_planes_and_what_costs_nothing_passes() {
    let scene = scene(FREE, "0.05").await;
    let other = scene.client.clone().through(scene.tollgate.data_plane_url(1));
    for turn in 0..5 {
        let client = if turn % 2 == 0 { &scene.client } else { &other };
        let answer = client.call("read", json!({})).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    for client in [&scene.client, &other] {
        let data = assert_exhausted(&client.call("read", json!({})).await);
        assert_eq!((&data["spent"], &data["amount"]), (&json!("0.05"), &json!("0.05")));
    }
    assert_eq!(scene.server.calls().len(), 5, "no server has seen what was turned away");
    eventually_true("the ledger to have what was spent", || async { spent(&scene).await == "0.05" }).await;

    assert_eq!(scene.client.call("write", json!({})).await.status, 200, "it costs nothing");

    // What is raised counts at once.
    scene.tollgate.apply(&budget("0.06", "")).await;
    assert_eq!(other.call("read", json!({})).await.status, 200);
    assert_exhausted(&scene.client.call("read", json!({})).await);
}

#[tokio::test]
async fn what_a_call_came_to_is_charged_in_the_place_of_what_was_expected() {
    // A tool that nobody has called is expected to answer with 500 tokens, which is all there is.
    let scene = scene(BY_TOKENS, "0.05").await;
    for call in 0..3 {
        eventually_true(&format!("room for call {call}"), || async {
            scene.client.call("write", json!({})).await.status == 200
        })
        .await;
    }
}

#[tokio::test]
async fn a_redis_that_lost_its_counters_goes_on_from_the_ledger() {
    let scene = scene(FREE, "0.05").await;
    for _ in 0..5 {
        assert_eq!(scene.client.call("read", json!({})).await.status, 200);
    }
    eventually_true("the ledger to have what was spent", || async { spent(&scene).await == "0.05" }).await;
    eventually_true("the data planes to know of it", || async {
        for key in scene.tollgate.redis(&["KEYS", "tg:*:budget:*"]) {
            let _ = scene.tollgate.redis(&["DEL", &key]);
        }
        scene.client.call("read", json!({})).await.status == 429
    })
    .await;
    assert_exhausted(&scene.client.call("read", json!({})).await);
}

#[tokio::test]
async fn without_counters_a_budget_denies_unless_it_is_to_be_kept_locally() {
    let mut scene = scene(FREE, "0.05").await;
    scene.tollgate.stop_redis();
    let refused = scene.client.call("read", json!({})).await;
    assert_refusal(&refused, UNAVAILABLE);
    assert_eq!(refused.header("retry-after"), Some("1"));
    scene.tollgate.apply(&budget("0.05", ", on_store_outage: local")).await;
    for _ in 0..5 {
        assert_eq!(scene.client.call("read", json!({})).await.status, 200);
    }
    assert_exhausted(&scene.client.call("read", json!({})).await);
    scene.tollgate.apply(&budget("0.05", ", on_store_outage: open")).await;
    assert_eq!(scene.client.call("read", json!({})).await.status, 200);
}
