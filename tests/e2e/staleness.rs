//! A data plane that is cut off from its control plane goes on with what it knows, for as long and for as much as the
//! tenant wants, says so, and is as before once it is heard again.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tollgate_tests::{Deployment, Era, Http, Piece, Reply, eventually, eventually_true};

use crate::scene::{Refused, Scene, assert_refusal};

const STALE: Refused = Refused { status: 503, code: 50300, reason: "policy_stale" };

/// Soon over, and long enough for a heartbeat that waits for a core.
const LEASE: &str = "5s";

async fn set() -> Scene {
    let plan = Deployment::separate(1).with_wires().env("TOLLGATE_POLICY_LEASE", LEASE);
    Scene::set(plan, &Era::Modern).await
}

async fn ops(scene: &Scene, path: &str) -> (u16, String) {
    let answer = Http::default().get(&format!("{}/{path}", scene.tollgate.ops_url(0))).await;
    (answer.status, answer.text())
}

async fn is_ready(scene: &Scene, status: u16, text: &str) {
    eventually_true(&format!("/readyz to say {text:?}"), || async {
        let (answered, body) = ops(scene, "readyz").await;
        answered == status && body.contains(text)
    })
    .await;
}

/// Since when the only data plane is taken to be stale, by the control plane.
async fn stale_since(scene: &Scene) -> Value {
    let listed = scene.tollgate.command(&["data-planes", "list", "-o", "json"]).await.success().json();
    listed[0]["stale_since"].clone()
}

