//! What bad tokens get: 401 with a challenge that says where to go, and a reason.

use http::Method;
use serde_json::json;
use tollgate_tests::{Http, McpAnswer, eventually};

use crate::scene::{Refused, Scene, modern_call};

const fn unauthorised(reason: &'static str) -> Refused {
    Refused { status: 401, code: 40100, reason }
}

#[tokio::test]
async fn no_token_is_challenged() {
    let scene = Scene::modern().await;
    let answer = scene.client.clone().without_token().call("read", json!({})).await;
    let challenge = challenge(&answer);
    assert!(!challenge.contains("error="), "a request without a token is no error: {challenge}");
    scene.assert_refused(&answer, unauthorised("token_missing")).await;
}

#[tokio::test]
async fn a_token_in_the_query_is_no_token() {
    let scene = Scene::modern().await;
    let token = scene.agent.token(scene.client.url()).await;
    let url = format!("{}?access_token={token}", scene.client.url());
    let answer = tollgate_tests::McpClient::new(&url).call("read", json!({})).await;
    scene.assert_refused(&answer, unauthorised("token_missing")).await;
}

#[tokio::test]
async fn a_tampered_token_is_refused() {
    let scene = Scene::modern().await;
    let token = scene.agent.token(scene.client.url()).await;
    let (signed, signature) = token.rsplit_once('.').expect("a JWT has three parts");
    let first = if signature.starts_with('A') { "B" } else { "A" };
    let tampered = format!("{signed}.{first}{}", &signature[1..]);
    let answer = scene.client.clone().with_token(&tampered).call("read", json!({})).await;
    assert!(challenge(&answer).contains(r#"error="invalid_token""#));
    scene.assert_refused(&answer, unauthorised("token_invalid")).await;
}

#[tokio::test]
async fn a_token_for_another_resource_is_refused() {
    let scene = Scene::modern().await;
    let token = scene.agent.token(&scene.tollgate.federated_url()).await;
    let answer = scene.client.clone().with_token(&token).call("read", json!({})).await;
    assert!(challenge(&answer).contains(r#"error="invalid_token""#));
    scene.assert_refused(&answer, unauthorised("audience_mismatch")).await;
}

#[tokio::test]
async fn an_expired_token_is_refused() {
    let scene = Scene::modern().await;
    // A minute is the shortest life that a tenant can choose; the story does not wait for so long.
    scene.tollgate.sql("ALTER TABLE tenants DROP CONSTRAINT tenants_access_token_ttl_s_check").await;
    scene.tollgate.sql("UPDATE tenants SET access_token_ttl_s = 1").await;
    let token = scene.agent.token(scene.client.url()).await;
    let short_lived = scene.client.clone().with_token(&token);
    let answer = eventually("the token to expire", || async {
        Some(short_lived.request("tools/list", json!({})).await).filter(|answer| answer.status == 401)
    })
    .await;
    assert!(challenge(&answer).contains(r#"error="invalid_token""#));
    scene.assert_refused(&answer, unauthorised("token_expired")).await;
}

#[tokio::test]
async fn the_administrators_token_is_no_agents_token() {
    let scene = Scene::modern().await;
    let answer = scene.client.clone().with_token(scene.tollgate.admin_token()).call("read", json!({})).await;
    scene.assert_refused(&answer, unauthorised("token_invalid")).await;
}

#[tokio::test]
async fn an_agents_token_is_no_administrators_token() {
    let scene = Scene::modern().await;
    let bearer = format!("Bearer {}", scene.agent.token(scene.client.url()).await);
    let url = format!("{}/api/v1/tenants/default/agents", scene.tollgate.control_url());
    let answer = Http::default().send(Method::GET, &url, &[("authorization", &bearer)], "").await;
    assert_eq!(answer.expect("the control plane answers").status, 401);
}

#[tokio::test]
async fn two_authorization_headers_are_refused() {
    let scene = Scene::modern().await;
    let another = [("authorization", "Bearer something")];
    let answer = scene.client.post_as_call_with(&another, "read", modern_call("read").to_string()).await;
    assert_eq!(answer.header("www-authenticate"), Some(r#"Bearer error="invalid_request""#));
    scene.assert_refused(&answer, Refused { status: 400, code: -32600, reason: "request_malformed" }).await;
}

#[tokio::test]
async fn a_token_in_a_form_beside_the_header_is_refused() {
    let scene = Scene::modern().await;
    let form =
        [("content-type", "application/x-www-form-urlencoded"), ("accept", "application/json, text/event-stream")];
    let answer = scene.client.post(&form, "a=b&access_token=x").await;
    assert_eq!(answer.header("www-authenticate"), Some(r#"Bearer error="invalid_request""#));
    scene.assert_refused(&answer, Refused { status: 400, code: -32600, reason: "request_malformed" }).await;
    let without_header = scene.client.clone().without_token().post(&form, "access_token=x").await;
    assert_eq!(without_header.status, 415, "a token in a form is no token, and a form is no message");
}

#[tokio::test]
async fn the_scheme_may_be_written_in_any_case() {
    let scene = Scene::modern().await;
    let token = scene.agent.token(scene.client.url()).await;
    let client = scene.client.clone().without_token();
    for bearer in [format!("bEARER {token}"), format!("Bearer  {token}"), format!("Bearer {token} ")] {
        let call = modern_call("read").to_string();
        let answer = client.post_as_call_with(&[("authorization", &bearer)], "read", call).await;
        assert_eq!(answer.text(), "content", "{}", bearer.replace(&token, "…"));
    }
    for nothing in
        [format!("Bearer\t{token}"), format!("Bearer{token}"), format!("Bearer {token} x"), "Bearer ".to_owned()]
    {
        let call = modern_call("read").to_string();
        let answer = client.post_as_call_with(&[("authorization", &nothing)], "read", call).await;
        assert_eq!(answer.status, 401, "{}", nothing.replace(&token, "…"));
    }
}

#[tokio::test]
async fn an_endless_token_is_refused() {
    let scene = Scene::modern().await;
    let answer = scene.client.clone().with_token(&"x".repeat(9 * 1024)).call("read", json!({})).await;
    assert!(matches!(answer.status, 401 | 431), "{} {}", answer.status, answer.body);
    assert!(scene.server.calls().is_empty());
    scene.assert_goes_on().await;
}

/// The challenge of a 401, which names where the resource is described.
fn challenge(answer: &McpAnswer) -> &str {
    assert_eq!(answer.status, 401, "{}", answer.body);
    let challenge = answer.header("www-authenticate").expect("a 401 has a challenge");
    assert!(challenge.starts_with("Bearer "), "{challenge}");
    assert!(challenge.contains("resource_metadata=\"http"), "{challenge}");
    assert!(challenge.contains("/.well-known/oauth-protected-resource/t/default/mcp/files\""), "{challenge}");
    challenge
}
