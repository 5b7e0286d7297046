//! Limits on requests, tokens and calls at once, on whatever they can be on.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::sync::Notify;
use tollgate_tests::{Deployment, Era, McpAnswer, McpClient, Piece, Reply, eventually_true};

use crate::scene::{Refused, Scene, assert_refusal};

mod again;
mod as_result;
mod away;
mod failover;
mod leased;
mod used;

const LIMITED: Refused = Refused { status: 429, code: 42900, reason: "rate_limited_requests" };
const TOKENS: Refused = Refused { status: 429, code: 42900, reason: "rate_limited_tokens" };
const FULL: Refused = Refused { status: 429, code: 42900, reason: "concurrency_limited" };

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

#[tokio::test]
async fn whatever_a_limit_is_on_counts_whoever_calls() {
    let scene = Scene::modern().await;
    let other = scene.tollgate.agent("cd").grant("files:*").create().await.at_server("files").await;
    let rate = json!({"count": 1, "per": "10m"});
    for (name, to, scope) in [
        ("team", json!({"team": "stories"}), "team"),
        ("server", json!({"server": "files"}), "server"),
        ("tool", json!({"tool": "files:read"}), "tool"),
        ("tenant", json!({"tenant": "default"}), "tenant"),
    ] {
        scene.tollgate.limits(name, json!({"to": to, "requests": rate})).await;
        assert_eq!(scene.client.call("read", json!({})).await.status, 200, "{name}");
        let refused = other.call("read", json!({})).await;
        assert_limited(&refused);
        let data = &refused.error()["data"];
        assert_eq!((&data["scope"], &data["violated_policies"]), (&json!(scope), &json!([name])));
        let elsewhere = other.call("write", json!({})).await;
        assert_eq!(elsewhere.status == 200, name == "tool", "{name}: {}", elsewhere.body);
        scene.tollgate.delete(&format!("limits/{name}")).await;
        scene.tollgate.policy_in_force().await;
    }
}

#[tokio::test]
async fn tokens_are_reserved_before_a_call_and_settled_after_it_across_data_planes() {
    let scene = Scene::set(Deployment::separate(2), &Era::Modern).await;
    let tokens = json!({"count": 2_000, "per": "10m"});
    scene.tollgate.limits("words", json!({"to": {"agent": "ci"}, "tokens": tokens})).await;
    let other = scene.client.clone().through(scene.tollgate.data_plane_url(1));
    // Its arguments have one; for the answer of a tool that nobody knows 500 are reserved, and as few are charged as came.
    let first = scene.client.call("read", json!({})).await;
    assert_eq!(first.status, 200, "{}", first.body);
    let policy = first.header("ratelimit-policy").expect("a policy");
    assert_eq!(policy, r#""words.tokens";q=2000;qu="tokens";w=600"#);
    assert!(first.header("ratelimit").is_some_and(|left| left.starts_with(r#""words.tokens";r=1499"#)));
    // 3,600 digits are 1,200 tokens: with 500 for the answer there is room for one, once the first has given back.
    let long = json!({"text": "7".repeat(3_600)});
    eventually_true("what was reserved to be given back", || async {
        other.call("read", long.clone()).await.status == 200
    })
    .await;
    let refused = other.call("read", long).await;
    assert_refusal(&refused, TOKENS);
    let data = &refused.error()["data"];
    assert_eq!((&data["limit"], &data["violated_policies"]), (&json!(2_000), &json!(["words.tokens"])));
    assert!((1..=610).contains(&retry_after(&refused)));
    let listed = scene.client.request("tools/list", json!({})).await;
    assert_eq!(listed.status, 200, "looking costs no tokens: {}", listed.body);
}

#[tokio::test]
async fn as_many_calls_run_at_once_as_are_allowed_on_any_data_plane() {
    let release = Arc::new(Notify::new());
    let waits = Reply::Events(vec![Piece::Until(Arc::clone(&release)), Piece::Result(text("done"))]);
    let scene = Scene::set(Deployment::separate(2), &Era::Modern).await;
    scene.server.set_method("tools/call", waits);
    scene.tollgate.limits("two", json!({"to": {"agent": "ci"}, "concurrency": 2})).await;
    let other = scene.client.clone().through(scene.tollgate.data_plane_url(1));
    let running: Vec<_> = [&scene.client, &other]
        .map(|client| {
            let client = client.clone();
            tokio::spawn(async move { client.call("read", json!({})).await })
        })
        .into();
    eventually_true("both to run", || async { scene.server.calls().len() == 2 }).await;
    for client in [&scene.client, &other] {
        let refused = client.call("read", json!({})).await;
        assert_refusal(&refused, FULL);
        assert_eq!(retry_after(&refused), 1);
        assert_eq!(refused.header("ratelimit"), Some(r#""two.concurrency";r=0"#));
        assert_eq!(client.request("tools/list", json!({})).await.status, 200, "looking takes no place");
    }
    release.notify_waiters();
    for call in running {
        assert_eq!(call.await.expect("it ends").text(), "done");
    }
    scene.server.set_method("tools/call", Reply::text("content"));
    eventually_true("the places to be free", || async { other.call("read", json!({})).await.status == 200 }).await;
}

#[tokio::test]
async fn of_several_limits_each_has_to_be_passed_and_a_refused_call_is_charged_by_none() {
    let scene = Scene::modern().await;
    let rate = |count: u32| json!({"count": count, "per": "10m"});
    scene.tollgate.limits("narrow", json!({"to": {"agent": "ci"}, "requests": rate(2)})).await;
    scene.tollgate.limits("wide", json!({"to": {"server": "files"}, "requests": rate(4)})).await;
    for _ in 0..2 {
        assert_eq!(scene.client.call("read", json!({})).await.status, 200);
    }
    for _ in 0..5 {
        let refused = scene.client.call("read", json!({})).await;
        assert_limited(&refused);
        let left = refused.header("ratelimit").expect("what is left");
        assert!(left.contains(r#""narrow";r=0"#) && left.contains(r#""wide";r=2"#), "{left}");
    }
    let other = scene.tollgate.agent("cd").grant("files:*").create().await.at_server("files").await;
    for _ in 0..2 {
        assert_eq!(other.call("read", json!({})).await.status, 200, "nothing of what was refused counts");
    }
    assert_limited(&other.call("read", json!({})).await);
}

fn text(text: &str) -> Value {
    json!({"content": [{"type": "text", "text": text}], "resultType": "complete"})
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
