//! Agents that go on calling after they were refused.

use std::time::Instant;

use super::*;

/// How often a ring was read, by what Redis itself counts. Nothing else of it is read in parts.
fn looks(tollgate: &Deployment) -> u64 {
    let statistics = tollgate.redis(&["INFO", "commandstats"]);
    let looks = statistics.iter().find_map(|line| line.strip_prefix("cmdstat_getrange:calls=")?.split(',').next());
    looks.map_or(0, |looks| looks.parse().expect("a number"))
}

#[tokio::test]
async fn an_agent_in_a_loop_costs_redis_about_one_look_a_second() {
    let scene = Scene::set(Deployment::separate(1), &Era::Modern).await;
    scene.tollgate.limit("ci", 1, "10m").await;
    assert_eq!(scene.client.call("read", json!({})).await.status, 200);
    let (began, before) = (Instant::now(), looks(&scene.tollgate));
    for _ in 0..300 {
        let refused = scene.client.call("read", json!({})).await;
        assert_limited(&refused);
        let data = &refused.error()["data"];
        assert_eq!((&data["retry_after_s"], &data["remaining"]), (&json!(retry_after(&refused)), &json!(0)));
    }
    let seconds = began.elapsed().as_secs() + 1;
    let looks = looks(&scene.tollgate) - before;
    // A refusal reads the ring's sums and its slots.
    assert!((2..=2 * seconds).contains(&looks), "{looks} in {seconds} s");
    let series = r#"tollgate_ratelimit_decisions_total{decision="refused",counted="remembered"}"#;
    let remembered = scene.tollgate.gauge(0, series).await.expect("refusals that were remembered");
    assert!(remembered as u64 >= 300 - seconds, "{remembered} in {seconds} s");
    assert_eq!(scene.server.calls().len(), 1);

    // What an administrator changes counts at once.
    scene.tollgate.limit("ci", 2, "10m").await;
    assert_eq!(scene.client.call("read", json!({})).await.status, 200);
    assert_limited(&scene.client.call("read", json!({})).await);
}

#[tokio::test]
async fn who_has_no_session_hears_of_that_and_not_of_a_limit() {
    let scene = Scene::set(Deployment::separate(1), &Era::Legacy).await;
    let session = scene.client.initialize("2025-11-25").await;
    scene.tollgate.limit("ci", 1, "10m").await;
    assert_eq!(scene.client.call("read", json!({})).await.status, 200);
    assert_limited(&scene.client.call("read", json!({})).await);
    assert_limited(&session.call("read", json!({})).await);
    assert_eq!(session.terminate().await.status, 204);
    assert_limited(&scene.client.call("read", json!({})).await);
    assert_eq!(session.call("read", json!({})).await.status, 404);
}
