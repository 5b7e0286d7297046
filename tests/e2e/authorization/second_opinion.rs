//! What libraries that know nothing of MCP make of the authorization server: authlib drives it through the code flow,
//! refresh, introspection and revocation, and the TypeScript SDK's own parser reads its errors.

use http::Method;
use serde_json::{Value, json};
use tollgate_tests::{Deployment, Http, InteractiveAgent, NodeClient, OauthClient};

use super::Office;

#[tokio::test]
async fn authlib_authorizes_refreshes_and_revokes_as_a_public_client() {
    let (office, agent) = with_agent("none").await;
    let done = authlib(&office, &agent, "none").await;
    assert_eq!(done["before"], Value::Null, "a public client does not introspect");
    assert_eq!(done["refused"], "invalid_grant", "{done}");
}

#[tokio::test]
async fn authlib_introspects_as_well_with_a_secret() {
    for method in ["client_secret_basic", "client_secret_post"] {
        let (office, agent) = with_agent(method).await;
        let done = authlib(&office, &agent, method).await;
        let before = &done["before"];
        assert_eq!(before["active"], true, "{done}");
        assert_eq!(before["client_id"], json!(agent.client_id), "{done}");
        assert_eq!(before["iss"], json!(office.tollgate.issuer()), "{done}");
        assert_eq!(before["aud"], json!(office.tollgate.server_url("files")), "{done}");
        assert_eq!(done["after"], json!({"active": false}), "nothing is told about a token that is revoked");
        assert_eq!(done["refused"], "invalid_grant", "{done}");
    }
}

#[tokio::test]
async fn of_a_token_that_is_not_the_callers_nothing_is_told() {
    let (mut office, agent) = with_agent("client_secret_post").await;
    let resource = office.tollgate.server_url("files");
    let tokens = agent.tokens(&mut office.owner, &resource).await;
    let own = agent.introspect(&tokens.access_token).await.json();
    assert_eq!((&own["active"], &own["scope"]), (&json!(true), &json!("files:read")), "{own}");
    assert!(own["sub"].as_str().is_some_and(|sub| sub.starts_with("usr_")), "{own}");
    assert!(own["exp"].is_u64() && own["iat"].is_u64() && own["jti"].is_string(), "{own}");
    let draft = office.tollgate.interactive_agent("other").grant("files:read").confidential("client_secret_post");
    let other = draft.create().await;
    let mut tampered = tokens.access_token.clone();
    tampered.pop();
    let nothing = json!({"active": false});
    assert_eq!(other.introspect(&tokens.access_token).await.json(), nothing, "another client's access token");
    assert_eq!(other.introspect(&tokens.refresh_token).await.json(), nothing, "another client's refresh token");
    assert_eq!(agent.introspect(&tampered).await.json(), nothing, "a token that was tampered with");
    assert_eq!(agent.introspect("garbage").await.json(), nothing, "no token");
}

#[tokio::test]
async fn the_typescript_sdk_understands_every_error() {
    let (office, agent) = with_agent("client_secret_post").await;
    let issuer = office.tollgate.issuer();
    let form = ("content-type", "application/x-www-form-urlencoded");
    let json_body = ("content-type", "application/json");
    let mut answers = Vec::new();
    for (endpoint, header, body) in [
        ("token", form, ""),
        ("token", form, "grant_type=password"),
        ("token", form, "grant_type=client_credentials&client_id=agt_nobody&client_secret=x"),
        ("token", json_body, "{}"),
        ("introspect", form, "token=x"),
        ("revoke", form, "token=x"),
        ("register", json_body, "[]"),
        ("register", json_body, r#"{"redirect_uris": ["javascript:alert(1)"]}"#),
        ("register", form, "redirect_uris=x"),
    ] {
        let url = format!("{issuer}/oauth/{endpoint}");
        let answer = Http::default().send(Method::POST, &url, &[header], body).await.expect("the endpoint answers");
        assert!((400..500).contains(&answer.status), "{endpoint} {body}: {} {}", answer.status, answer.text());
        answers.push(json!({"status": answer.status, "body": answer.text()}));
    }
    for endpoint in ["token", "introspect", "revoke", "register"] {
        let answer = Http::default().get(&format!("{issuer}/oauth/{endpoint}")).await;
        assert_eq!(answer.status, 405, "{endpoint}: {}", answer.text());
        assert!(answer.header("allow").is_some_and(|methods| methods.starts_with("POST")), "{:?}", answer.headers);
        answers.push(json!({"status": answer.status, "body": answer.text()}));
    }
    let refused = agent.redeem("tgc_nothing", &[]).await;
    answers.push(json!({"status": refused.status, "body": refused.text()}));
    let classes = NodeClient.error_classes(&json!(answers)).await;
    for (answer, class) in answers.iter().zip(classes.as_array().expect("one for each")) {
        let message = class["message"].as_str().unwrap_or_default();
        assert!(!message.contains("Invalid OAuth error response"), "{answer} is no OAuth error: {class}");
    }
}

async fn with_agent(method: &'static str) -> (Office, InteractiveAgent) {
    let office = Office::open(Deployment::dev().argument("--no-demo")).await;
    let draft = office.tollgate.interactive_agent("library").grant("files:read");
    let agent = if method == "none" { draft } else { draft.confidential(method) }.create().await;
    (office, agent)
}

async fn authlib(office: &Office, agent: &InteractiveAgent, method: &str) -> Value {
    let request = json!({
        "metadata": format!("{}/.well-known/oauth-authorization-server/t/default", office.tollgate.control_url()),
        "client_id": agent.client_id, "client_secret": agent.client_secret, "method": method,
        "redirect_uri": agent.redirect_uri, "scope": "files:read", "resource": office.tollgate.server_url("files"),
    });
    let mut person = office.owner.clone();
    let done = OauthClient::Authlib.run(&request, async |url| person.allow(&url).await.to_string()).await;
    assert_eq!(done["token"]["scope"], "files:read", "{done}");
    assert_eq!(done["token"]["token_type"], "Bearer", "{done}");
    assert_ne!(done["token"]["access_token"], done["refreshed"]["access_token"], "{done}");
    assert_ne!(done["token"]["refresh_token"], done["refreshed"]["refresh_token"], "it was rotated: {done}");
    done
}
