//! Policy changes take force while everything runs, and calls go on while the control plane is away.

use serde_json::json;
use tollgate_tests::{Deployment, Era};

use crate::scene::Scene;

const MAY_WRITE: &str = "
apiVersion: tollgate/v1
kind: Grant
metadata: {name: ci-may-write}
spec: {to: {agent: ci}, scopes: ['files:write']}
";

#[tokio::test]
async fn a_grant_takes_force_without_a_restart_and_so_does_its_removal() {
    let scene = Scene::modern().await;
    assert_eq!(scene.client.call("write", json!({})).await.status, 403);
    scene.tollgate.apply(MAY_WRITE).await;
    let writer = scene.agent.at_server("files").await;
    assert_eq!(writer.tool_names().await, ["read", "write"]);
    assert_eq!(writer.call("write", json!({})).await.text(), "written");
    scene.tollgate.delete("grants/ci-may-write").await;
    assert_eq!(writer.call("write", json!({})).await.status, 403, "the token is as before, the authority is not");
    assert_eq!(writer.tool_names().await, ["read"]);
}

#[tokio::test]
async fn a_token_that_carries_less_than_is_granted_hides_the_rest_and_is_told_what_it_lacks() {
    let scene = Scene::modern().await;
    scene.tollgate.apply(MAY_WRITE).await;
    let narrow = [("resource", scene.client.url()), ("scope", "files:read")];
    let answer = scene.agent.ask_for_token(&narrow).await.json();
    let token = answer["access_token"].as_str().expect("a token answer has a token");
    scene.tollgate.remember_secret(token);
    let client = scene.client.clone().with_token(token);
    assert_eq!(client.tool_names().await, ["read"]);
    let answer = client.call("write", json!({})).await;
    assert_eq!((answer.status, answer.reason()), (403, "scope_insufficient"), "{}", answer.body);
    let challenge = answer.header("www-authenticate").expect("a challenge");
    for part in [r#"error="insufficient_scope""#, r#"scope="files:write""#, "resource_metadata=\"http"] {
        assert!(challenge.contains(part), "{part} is not in {challenge}");
    }
    assert!(scene.server.calls().is_empty());
}

#[tokio::test]
async fn a_grant_to_a_team_counts_for_its_agents() {
    let scene = Scene::modern().await;
    scene.tollgate.apply(&MAY_WRITE.replace("agent: ci", "team: stories")).await;
    let writer = scene.agent.at_server("files").await;
    assert_eq!(writer.call("write", json!({})).await.text(), "written");
}

#[tokio::test]
async fn resources_and_prompts_do_not_come_with_a_tool() {
    let tollgate = Deployment::dev().start().await;
    let all = tollgate.agent("all").grant("demo:*").create().await.at_server("demo").await;
    let one = tollgate.agent("one").grant("demo:echo").create().await.at_server("demo").await;
    for (method, params) in
        [("resources/read", json!({"uri": "demo://about"})), ("prompts/get", json!({"name": "tour", "arguments": {}}))]
    {
        let answer = all.request(method, params.clone()).await;
        assert!(answer.result().is_object(), "{}", answer.body);
        let refused = one.request(method, params).await;
        assert_eq!(refused.status, 403, "{}", refused.body);
    }
    assert_eq!(all.request("resources/list", json!({})).await.result()["resources"][0]["uri"], "demo://about");
}

#[tokio::test]
async fn a_deny_outweighs_a_grant() {
    let scene = Scene::modern().await;
    let all = MAY_WRITE.replace("files:write", "files:*");
    scene.tollgate.apply(&all).await;
    let writer = scene.agent.at_server("files").await;
    assert_eq!(writer.call("write", json!({})).await.status, 200);
    let never = MAY_WRITE.replace("ci-may-write", "ci-never").replace("{to", "{deny: true, to");
    scene.tollgate.apply(&never).await;
    assert_eq!(writer.call("write", json!({})).await.status, 403);
    assert_eq!(writer.call("read", json!({})).await.status, 200);
}

#[tokio::test]
async fn calls_go_on_while_the_control_plane_is_away() {
    let mut scene = Scene::set(Deployment::separate(1), &Era::Modern).await;
    let before = scene.client.call("read", json!({})).await;
    scene.tollgate.stop_control_plane();
    let during = scene.client.call("read", json!({})).await;
    assert_eq!(during.text(), "content");
    assert_eq!(scene.client.call("write", json!({})).await.status, 403, "what was denied stays denied");
    scene.tollgate.start_control_plane().await;
    for answer in [before, during] {
        assert!(scene.tollgate.usage_of(answer.call_id()).await.forwarded);
    }
    scene.tollgate.apply(MAY_WRITE).await;
    let writer = scene.agent.at_server("files").await;
    assert_eq!(writer.call("write", json!({})).await.text(), "written", "the stream of policy is back");
}

#[tokio::test]
async fn a_data_plane_that_restarts_alone_serves_its_last_policy() {
    let mut scene = Scene::set(Deployment::separate(1), &Era::Modern).await;
    scene.tollgate.when_stale("60m", "allow").await;
    scene.tollgate.stop_control_plane();
    scene.tollgate.crash_data_plane(0);
    scene.tollgate.start_data_plane(0).await;
    assert_eq!(scene.client.call("read", json!({})).await.text(), "content");
    scene.tollgate.start_control_plane().await;
}

#[tokio::test]
async fn a_server_on_a_private_network_is_refused_unless_the_tenant_allows_it() {
    let server =
        tollgate_tests::ScriptedServer::modern().tool("read", tollgate_tests::Reply::text("content")).start().await;
    let tollgate = Deployment::separate(1).start().await;
    tollgate.register("files", &server).await;
    let client = tollgate.agent("ci").grant("files:read").create().await.at_server("files").await;
    let answer = client.call("read", json!({})).await;
    assert_eq!(answer.reason(), "upstream_unavailable");
    assert!(server.seen().is_empty(), "the gateway connected to a private network");
    tollgate.allow_loopback_servers().await;
    tollgate.policy_in_force().await;
    assert_eq!(client.call("read", json!({})).await.text(), "content");
}
