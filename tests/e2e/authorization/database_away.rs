//! Postgres goes away in the middle. Clients are told to come again: whoever were told `invalid_client` or
//! `invalid_grant` would throw away what it has, as the SDKs do.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::future::join_all;
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
    office.tollgate.when_stale("none", "allow").await;

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

#[tokio::test]
async fn under_load_clients_get_tokens_or_are_told_to_come_again_and_nothing_else() {
    let mut office = Office::open(Deployment::separate(1).with_losable_database()).await;
    let draft = office.tollgate.interactive_agent("app").grant("files:read").confidential("client_secret_post");
    let app = draft.create().await;
    let machine = office.tollgate.agent("machine").grant("files:read").create().await;
    let resource = office.tollgate.server_url("files");
    let mut families = Vec::new();
    for _ in 0..4 {
        families.push(app.tokens(&mut office.owner, &resource).await.refresh_token);
    }
    office.tollgate.expect_error_log("");
    let load = Load::default();
    let machines = (0..4).map(async |_| {
        while load.goes_on() {
            load.count(&machine.ask_for_token(&[("resource", &resource)]).await);
        }
    });
    let apps = families.into_iter().map(async |mut token| {
        while load.goes_on() {
            let answer = app.refresh(&token, &[]).await;
            load.count(&answer);
            if let Some(next) = answer.json()["refresh_token"].as_str() {
                next.clone_into(&mut token);
            }
        }
    });
    let outage = async {
        load.goes_on_to(100, 200).await;
        office.tollgate.take_database_away().await;
        // Twice of everyone: each of these answers takes as long as a connection is waited for.
        load.goes_on_to(16, 503).await;
        office.tollgate.give_database_back();
        load.goes_on_to(100, 200).await;
        load.end();
    };
    tokio::join!(join_all(machines), join_all(apps), outage);
    let statuses: Vec<u16> = load.counts().into_keys().collect();
    assert_eq!(statuses, [200, 503]);
}

/// Requests that go on until they are told to end, counted by their answers' status.
#[derive(Default)]
struct Load {
    ended: AtomicBool,
    counts: Mutex<BTreeMap<u16, usize>>,
}

impl Load {
    fn goes_on(&self) -> bool {
        !self.ended.load(Ordering::Relaxed)
    }

    fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    fn count(&self, answer: &Answer) {
        *self.counts.lock().expect("sound").entry(answer.status).or_default() += 1;
    }

    fn counts(&self) -> BTreeMap<u16, usize> {
        self.counts.lock().expect("sound").clone()
    }

    /// Waits for so many more answers of this status.
    async fn goes_on_to(&self, more: usize, status: u16) {
        let count = || self.counts().get(&status).copied().unwrap_or_default();
        let enough = count() + more;
        eventually_true(&format!("{enough} answers with {status}"), || async { count() >= enough }).await;
    }
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
