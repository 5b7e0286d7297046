//! How a client that knows nothing but a URL finds its way to a token.

use http::Method;
use serde_json::{Value, json};
use tollgate_tests::{Http, McpClient};

use crate::scene::Scene;

#[tokio::test]
async fn every_endpoint_describes_itself_as_a_protected_resource() {
    let scene = Scene::modern().await;
    let (data, issuer) = (scene.tollgate.data_url(), format!("{}/t/default", scene.tollgate.control_url()));
    for path in ["/t/default/mcp", "/t/default/mcp/files"] {
        let document = Http::default().get(&format!("{data}/.well-known/oauth-protected-resource{path}")).await;
        assert_eq!(document.status, 200, "{}", document.text());
        let document = document.json();
        assert_eq!(document["resource"], format!("{data}{path}"));
        assert_eq!(document["authorization_servers"], json!([issuer]));
        assert_eq!(document["bearer_methods_supported"], json!(["header"]));
        let scopes = document["scopes_supported"].to_string();
        assert!(!scopes.contains("openid") && !scopes.contains("offline_access"), "{scopes}");
        assert!(members(&document).all(|member| *member != json!([])), "an empty array is left out: {document}");
    }
}

#[tokio::test]
async fn there_is_no_document_for_what_is_no_resource() {
    let scene = Scene::modern().await;
    for path in ["", "/t/default", "/t/nobody/mcp", "/t/default/mcp/nowhere", "/t/default/mcp/files/more"] {
        let url = format!("{}/.well-known/oauth-protected-resource{path}", scene.tollgate.data_url());
        assert_eq!(Http::default().get(&url).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn the_issuer_is_found_from_the_challenge_and_gives_a_token_that_works() {
    let scene = Scene::modern().await;
    let http = Http::default();
    let bare = scene.client.clone().without_token().call("read", json!({})).await;
    let challenge = bare.header("www-authenticate").expect("a challenge").to_owned();
    let document = http.get(parameter(&challenge, "resource_metadata")).await.json();
    let issuer = document["authorization_servers"][0].as_str().expect("an issuer");
    let (origin, tenant) = issuer.split_once("/t/").expect("a tenant's issuer");
    let inserted = http.get(&format!("{origin}/.well-known/oauth-authorization-server/t/{tenant}")).await.json();
    let appended = http.get(&format!("{issuer}/.well-known/oauth-authorization-server")).await.json();
    assert_eq!(inserted, appended);
    assert_eq!(inserted["issuer"], issuer);
    assert_eq!(inserted["token_endpoint"], scene.tollgate.token_url());
    let jwks = http.get(inserted["jwks_uri"].as_str().expect("a key set")).await.json();
    assert_eq!(jwks["keys"][0]["kty"], "EC");
    assert!(jwks["keys"][0].get("d").is_none(), "the private half stays at home");
    let openid = http.get(&format!("{issuer}/.well-known/openid-configuration")).await;
    assert_eq!(openid.status, 404, "no OpenID provider to agents");
    let resource = document["resource"].as_str().expect("a resource");
    let token = scene.agent.token(resource).await;
    assert_eq!(McpClient::new(resource).with_token(&token).call("read", json!({})).await.text(), "content");
}

#[tokio::test]
async fn the_token_endpoint_keeps_to_what_is_granted() {
    let scene = Scene::modern().await;
    let resource = scene.client.url();
    let all = scene.agent.ask_for_token(&[("resource", resource)]).await;
    assert_eq!((all.status, &all.json()["scope"]), (200, &json!("files:read")));
    assert_eq!(all.header("cache-control"), Some("no-store"));
    let with_slash = scene.agent.ask_for_token(&[("resource", &format!("{resource}/"))]).await;
    let token = with_slash.json()["access_token"].as_str().expect("one trailing slash is tolerated").to_owned();
    assert_eq!(McpClient::new(resource).with_token(&token).call("read", json!({})).await.text(), "content");
    for (parameters, error) in [
        (vec![("resource", resource), ("scope", "files:write")], "invalid_scope"),
        (vec![("resource", resource), ("scope", "files:read files:write")], "invalid_scope"),
        (vec![("resource", "https://elsewhere.example/mcp")], "invalid_target"),
    ] {
        let answer = scene.agent.ask_for_token(&parameters).await;
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!(error)), "{parameters:?}");
    }
    let stranger = scene.tollgate.agent("stranger").create().await;
    let nothing = stranger.ask_for_token(&[("resource", resource)]).await;
    assert_eq!((nothing.status, &nothing.json()["error"]), (400, &json!("invalid_scope")));
}

#[tokio::test]
async fn a_wrong_secret_is_no_secret() {
    let scene = Scene::modern().await;
    let mut guessing = scene.agent.clone();
    guessing.client_secret = guessing.client_secret.replace(|last: char| last.is_ascii_digit(), "x");
    let answer = guessing.ask_for_token(&[]).await;
    assert_eq!((answer.status, &answer.json()["error"]), (401, &json!("invalid_client")));
    assert!(answer.header("www-authenticate").is_some_and(|challenge| challenge.starts_with("Basic")));
}

#[tokio::test]
async fn a_secret_may_be_posted_where_the_agent_is_set_up_so() {
    let scene = Scene::modern().await;
    let spec = json!({"team": "stories", "type": "autonomous", "auth_method": "client_secret_post"});
    scene.tollgate.put("agents/ci", json!({"spec": spec})).await;
    let (id, secret) = (scene.agent.client_id.as_str(), scene.agent.client_secret.as_str());
    let form = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let answer = Http::default().send(Method::POST, &scene.tollgate.token_url(), &headers, form).await;
    let answer = answer.expect("the token endpoint answers");
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn members(document: &Value) -> impl Iterator<Item = &Value> {
    document.as_object().expect("an object").values()
}

/// A parameter of a challenge.
fn parameter<'a>(challenge: &'a str, name: &str) -> &'a str {
    let (_, rest) = challenge.split_once(&format!("{name}=\"")).unwrap_or_else(|| panic!("no {name}: {challenge}"));
    rest.split('"').next().expect("a quoted value")
}
