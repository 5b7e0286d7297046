//! What touches secrets, keys or how people sign in takes a recent sign-in.

use chrono::Utc;
use http::Method;
use serde_json::json;

use super::{Browser, PASSWORD};
use crate::{
    caller::Role,
    identity_providers::scripted::{Mischief, ScriptedProvider},
    testing::{Answer, Bench, run},
};

const AGENT: [(&str, &str); 2] = [("name", "bot"), ("team", "core")];

/// Lets so many minutes pass since everybody proved who they are.
async fn pass(bench: &Bench, minutes: i32) {
    sqlx::query("UPDATE console_sessions SET proven_at = proven_at - make_interval(mins => $1)")
        .bind(minutes)
        .execute(bench.app.db.pool())
        .await
        .expect("aged");
}

#[track_caller]
fn assert_sent_to_sign_in(answer: &Answer, next: &str, what: &str) {
    let next: String = form_urlencoded::byte_serialize(next.as_bytes()).collect();
    assert_eq!(answer.header("location"), format!("/sign-in?tenant=acme&next={next}&anew=true"), "{what}");
}

async fn set_up(bench: &Bench) -> Browser<'_> {
    let mut owner = Browser::of(bench, Role::Owner).await;
    owner.post("/new/team", &[("name", "core")]).await.expect(303);
    owner.post("/new/agent", &AGENT).await.expect(303);
    let spec = json!({ "issuer": "https://login.example.com", "client_id": "tollgate" });
    bench.put("identity-providers/corp", json!({ "spec": spec })).await.expect(201);
    owner
}

/// Where a form is sent, what is in it, and where its page is.
type Post<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);

#[tokio::test]
async fn an_older_session_is_led_to_the_sign_in_and_back() {
    run(async |bench| {
        let mut owner = set_up(bench).await;
        let pages = [
            ("/new/identity-provider", "/new/identity-provider"),
            ("/identity-providers/corp/edit", "/identity-providers/corp/edit"),
            ("/identity-providers/corp/delete", "/identity-providers/corp/delete"),
            ("/new/user", "/new/user"),
        ];
        let key = ("jwks_uri", "https://agent.example/jwks.json");
        let method = ("auth_method", "private_key_jwt");
        let kind = ("type", "autonomous");
        let posts: [Post<'_>; 13] = [
            ("/agents/bot/credentials", &[], "/agents/bot"),
            ("/webhooks/ops/rotate-secret", &[], "/webhooks/ops"),
            ("/access/keys/rotate", &[], "/access/keys"),
            ("/access/keys/some-kid/revoke", &[], "/access/keys"),
            ("/new/identity-provider", &[("name", "other")], "/new/identity-provider"),
            (
                "/identity-providers/corp/edit",
                &[("issuer", "https://login.example.com")],
                "/identity-providers/corp/edit",
            ),
            ("/identity-providers/corp/delete", &[("confirm", "corp")], "/identity-providers/corp/delete"),
            ("/agents/bot/edit", &[("team", "core"), kind, method, key], "/agents/bot/edit"),
            ("/new/agent", &[("name", "keyed"), ("team", "core"), kind, method, key], "/new/agent"),
            ("/settings/initial-access-tokens", &[("note", "one")], "/settings"),
            ("/fleet/enrollment-tokens", &[("name", "one")], "/fleet"),
            ("/fleet/data-planes/dpl_0/revoke", &[], "/fleet"),
            ("/new/user", &[("email", "eve@acme.test"), ("role", "owner")], "/new/user"),
        ];
        pass(bench, 6).await;
        for (page, next) in pages {
            assert_sent_to_sign_in(&owner.get(page).await.expect(303), next, page);
        }
        for (path, form, next) in posts {
            assert_sent_to_sign_in(&owner.post(path, form).await.expect(303), next, path);
        }
        assert_eq!(bench.get("agents/bot").await.json["status"]["credentials"], 0, "nothing was done");
        bench.get("agents/keyed").await.expect(404);
        bench.get("users/eve@acme.test").await.expect(404);
        bench.get("identity-providers/corp").await.expect(200);

        // Everything else goes on, and so does what takes away.
        owner.get("/agents/bot").await.expect(200);
        owner.post("/agents/bot/suspend", &[]).await.expect(303);
        owner.post("/new/agent", &[("name", "other"), ("team", "core")]).await.expect(303);
        bench.get("agents/other").await.expect(200);
        // Who may not do it at all is told so, and not led around.
        let mut viewer = Browser::of(bench, Role::Viewer).await;
        pass(bench, 6).await;
        viewer.post("/agents/bot/credentials", &[]).await.expect(403);
        viewer.post("/access/keys/rotate", &[]).await.expect(403);
        viewer.get("/identity-providers/corp/edit").await.expect(403);
        // Nor do tokens of the REST API ever grow old.
        bench.call(Method::POST, "agents/bot/credentials").by(Role::Operator).send().await.expect(201);
    })
    .await;
}

