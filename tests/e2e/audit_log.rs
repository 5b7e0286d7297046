//! The audit log, read where people and programs read it; and what operators do by command.

use http::Method;
use serde_json::json;
use tollgate_tests::{Answer, Deployment, Http};

use crate::authorization::{Office, change_tenant};

async fn register(tollgate: &Deployment, name: &str, token: &str) -> Answer {
    let url = format!("{}/oauth/register", tollgate.issuer());
    let body = json!({"client_name": name, "redirect_uris": ["http://127.0.0.1/callback"],
                      "token_endpoint_auth_method": "none"});
    let authorization = format!("Bearer {token}");
    let headers = [("content-type", "application/json"), ("authorization", &*authorization)];
    Http::default().send(Method::POST, &url, &headers, body.to_string()).await.expect("an answer")
}

#[tokio::test]
async fn an_agent_that_registers_is_approved_by_command_and_the_log_tells_of_it() {
    let tollgate = Deployment::dev().argument("--no-demo").start().await;
    change_tenant(&tollgate, json!({"client_registration": {"registration": "initial_access_token"}})).await;
    assert_eq!(register(&tollgate, "Editor", "tgi_wrong").await.status, 401);
    let made = tollgate.command(&["initial-access-tokens", "create", "--note", "for the story"]).await.success().json();
    let token = made["token"].as_str().expect("a token");
    tollgate.remember_secret(token);
    let listed = tollgate.command(&["initial-access-tokens", "list", "-o", "json"]).await.success().json();
    assert_eq!((&listed[0]["id"], &listed[0]["note"]), (&made["id"], &json!("for the story")));
    assert!(listed[0].get("token").is_none(), "it is shown once: {listed}");
    assert_eq!(register(&tollgate, "Editor", token).await.status, 201);
    let id = made["id"].as_str().expect("an id");
    tollgate.command(&["initial-access-tokens", "delete", id]).await.success();
    assert_eq!(tollgate.command(&["initial-access-tokens", "delete", id]).await.code, 5);

    change_tenant(&tollgate, json!({"client_registration": {"registration": "approval"}})).await;
    let waiting = register(&tollgate, "Reader", "").await.json();
    let waiting = waiting["client_id"].as_str().expect("a client").to_owned();
    let state = async || {
        tollgate.command(&["get", "agent", &waiting, "-o", "json"]).await.success().json()["status"]["state"].clone()
    };
    assert_eq!(state().await, "waiting");
    tollgate.command(&["agents", "approve", &waiting]).await.success();
    assert_eq!(state().await, "active");

    let log = ["audit", "list", "--object", &waiting, "--action", "agent.*", "-o", "json"];
    let events = tollgate.command(&log).await.success().json();
    assert_eq!(events[0]["action"], "agent.approve", "{events}");
    assert_eq!((&events[0]["peer"], events[0]["request_id"].as_str().map(str::len)), (&json!("127.0.0.1"), Some(36)));
    let table = tollgate.command(&["audit", "list", "--limit", "1"]).await.success();
    assert_eq!(table.stdout.lines().count(), 2, "{}", table.stdout);
    assert!(table.stdout.starts_with("AT "), "{}", table.stdout);
}

#[tokio::test]
async fn what_a_user_allows_is_listed_and_revoked_by_command() {
    let mut office = Office::open(Deployment::dev().argument("--no-demo")).await;
    let app = office.tollgate.interactive_agent("app").grant("files:read").create().await;
    let resource = office.tollgate.server_url("files");
    let tokens = app.tokens(&mut office.owner, &resource).await;
    let list = ["authorizations", "list", "admin@localhost", "-o", "json"];
    let allowed = office.tollgate.command(&list).await.success().json();
    assert_eq!((&allowed[0]["agent"], &allowed[0]["scopes"]), (&json!("app"), &json!(["files:read"])));
    let id = allowed[0]["id"].as_str().expect("an id");
    office.tollgate.command(&["authorizations", "revoke", "admin@localhost", id]).await.success();
    assert_eq!(office.tollgate.command(&list).await.success().json(), json!([]));
    assert_eq!(app.refresh(&tokens.refresh_token, &[]).await.status, 400);
}
