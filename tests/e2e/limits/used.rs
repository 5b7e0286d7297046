//! How much of limits is used, as the console, the API and the command line say it.

use super::*;

#[tokio::test]
async fn what_two_data_planes_on_one_redis_let_through_is_counted_once() {
    let mut scene = Scene::set(Deployment::separate(2), &Era::Modern).await;
    scene.tollgate.limit("ci", 6, "10m").await;
    let other = scene.client.clone().through(scene.tollgate.data_plane_url(1));
    for client in [&scene.client, &other, &scene.client, &other, &other] {
        assert_eq!(client.call("read", json!({})).await.status, 200);
    }
    assert_eq!(scene.client.request("tools/list", json!({})).await.status, 200);
    for _ in 0..3 {
        let known = scene.tollgate.get("limits/ci/use").await;
        assert_eq!(known["requests"], json!({"used": 5, "lists": 1, "count": 6, "window_s": 600}), "{known}");
        assert_eq!((&known["stores"], &known["complete"]), (&json!(1), &json!(true)));
    }
    assert_eq!(other.call("read", json!({})).await.status, 200, "looking has charged nothing");
    let refused = scene.client.call("read", json!({})).await;
    assert_limited(&refused);
    scene.tollgate.usage_of(refused.call_id()).await;
    let known = scene.tollgate.get("limit-uses").await;
    let of_hours = ["this_hour", "hour_before"].map(|hour| known["items"][0]["refused"][hour].as_i64());
    assert_eq!(of_hours.into_iter().flatten().sum::<i64>(), 1, "{known}");
    let shown = scene.tollgate.command(&["limits", "use"]).await.success();
    assert!(shown.stdout.contains("6 of 6 in 600 s"), "{}", shown.stdout);
    assert_eq!(shown.stderr, "");
    // Without Redis nobody knows, which is not the same as nothing.
    scene.tollgate.stop_redis();
    let silent = scene.tollgate.command(&["limits", "use", "ci"]).await;
    assert_ne!(silent.code, 0);
    assert!(silent.stderr.contains("the store is unavailable"), "{}", silent.stderr);
}

#[tokio::test]
async fn calls_that_run_and_what_counts_in_process_are_seen() {
    let release = Arc::new(Notify::new());
    let waits = Reply::Events(vec![Piece::Until(Arc::clone(&release)), Piece::Result(text("done"))]);
    let scene = Scene::modern().await;
    scene.server.set_method("tools/call", waits);
    scene.tollgate.limits("two", json!({"to": {"agent": "ci"}, "concurrency": 2})).await;
    let running = {
        let client = scene.client.clone();
        tokio::spawn(async move { client.call("read", json!({})).await })
    };
    let running_now = |count: i64| {
        let tollgate = &scene.tollgate;
        async move { tollgate.get("limits/two/use").await["concurrency"] == json!({"used": count, "count": 2}) }
    };
    eventually_true("the call to run", || running_now(1)).await;
    release.notify_one();
    assert_eq!(running.await.expect("it ends").text(), "done");
    eventually_true("its place to be free", || running_now(0)).await;
}
