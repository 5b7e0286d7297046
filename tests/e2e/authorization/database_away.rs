//! Postgres goes away in the middle. Clients are told to come again: whoever were told `invalid_client` or
//! `invalid_grant` would throw away what it has, as the SDKs do.

use http::Method;
use serde_json::{Value, json};
use tollgate_tests::{Answer, Deployment, Http, eventually_true};

use super::Office;

#[tokio::test]
async fn clients_are_told_to_come_again_and_lose_nothing() {
    let mut office = Office::open(Deployment::separate(1).with_losable_database()).await;
    let draft = office.tollgate.interactive_agent("app").grant("files:read").confidential("client_secret_post");
    let app = draft.create().await;
    let machine = office.tollgate.agent("machine").grant("files:read").create().await;
    let resource = office.tollgate.server_url("files");
    let tokens = app.tokens(&mut office.owner, &resource).await;
    let back = office.owner.allow(&app.authorize_url(&[("resource", &resource)])).await;
    let code = tollgate_tests::code_of(&back);

    // What is away is reported, and says so in the log.
    office.tollgate.expect_error_log("");
    office.tollgate.take_database_away().await;
    for (what, answer) in [
        ("a code", app.redeem(&code, &[("resource", &resource)]).await),
        ("a refresh", app.refresh(&tokens.refresh_token, &[]).await),
        ("client credentials", machine.ask_for_token(&[("resource", &resource)]).await),
        ("introspection", app.introspect(&tokens.access_token).await),
        ("revocation", app.revoke(&tokens.access_token).await),
        ("registration", register(&office).await),
    ] {
        assert_come_again(what, &answer);
    }
    let page = Http::default().get(&app.authorize_url(&[("resource", &resource)])).await;
    assert_eq!(page.status, 503, "{}", page.text());
    assert!(page.header("location").is_none(), "nobody is sent anywhere");
    assert!(page.header("content-type").is_some_and(|kind| kind.starts_with("text/html")), "a person reads it");
    assert!(!page.text().contains("sqlx") && !page.text().contains("127.0.0.1"), "it tells nothing: {}", page.text());
    let served = tokens.at(&resource).call("read", json!({})).await;
    assert_eq!(served.status, 200, "calls need no database: {}", served.body);

    office.tollgate.give_database_back();
    eventually_true("the control plane to find its database again", || async {
        app.introspect(&tokens.access_token).await.status == 200
    })
    .await;
    let told = app.introspect(&tokens.access_token).await;
    assert_eq!(told.json()["active"], true, "nothing was revoked meanwhile");
    let refreshed = app.refresh(&tokens.refresh_token, &[]).await;
    assert_eq!(refreshed.status, 200, "nothing was used up: {}", refreshed.text());
    assert_eq!(machine.ask_for_token(&[("resource", &resource)]).await.status, 200);
}

async fn register(office: &Office) -> Answer {
    let url = format!("{}/oauth/register", office.tollgate.issuer());
    let body: Value = json!({"client_name": "new", "redirect_uris": ["http://127.0.0.1/callback"],
                             "token_endpoint_auth_method": "none"});
    let headers = [("content-type", "application/json")];
    Http::default().send(Method::POST, &url, &headers, body.to_string()).await.expect("the control plane answers")
}

fn assert_come_again(what: &str, answer: &Answer) {
    assert_eq!(answer.status, 503, "{what}: {}", answer.text());
    assert_eq!(answer.json()["error"], "temporarily_unavailable", "{what}: {}", answer.text());
    let after: Option<u32> = answer.header("retry-after").and_then(|seconds| seconds.parse().ok());
    assert!(after.is_some_and(|seconds| (1..=60).contains(&seconds)), "{what}: {:?}", answer.headers);
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
}
