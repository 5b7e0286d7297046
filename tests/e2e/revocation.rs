//! What was revoked is refused: everywhere, by whoever restarts, and in the middle of an answer.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tokio::{sync::Notify, time::timeout};
use tollgate_tests::{Deployment, Era, Http, McpAnswer, McpClient, McpStream, Person, Piece, Reply, eventually};

use crate::scene::{Refused, Scene, assert_refusal};

const REVOKED: Refused = Refused { status: 401, code: 40100, reason: "token_revoked" };

/// No token takes this long to be a second younger than what was revoked, even on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_revoked_token_is_refused_at_every_data_plane_and_a_new_one_is_good() {
    let scene = Scene::set(Deployment::separate(2), &Era::Modern).await;
    let token = scene.agent.token(scene.client.url()).await;
    let everywhere: Vec<McpClient> = (0..2)
        .map(|index| scene.client.clone().with_token(&token).through(scene.tollgate.data_plane_url(index)))
        .collect();
    for client in &everywhere {
        assert_eq!(client.call("read", json!({})).await.text(), "content");
    }
    let jti = claims(&token)["jti"].as_str().expect("a token has an id").to_owned();
    revoke(&scene.tollgate, "token", &jti).await;
    for client in &everywhere {
        let answer = refused_at_last(client).await;
        assert_refusal(&answer, REVOKED);
        assert!(answer.header("www-authenticate").is_some_and(|challenge| challenge.contains("invalid_token")));
    }
    scene.assert_goes_on().await;
    let another = scene.agent.at_server("files").await;
    assert_eq!(another.call("read", json!({})).await.text(), "content");
}

#[tokio::test]
async fn what_was_revoked_is_refused_by_a_data_plane_that_restarts_alone() {
    let mut scene = Scene::set(Deployment::separate(1), &Era::Modern).await;
    revoke(&scene.tollgate, "agent", &scene.agent.client_id).await;
    assert_refusal(&refused_at_last(&scene.client).await, REVOKED);
    let made_before = scene.server.calls().len();
    scene.tollgate.stop_control_plane();
    scene.tollgate.crash_data_plane(0);
    scene.tollgate.start_data_plane(0).await;
    assert_refusal(&scene.client.call("read", json!({})).await, REVOKED);
    scene.tollgate.start_control_plane().await;
    assert_refusal(&scene.client.call("read", json!({})).await, REVOKED);
    assert_eq!(scene.server.calls().len(), made_before);
}

#[tokio::test]
async fn a_stream_ends_with_the_reason_when_its_agent_is_revoked() {
    let scene = Scene::modern().await;
    let (stream, call_id) = open_stream(&scene).await;
    revoke(&scene.tollgate, "agent", &scene.agent.client_id).await;
    let answer = stream.finish().await;
    assert_eq!(answer.status, 200, "the stream had begun");
    assert_cut_off(&scene, &answer, &call_id, "token_revoked").await;
}

#[tokio::test]
async fn a_stream_that_runs_for_a_user_ends_when_its_client_gives_the_refresh_token_back() {
    let scene = Scene::modern().await;
    let app = scene.tollgate.interactive_agent("app").grant("files:read").confidential("client_secret_post");
    let (app, mut owner) = (app.create().await, Person::owner(&scene.tollgate).await);
    let tokens = app.tokens(&mut owner, scene.client.url()).await;
    let (stream, call_id) = open_stream_of(&scene, &tokens.at(scene.client.url())).await;
    let (others, others_call) = open_stream(&scene).await;
    assert_eq!(app.revoke(&tokens.refresh_token).await.status, 200);
    assert_cut_off(&scene, &stream.finish().await, &call_id, "token_revoked").await;
    // Nobody else's ended with it: this one lasts until something of its own is taken away.
    scene.tollgate.delete("grants/ci").await;
    assert_cut_off(&scene, &others.finish().await, &others_call, "tool_not_granted").await;
}

#[tokio::test]
async fn whatever_is_revoked_ends_the_streams_that_are_open_with_it() {
    let scene = Scene::modern().await;
    let app = scene.tollgate.interactive_agent("app").grant("files:read").confidential("client_secret_post");
    let (app, mut owner) = (app.create().await, Person::owner(&scene.tollgate).await);
    // The key last: the next tokens are signed with it.
    for kind in ["token", "grant_family", "user", "tenant", "key"] {
        scene.server.set("read", Reply::text("content"));
        // What was issued in the same second as it was revoked is refused: the next token is younger.
        let accepted = async {
            loop {
                let tokens = app.tokens(&mut owner, scene.client.url()).await;
                let client = tokens.at(scene.client.url());
                if client.call("read", json!({})).await.status == 200 {
                    break (client, tokens.access_token);
                }
            }
        };
        let (client, token) = timeout(PATIENCE, accepted).await.expect("a younger token is accepted");
        let (stream, call_id) = open_stream_of(&scene, &client).await;
        let said = claims(&token);
        let header = token.split('.').next().expect("a JWT has three parts");
        let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).expect("base64url")).expect("JSON");
        let subject = match kind {
            "token" => &said["jti"],
            "grant_family" => &said["gid"],
            "user" => &said["sub"],
            "key" => &header["kid"],
            _ => &Value::Null,
        };
        revoke(&scene.tollgate, kind, subject.as_str().unwrap_or_default()).await;
        assert_cut_off(&scene, &stream.finish().await, &call_id, "token_revoked").await;
    }
}

#[tokio::test]
async fn a_stream_ends_with_the_reason_when_its_grant_is_withdrawn() {
    let scene = Scene::modern().await;
    let (stream, call_id) = open_stream(&scene).await;
    scene.tollgate.delete("grants/ci").await;
    let answer = stream.finish().await;
    assert_cut_off(&scene, &answer, &call_id, "tool_not_granted").await;
}

