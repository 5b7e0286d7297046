//! Tokens become worthless when somebody says so, not when they expire.

use http::Method;
use serde_json::{Value, json};
use tollgate_tests::{Deployment, Era, McpClient, eventually_true};

use crate::scene::Scene;

/// The same token at both data planes, which follow different control planes.
fn everywhere(scene: &Scene, client: &McpClient) -> [McpClient; 2] {
    [0, 1].map(|index| client.clone().through(scene.tollgate.data_plane_url(index)))
}

async fn two_of_each() -> Scene {
    Scene::set(Deployment::separate(2).with_second_control_plane(), &Era::Modern).await
}

/// Waits until every data plane refuses the client's token as a revoked one.
async fn dies(scene: &Scene, client: &McpClient) {
    for client in everywhere(scene, client) {
        eventually_true("the token to be refused", || async {
            let answer = client.call("read", json!({})).await;
            answer.status == 401 && answer.reason() == "token_revoked"
        })
        .await;
    }
}

async fn works(scene: &Scene, client: &McpClient) {
    for client in everywhere(scene, client) {
        assert_eq!(client.call("read", json!({})).await.text(), "content");
    }
}

#[tokio::test]
async fn a_revoked_agent_loses_every_token_and_gets_new_ones() {
    let scene = two_of_each().await;
    let other = scene.tollgate.agent("other").grant("files:read").create().await.at_server("files").await;
    works(&scene, &scene.client).await;
    let said = scene.tollgate.command(&["revoke", "agent", "ci"]).await.success().json();
    assert_eq!((&said["revision"], &said["connected"]), (&json!(1), &json!(1)), "one follows the one that was asked");
    if said["applied"] == 1 {
        // What was applied is refused from then on, without waiting.
        let here = scene.client.clone().through(scene.tollgate.data_plane_url(0)).call("read", json!({})).await;
        assert_eq!((here.status, here.reason()), (401, "token_revoked"), "{}", here.body);
    }
    dies(&scene, &scene.client).await;
    works(&scene, &other).await;
    works(&scene, &scene.agent.at_server("files").await).await;

    assert_eq!(scene.tollgate.command(&["revoke", "agent", "nobody"]).await.code, 5);
    let events = scene.tollgate.sql("SELECT object_name FROM audit_events WHERE action = 'agent.revoke'").await;
    assert_eq!(events, ["ci"]);
}

#[tokio::test]
async fn a_suspended_agent_does_not_get_its_old_tokens_back() {
    let scene = two_of_each().await;
    works(&scene, &scene.client).await;
    for action in ["suspend", "activate"] {
        let path = format!("agents/ci:{action}");
        assert_eq!(scene.tollgate.rest(Method::POST, &path, &[], &Value::Null).await.status, 200);
    }
    scene.tollgate.policy_in_force().await;
    dies(&scene, &scene.client).await;
    works(&scene, &scene.agent.at_server("files").await).await;
}

#[tokio::test]
async fn a_whole_tenant_is_revoked_by_one_command_that_must_be_meant() {
    let scene = two_of_each().await;
    works(&scene, &scene.client).await;
    assert_eq!(scene.tollgate.command(&["revoke", "tenant"]).await.code, 3, "it must be meant");
    works(&scene, &scene.client).await;
    let _output = scene.tollgate.command(&["revoke", "tenant", "--yes"]).await.success();
    dies(&scene, &scene.client).await;
    works(&scene, &scene.agent.at_server("files").await).await;
    assert_eq!(scene.tollgate.sql("SELECT count(*)::text FROM revocations").await, ["1"]);
}

#[tokio::test]
async fn a_data_plane_that_was_away_learns_of_it_when_it_is_back() {
    let mut scene = two_of_each().await;
    let away = scene.client.clone().through(scene.tollgate.data_plane_url(1));
    assert_eq!(away.call("read", json!({})).await.text(), "content");
    scene.tollgate.crash_data_plane(1);
    let _output = scene.tollgate.command(&["revoke", "agent", "ci"]).await.success();
    scene.tollgate.start_data_plane(1).await;
    dies(&scene, &scene.client).await;
}
