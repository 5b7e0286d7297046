//! Limits while Redis is away.

use super::*;

const UNAVAILABLE: Refused = Refused { status: 503, code: 50300, reason: "store_unavailable" };

#[tokio::test]
async fn while_redis_is_away_data_planes_keep_their_share_and_charge_it_when_it_is_back() {
    let mut scene = Scene::set(Deployment::separate(2), &Era::Modern).await;
    scene.tollgate.limit("ci", 20, "10m").await;
    let other = scene.client.clone().through(scene.tollgate.data_plane_url(1));
    knows_of_both(&scene).await;
    scene.tollgate.crash_redis();
    // Nine tenths, by two.
    for client in [&scene.client, &other] {
        for call in 0..9 {
            let answer = client.call("read", json!({})).await;
            assert_eq!(answer.status, 200, "call {call}: {}", answer.body);
        }
        let refused = client.call("read", json!({})).await;
        assert_limited(&refused);
        assert!(refused.header("ratelimit-policy").is_some_and(|policy| policy.contains(";q=20;w=600")));
    }
    assert_eq!(scene.tollgate.gauge(0, "tollgate_degraded").await, Some(1.0));
    scene.tollgate.restart_redis().await;
    eventually_true("the data planes to see it", || async {
        scene.tollgate.gauge(0, "tollgate_degraded").await == Some(0.0)
            && scene.tollgate.gauge(1, "tollgate_degraded").await == Some(0.0)
    })
    .await;
    // Redis came back empty, and was told of 18.
    for _ in 0..2 {
        assert_eq!(other.call("read", json!({})).await.status, 200);
    }
    assert_limited(&scene.client.call("read", json!({})).await);
    assert_eq!(scene.server.calls().len(), 20);
}

#[tokio::test]
async fn a_limit_that_denies_without_its_counters_refuses_and_an_open_one_lets_pass() {
    let mut scene = Scene::set(Deployment::separate(1), &Era::Modern).await;
    let to = json!({"tool": "files:read"});
    let rate = json!({"count": 1, "per": "10m"});
    let strict = json!({"to": to, "requests": rate, "on_store_outage": "deny"});
    scene.tollgate.limits("strict", strict).await;
    let open = json!({"to": {"tool": "files:write"}, "requests": rate, "on_store_outage": "open"});
    scene.tollgate.limits("open", open).await;
    let client = scene.tollgate.agent("cd").grant("files:*").create().await.at_server("files").await;
    scene.tollgate.stop_redis();
    let refused = client.call("read", json!({})).await;
    assert_refusal(&refused, UNAVAILABLE);
    assert_eq!(refused.header("retry-after"), Some("1"));
    for _ in 0..3 {
        assert_eq!(client.call("write", json!({})).await.status, 200);
    }
}

/// Each data plane has heard how many there are.
async fn knows_of_both(scene: &Scene) {
    for data_plane in 0..2 {
        eventually_true("the number of data planes to be known", || async {
            scene.tollgate.gauge(data_plane, "tollgate_data_planes").await == Some(2.0)
        })
        .await;
    }
}