#[tokio::test]
async fn a_stream_goes_on_when_somebody_elses_rights_change() {
    let scene = Scene::modern().await;
    let release = Arc::new(Notify::new());
    scene.server.set("read", Reply::Events(vec![progress(), Piece::Until(Arc::clone(&release)), result()]));
    let mut stream = scene.client.open("tools/call", json!({"name": "read", "arguments": {}})).await;
    stream.next().await.expect("the first notification");
    let other = scene.tollgate.agent("other").grant("files:read").create().await;
    let others = other.at_server("files").await;
    revoke(&scene.tollgate, "agent", &other.client_id).await;
    // Once the other is refused, whoever runs a stream has looked at its caller again, or is about to.
    scene.server.set("read", Reply::text("content"));
    refused_at_last(&others).await;
    release.notify_one();
    assert_eq!(stream.finish().await.text(), "content");
}

#[tokio::test]
async fn an_opaque_token_is_asked_about_once_and_outlives_the_control_plane() {
    let mut scene = Scene::set(Deployment::separate(1), &Era::Modern).await;
    scene.tollgate.sql("UPDATE tenants SET access_token_format = 'opaque'").await;
    let [seen, unseen] = [scene.agent.token(scene.client.url()).await, scene.agent.token(scene.client.url()).await];
    assert!(seen.starts_with("tga_") && unseen.starts_with("tga_"));
    let [seen, unseen] = [seen, unseen].map(|token| scene.client.clone().with_token(&token));
    for _ in 0..3 {
        assert_eq!(seen.call("read", json!({})).await.text(), "content");
    }
    let metrics = Http::default().get(&format!("{}/metrics", scene.tollgate.ops_url(0))).await.text();
    assert!(metrics.contains(r#"tollgate_introspections_total{result="active"} 1"#), "{metrics}");

    scene.tollgate.stop_control_plane();
    assert_eq!(seen.call("read", json!({})).await.text(), "content", "what is known needs nobody");
    let answer = unseen.call("read", json!({})).await;
    let unavailable = Refused { status: 503, code: 50300, reason: "introspection_unavailable" };
    assert_refusal(&answer, unavailable);
    assert!(answer.header("retry-after").is_some());

    scene.tollgate.start_control_plane().await;
    eventually("the other token to be asked about", || async {
        let answer = unseen.call("read", json!({})).await;
        Some(answer).filter(|answer| answer.status == 200)
    })
    .await;
    revoke(&scene.tollgate, "agent", &scene.agent.client_id).await;
    for client in [&seen, &unseen] {
        assert_refusal(&refused_at_last(client).await, REVOKED);
    }
}

#[tokio::test]
async fn a_token_that_only_looks_opaque_is_no_token() {
    let scene = Scene::modern().await;
    let made_up = format!("tga_{}", "x".repeat(49));
    let answer = scene.client.clone().with_token(&made_up).call("read", json!({})).await;
    scene.assert_refused(&answer, Refused { status: 401, code: 40100, reason: "token_invalid" }).await;
}

/// Revokes as the control plane does: number and entry at once.
async fn revoke(tollgate: &Deployment, kind: &str, subject: &str) {
    let statement = format!(
        "WITH tenant AS (UPDATE tenants SET revocation_revision = revocation_revision + 1 WHERE name = 'default'
                         RETURNING id, revocation_revision)
         INSERT INTO revocations (tenant_id, revision, kind, subject, issued_before, expires_at)
         SELECT id, revocation_revision, '{kind}', '{subject}', extract(epoch FROM now())::bigint + 1,
                now() + interval '1 day' FROM tenant
         RETURNING revision::text"
    );
    assert_eq!(tollgate.sql(&statement).await.len(), 1);
}

async fn refused_at_last(client: &McpClient) -> McpAnswer {
    eventually("the call to be refused", || async {
        Some(client.call("read", json!({})).await).filter(|answer| answer.status == 401)
    })
    .await
}

/// An answer that has begun and does not go on by itself, and the id of its call.
async fn open_stream(scene: &Scene) -> (McpStream, String) {
    open_stream_of(scene, &scene.client).await
}

async fn open_stream_of(scene: &Scene, client: &McpClient) -> (McpStream, String) {
    scene.server.set("read", Reply::Events(vec![progress(), Piece::Until(Arc::new(Notify::new()))]));
    let mut stream = client.open("tools/call", json!({"name": "read", "arguments": {}})).await;
    let call_id = stream.headers["tollgate-call-id"].to_str().expect("ids are text").to_owned();
    stream.next().await.expect("the first notification");
    (stream, call_id)
}

async fn assert_cut_off(scene: &Scene, answer: &McpAnswer, call_id: &str, reason: &str) {
    assert_eq!(answer.error()["data"]["reason"], reason, "{}", answer.body);
    assert_eq!(answer.error()["data"]["call_id"], call_id);
    let record = scene.tollgate.usage_of(call_id).await;
    assert_eq!((record.outcome.as_str(), record.decision.as_str()), ("cut_off", reason));
    assert!(record.forwarded, "the server saw it, so it counts");
}

fn progress() -> Piece {
    Piece::Notification(json!({"jsonrpc": "2.0", "method": "notifications/progress",
                               "params": {"progressToken": "p", "progress": 1}}))
}

fn result() -> Piece {
    Piece::Result(json!({"content": [{"type": "text", "text": "content"}]}))
}

/// What a JWT says.
fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("a JWT has three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).expect("base64url")).expect("JSON")
}