#[tokio::test]
async fn what_may_destroy_waits_for_the_control_plane_and_the_rest_goes_on() {
    let scene = set().await;
    scene.assert_goes_on().await;
    assert_eq!(stale_since(&scene).await, Value::Null);
    scene.tollgate.cut_off_data_planes().await;
    is_ready(&scene, 200, "policy stale").await;

    // Nobody has approved anything of this tool.
    let made_before = scene.server.calls().len();
    let refused = scene.client.call("read", json!({})).await;
    assert_refusal(&refused, STALE);
    assert_eq!(refused.header("retry-after"), Some("5"));
    let data = &refused.error()["data"];
    assert_eq!(data["refused"], "destructive");
    assert!(data["policy_age_s"].as_u64().is_some_and(|age| age >= 5), "{data}");
    assert_eq!(scene.server.calls().len(), made_before, "a refused call reached the server");
    assert_eq!(scene.client.tool_names().await, ["read"]);
    let metrics = ops(&scene, "metrics").await.1;
    assert!(metrics.contains(r#"tollgate_policy_staleness{tenant="default"} 1"#), "{metrics}");
    assert!(metrics.contains("tollgate_policy_lease_seconds 0"), "{metrics}");
    eventually_true("the fleet to show it", || async { stale_since(&scene).await.is_string() }).await;

    scene.tollgate.reconnect_data_planes();
    is_ready(&scene, 200, "ready").await;
    let served = eventually("calls to be served again", || async {
        Some(scene.client.call("read", json!({})).await).filter(|answer| answer.status == 200)
    });
    assert_eq!(served.await.text(), "content");
    eventually_true("the fleet to show it", || async { stale_since(&scene).await.is_null() }).await;
    assert_eq!(scene.tollgate.usage_of(refused.call_id()).await.decision, "policy_stale");
}

#[tokio::test]
async fn a_tenant_may_let_everything_go_on_but_not_for_longer_than_it_says() {
    let mut scene = set().await;
    scene.tollgate.when_stale("20s", "allow").await;
    let (begun, end) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let progress = Piece::Notification(json!({"jsonrpc": "2.0", "method": "notifications/progress",
                                              "params": {"progressToken": "p", "progress": 1}}));
    begun.notify_one();
    scene.server.set("read", Reply::Events(vec![progress, Piece::Until(Arc::clone(&end))]));
    let mut stream = scene.client.open("tools/call", json!({"name": "read", "arguments": {}})).await;
    stream.next().await.expect("the first notification");
    scene.server.set("read", Reply::text("content"));

    scene.tollgate.cut_off_data_planes().await;
    is_ready(&scene, 200, "policy stale").await;
    scene.assert_goes_on().await;

    is_ready(&scene, 503, "1 of 1 tenants not served").await;
    let refused = scene.client.call("read", json!({})).await;
    assert_refusal(&refused, STALE);
    assert_eq!(refused.error()["data"]["refused"], "everything");
    assert_refusal(&scene.client.request("tools/list", json!({})).await, STALE);
    assert_eq!(stream.finish().await.error()["data"]["reason"], "policy_stale", "what was under way ends too");

    // A start makes no policy younger.
    scene.tollgate.crash_data_plane(0);
    scene.tollgate.spawn_data_plane(0);
    scene.tollgate.data_plane_logs(0, "serving the policy kept on disk").await;
    is_ready(&scene, 503, "1 of 1 tenants not served").await;
    assert_refusal(&scene.client.call("read", json!({})).await, STALE);

    scene.tollgate.reconnect_data_planes();
    scene.tollgate.data_plane_ready(0).await;
    scene.assert_goes_on().await;
}

#[tokio::test]
async fn a_data_plane_that_starts_alone_is_stale_until_it_hears_its_control_plane() {
    let mut scene = set().await;
    scene.tollgate.when_stale("none", "deny").await;
    scene.tollgate.cut_off_data_planes().await;
    scene.tollgate.crash_data_plane(0);
    scene.tollgate.start_data_plane(0).await;
    assert_refusal(&scene.client.call("read", json!({})).await, STALE);
    assert_eq!(scene.client.tool_names().await, ["read"]);
    scene.tollgate.reconnect_data_planes();
    eventually_true("calls to be served again", || async { scene.client.call("read", json!({})).await.status == 200 })
        .await;
}

#[tokio::test]
async fn what_is_revoked_meanwhile_is_refused_at_the_latest_when_the_data_plane_hears_again() {
    let scene = set().await;
    scene.tollgate.when_stale("20s", "deny").await;
    let token = scene.agent.token(scene.client.url()).await;
    let client = scene.client.clone().with_token(&token);
    assert_eq!(client.call("read", json!({})).await.status, 200);
    scene.tollgate.cut_off_data_planes().await;
    assert_eq!(scene.agent.revoke(&token).await.status, 200);

    // Nobody can tell it. What may destroy is over with the lease, the rest with the longest that the tenant allows.
    is_ready(&scene, 200, "policy stale").await;
    assert_refusal(&client.call("read", json!({})).await, STALE);
    assert_eq!(client.tool_names().await, ["read"]);
    is_ready(&scene, 503, "1 of 1 tenants not served").await;
    assert_refusal(&client.request("tools/list", json!({})).await, STALE);

    scene.tollgate.reconnect_data_planes();
    eventually_true("the revocation to arrive", || async {
        let answer = client.call("read", json!({})).await;
        assert_ne!(answer.status, 200, "the policy became current before what was revoked was known");
        answer.status == 401 && answer.reason() == "token_revoked"
    })
    .await;
    scene.assert_goes_on().await;
}

#[tokio::test]
async fn a_control_plane_without_its_database_makes_nothing_current() {
    let plan = Deployment::separate(1).with_losable_database().env("TOLLGATE_POLICY_LEASE", LEASE);
    let scene = Scene::set(plan, &Era::Modern).await;
    for provoked in ["cannot store usage", "a background job failed"] {
        scene.tollgate.expect_error_log(provoked);
    }
    scene.assert_goes_on().await;
    scene.tollgate.take_database_away().await;
    is_ready(&scene, 200, "policy stale").await;
    assert_refusal(&scene.client.call("read", json!({})).await, STALE);
    scene.tollgate.give_database_back();
    eventually_true("calls to be served again", || async { scene.client.call("read", json!({})).await.status == 200 })
        .await;
}
