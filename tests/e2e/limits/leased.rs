//! Limits that data planes take from in advance.

use std::cell::Cell;

use super::*;

#[tokio::test]
async fn a_leased_limit_lets_exactly_as_many_through_and_asks_redis_for_few_of_them() {
    let scene = Scene::set(Deployment::separate(2), &Era::Modern).await;
    let leased = json!({"to": {"agent": "ci"}, "requests": {"count": 400, "per": "10m"}, "mode": "leased"});
    scene.tollgate.limits("much", leased).await;
    let other = scene.client.clone().through(scene.tollgate.data_plane_url(1));
    let callers: Vec<_> = [&scene.client, &other]
        .map(|client| {
            let client = client.clone();
            tokio::spawn(async move {
                let mut admitted = 0;
                for _ in 0..300 {
                    let answer = client.call("read", json!({})).await;
                    assert!([200, 429].contains(&answer.status), "{}", answer.body);
                    admitted += usize::from(answer.status == 200);
                }
                admitted
            })
        })
        .into();
    let admitted = Cell::new(0);
    for caller in callers {
        admitted.set(admitted.get() + caller.await.expect("it ends"));
    }
    assert!(admitted.get() <= 400, "{}", admitted.get());
    // What is leased and not used is back within a second or two.
    eventually_true("the rest of the limit", || async {
        let answer = scene.client.call("read", json!({})).await;
        admitted.set(admitted.get() + usize::from(answer.status == 200));
        admitted.get() == 400
    })
    .await;
    assert_limited(&other.call("read", json!({})).await);
    assert_eq!(scene.server.calls().len(), 400);
    let leased = scene.tollgate.gauge(0, r#"tollgate_ratelimit_decisions_total{decision="admitted",counted="lease"}"#);
    assert!(leased.await.is_some_and(|leased| leased > 50.0));
}