#[tokio::test]
async fn after_signing_in_once_more_it_is_done() {
    run(async |bench| {
        let mut owner = set_up(bench).await;
        owner.get("/account").await.expect(200);
        owner.post("/account/password", &[("new", PASSWORD)]).await.expect(303);
        owner.get("/agents/bot").await.expect(200);
        pass(bench, 4).await;
        assert!(owner.post("/agents/bot/credentials", &[]).await.expect(200).text.contains("New secret"));
        pass(bench, 2).await;
        owner.get("/agents/bot").await.expect(200);
        let sent = owner.post("/agents/bot/credentials", &[]).await.expect(303);
        let page = owner.get(sent.header("location")).await.expect(200);
        assert!(page.text.contains("Sign in once more"));
        assert!(page.text.contains("within the last five minutes"), "it says why");
        assert!(page.text.contains("value=\"owner@acme.test\""), "and knows who is there");
        let form = [("email", "owner@acme.test"), ("tenant", "acme"), ("next", "/agents/bot"), ("anew", "true")];
        let wrong: Vec<_> = form.into_iter().chain([("password", "wrong")]).collect();
        let again = owner.post("/sign-in", &wrong).await.expect(422);
        assert!(again.text.contains("within the last five minutes"), "still");
        let right: Vec<_> = form.into_iter().chain([("password", PASSWORD)]).collect();
        let back = owner.post("/sign-in", &right).await.expect(303);
        assert_eq!(back.header("location"), "/agents/bot");
        owner.get("/agents/bot").await.expect(200);
        owner.post("/agents/bot/credentials", &[]).await.expect(200);
    })
    .await;
}

#[tokio::test]
async fn a_password_is_not_chosen_in_an_old_session_without_the_one_before() {
    run(async |bench| {
        let mut owner = Browser::of(bench, Role::Owner).await;
        pass(bench, 6).await;
        let sent = owner.post("/account/password", &[("new", PASSWORD)]).await.expect(303);
        assert_sent_to_sign_in(&sent, "/account", "without an old password");
    })
    .await;
}

#[tokio::test]
async fn the_settings_take_a_recent_sign_in_only_for_how_people_sign_in() {
    run(async |bench| {
        let mut admin = Browser::of(bench, Role::Admin).await;
        let etag = bench.get("/api/v1/tenants/acme").await.json["etag"].clone();
        let etag = crate::testing::text(&etag).to_owned();
        pass(bench, 6).await;
        admin.get("/tenants/acme/edit").await.expect(200);
        let off = admin.post("/tenants/acme/edit", &[("etag", &etag)]).await.expect(303);
        assert_sent_to_sign_in(&off, "/tenants/acme/edit", "passwords off");
        let same = admin.post("/tenants/acme/edit", &[("etag", &etag), ("local_sign_in", "yes")]).await;
        assert!(!same.header("location").contains("sign-in"), "{}", same.header("location"));
    })
    .await;
}

/// Goes to the provider by `leave`, signs in there, and comes back.
async fn sign_in(browser: &mut Browser<'_>, provider: &ScriptedProvider, leave: &str) -> Answer {
    let away = browser.get(leave).await.expect(303);
    let back = provider.approve(away.header("location"));
    browser.get(&back).await
}

const LEAVE: &str = "/sign-in/with/corp?tenant=acme&next=%2Fnew%2Fuser";

#[tokio::test]
async fn a_provider_that_knows_somebody_still_has_to_ask_them_anew() {
    run(async |bench| {
        let provider = ScriptedProvider::start().await;
        provider.register(bench, json!({ "default_role": "admin" })).await;
        provider.script().auth_time = Some(Utc::now().timestamp() - 360);
        let mut browser = Browser::new(bench);
        // The sign-in is new, but what it rests on is six minutes old.
        sign_in(&mut browser, &provider, LEAVE).await.expect(303);
        browser.get("/users").await.expect(200);
        let sent = browser.get("/new/user").await.expect(303);
        let page = browser.get(sent.header("location")).await.expect(200);
        let anew = format!("{LEAVE}&anew=true");
        assert!(page.text.contains(&anew.replace('&', "&#38;")), "{}", page.text);
        let away = browser.get(&anew).await.expect(303);
        let location = away.header("location");
        assert!(location.contains("prompt=login") && location.contains("max_age=0"), "{location}");
        let back = browser.get(&provider.approve(location)).await.expect(303);
        assert_eq!(back.header("location"), "/new/user");
        browser.get("/new/user").await.expect(200);
    })
    .await;
}

#[tokio::test]
async fn a_provider_that_does_not_ask_anew_signs_nobody_in() {
    run(async |bench| {
        let provider = ScriptedProvider::start().await;
        provider.register(bench, json!({ "default_role": "admin" })).await;
        for mischief in [Mischief::NoAuthTime, Mischief::OldAuthTime] {
            provider.script().mischief = Some(mischief);
            let mut browser = Browser::new(bench);
            let answer = sign_in(&mut browser, &provider, &format!("{LEAVE}&anew=true")).await.expect(502);
            assert!(answer.text.contains("does not prove who you are"), "{mischief:?}");
            assert!(answer.text.contains("anew=true"), "the way back asks for the same: {}", answer.text);
            assert!(!browser.cookie().contains("tollgate_s="), "{mischief:?}");
        }
        // One that never says when is believed, but not for what takes a recent sign-in.
        provider.script().mischief = None;
        let mut browser = Browser::new(bench);
        sign_in(&mut browser, &provider, LEAVE).await.expect(303);
        browser.get("/users").await.expect(200);
        browser.get("/new/user").await.expect(303);
    })
    .await;
}
