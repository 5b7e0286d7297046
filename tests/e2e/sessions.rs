//! Legacy sessions: the gateway's own, one agent's, shared by all data planes.

use serde_json::json;
use tollgate_tests::{Deployment, Era, eventually};

use crate::scene::{Refused, Scene, assert_refusal};

const UNKNOWN: Refused = Refused { status: 404, code: 40400, reason: "session_unknown" };

#[tokio::test]
async fn a_legacy_client_works_in_a_session_that_is_the_gateways_own() {
    let scene = Scene::legacy().await;
    for version in ["2025-06-18", "2025-11-25"] {
        let session = scene.client.initialize(version).await;
        assert_eq!(session.tool_names().await, ["read"]);
        assert_eq!(session.call("read", json!({})).await.text(), "content");
        let id = session.session_id().expect("a session id");
        assert!(!id.starts_with("scripted-"), "the server's own id is not shown");
    }
    assert!(scene.server.calls().iter().all(|call| call.header("mcp-session-id").is_some()));
}

#[tokio::test]
async fn a_session_that_was_terminated_is_unknown() {
    let scene = Scene::legacy().await;
    let session = scene.client.initialize("2025-11-25").await;
    assert!(matches!(session.terminate().await.status, 200 | 204));
    let answer = session.call("read", json!({})).await;
    assert_refusal(&answer, UNKNOWN);
    assert!(scene.server.calls().is_empty());
}

#[tokio::test]
async fn an_invented_session_is_unknown() {
    let scene = Scene::legacy().await;
    let invented = scene.client.clone().with_session("2025-11-25", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    let answer = invented.call("read", json!({})).await;
    assert_refusal(&answer, UNKNOWN);
    let record = scene.tollgate.usage_of(answer.call_id()).await;
    assert_eq!((record.decision.as_str(), record.forwarded), ("session_unknown", false));
}

#[tokio::test]
async fn another_agents_session_is_unknown() {
    let scene = Scene::legacy().await;
    let session = scene.client.initialize("2025-11-25").await;
    let id = session.session_id().expect("a session id");
    let other = scene.tollgate.agent("thief").grant("files:read").create().await;
    let stolen = other.at_server("files").await.with_session("2025-11-25", id);
    let answer = stolen.call("read", json!({})).await;
    assert_refusal(&answer, UNKNOWN);
    assert!(scene.server.calls().is_empty());
    assert_eq!(session.call("read", json!({})).await.text(), "content", "its owner keeps it");
}

#[tokio::test]
async fn a_session_goes_on_at_another_data_plane() {
    let scene = Scene::set(Deployment::separate(2), &Era::Legacy).await;
    let session = scene.client.initialize("2025-11-25").await;
    assert_eq!(session.call("read", json!({})).await.text(), "content");
    let elsewhere = session.clone().through(scene.tollgate.data_plane_url(1));
    assert_eq!(elsewhere.call("read", json!({})).await.text(), "content");
    let upstream: Vec<_> =
        scene.server.calls().iter().map(|call| call.header("mcp-session-id").map(str::to_owned)).collect();
    assert_eq!(upstream[0], upstream[1], "both calls are in one session of the server");
}

#[tokio::test]
async fn a_session_is_not_lost_but_unavailable_while_redis_is_away() {
    let mut scene = Scene::set(Deployment::separate(1), &Era::Legacy).await;
    let session = scene.client.initialize("2025-11-25").await;
    scene.tollgate.stop_redis();
    let answer = session.call("read", json!({})).await;
    assert_refusal(&answer, Refused { status: 503, code: 50300, reason: "store_unavailable" });
    assert!(answer.header("retry-after").is_some());
    assert!(scene.server.calls().is_empty());
}

#[tokio::test]
async fn a_call_that_is_refused_after_its_admission_is_charged_nowhere() {
    let scene = Scene::legacy().await;
    scene.tollgate.limit("ci", 1, "10m").await;
    for _ in 0..3 {
        let params = json!({"name": "read", "arguments": {}, "requestState": "of no call"});
        let answer = eventually("room for one call", || async {
            Some(scene.client.request("tools/call", params.clone()).await).filter(|answer| answer.status != 429)
        });
        assert_refusal(&answer.await, Refused { status: 200, code: -32602, reason: "request_state_unknown" });
    }
}
