//! Request limits.

use std::time::Duration;

use serde_json::json;
use tollgate_tests::{Deployment, Era, McpAnswer, McpClient};

use crate::scene::{Refused, Scene, assert_refusal};

const LIMITED: Refused = Refused { status: 429, code: 42900, reason: "rate_limited_requests" };

#[tokio::test]
async fn the_61st_call_in_a_minute_is_refused() {
    the_61st_call(Scene::modern().await).await;
}

#[tokio::test]
async fn the_61st_call_in_a_minute_is_refused_with_redis_too() {
    let plan = Deployment::dev().argument("--no-demo").with_redis();
    the_61st_call(Scene::set(plan, &Era::Modern).await).await;
}

#[tokio::test]
async fn retry_after_is_true() {
    let scene = Scene::modern().await;
    scene.tollgate.limit("ci", 5, "3s").await;
    retry_after_holds(&scene.client).await;
}

#[tokio::test]
async fn retry_after_is_true_with_redis_too() {
    let plan = Deployment::dev().argument("--no-demo").with_redis();
    let scene = Scene::set(plan, &Era::Modern).await;
    scene.tollgate.limit("ci", 5, "3s").await;
    retry_after_holds(&scene.client).await;
}

#[tokio::test]
async fn a_limit_holds_across_data_planes() {
    let scene = Scene::set(Deployment::separate(2), &Era::Modern).await;
    scene.tollgate.limit("ci", 20, "10m").await;
    let other = scene.client.clone().through(scene.tollgate.data_plane_url(1));
    for turn in 0..20 {
        let client = if turn % 2 == 0 { &scene.client } else { &other };
        assert_eq!(client.call("read", json!({})).await.status, 200);
    }
    for client in [&scene.client, &other] {
        let answer = client.call("read", json!({})).await;
        assert_limited(&answer);
    }
    assert_eq!(scene.server.calls().len(), 20);
}

#[tokio::test]
async fn one_agents_limit_is_not_anothers() {
    let scene = Scene::modern().await;
    scene.tollgate.limit("ci", 1, "10m").await;
    let other = scene.tollgate.agent("cd").grant("files:read").create().await.at_server("files").await;
    assert_eq!(scene.client.call("read", json!({})).await.status, 200);
    assert_limited(&scene.client.call("read", json!({})).await);
    assert_eq!(other.call("read", json!({})).await.status, 200);
}

#[tokio::test]
async fn discovery_is_never_limited() {
    let scene = Scene::modern().await;
    scene.tollgate.limit("ci", 1, "10m").await;
    scene.client.call("read", json!({})).await;
    assert_limited(&scene.client.call("read", json!({})).await);
    let discovered = scene.client.request("server/discover", json!({})).await;
    assert_eq!(discovered.status, 200, "{}", discovered.body);
}

async fn the_61st_call(scene: Scene) {
    scene.tollgate.limit("ci", 60, "1m").await;
    for call in 1..=60 {
        let answer = scene.client.call("read", json!({})).await;
        assert_eq!(answer.status, 200, "call {call}: {}", answer.body);
    }
    let answer = scene.client.call("read", json!({})).await;
    assert_limited(&answer);
    let seconds = retry_after(&answer);
    // Requests are counted in slots of a second, so the window may end one slot later.
    assert!((1..=61).contains(&seconds), "{seconds}");
    assert_eq!(scene.server.calls().len(), 60, "the 61st did not reach the server");
    let record = scene.tollgate.usage_of(answer.call_id()).await;
    assert_eq!((record.decision.as_str(), record.forwarded), ("rate_limited_requests", false));
}

/// Waits as long as told, and no longer: then the call passes.
async fn retry_after_holds(client: &McpClient) {
    let mut answer = client.call("read", json!({})).await;
    while answer.status == 200 {
        answer = client.call("read", json!({})).await;
    }
    assert_limited(&answer);
    tokio::time::sleep(Duration::from_secs(retry_after(&answer))).await;
    let again = client.call("read", json!({})).await;
    assert_eq!(again.status, 200, "Retry-After was not true: {}", again.body);
}

fn assert_limited(answer: &McpAnswer) {
    assert_refusal(answer, LIMITED);
    assert!(answer.header("ratelimit").is_some(), "RateLimit is missing");
    assert!(answer.header("ratelimit-policy").is_some(), "RateLimit-Policy is missing");
}

fn retry_after(answer: &McpAnswer) -> u64 {
    answer.header("retry-after").expect("a 429 says when to come again").parse().expect("whole seconds")
}
