//! Adding, changing, disabling and revoking people, and the forms of identity providers.

use http::Method;
use serde_json::json;

use super::Browser;
use crate::{
    caller::Role,
    testing::{Bench, run},
};

/// The path of the page of the user with this address.
async fn page_of(bench: &Bench, email: &str) -> String {
    let user = bench.get(&format!("users/{email}")).await.expect(200);
    format!("/users/{}", user.json["id"].as_str().expect("an id"))
}

#[tokio::test]
async fn a_user_is_added_with_a_link_that_signs_them_in_once() {
    run(async |bench| {
        let mut admin = Browser::of(bench, Role::Admin).await;
        admin.get("/new/user").await.expect(200);
        let form = [("email", "ada@acme.test"), ("role", "operator"), ("team", ""), ("display_name", "Ada")];
        let page = admin.post("/new/user", &form).await.expect(200);
        let start = page.text.find("/sign-in?token=").expect("a link");
        let link = page.text[start..].split('<').next().expect("an end").to_owned();
        let mut ada = Browser::new(bench);
        ada.get(&link).await.expect(303);
        ada.get("/servers").await.expect(200);
        Browser::new(bench).get(&link).await.expect(410);
        let again = admin.post("/new/user", &form).await.expect(422);
        assert!(again.text.contains("There is a user `ada@acme.test` already."));
        let wrong = admin.post("/new/user", &[("email", "ada"), ("role", "viewer")]).await.expect(422);
        assert!(wrong.text.contains("Write an e-mail address"));
        let list = admin.get("/users").await.expect(200);
        assert!(list.text.contains("ada@acme.test") && list.text.contains("one-time link"));
    })
    .await;
}

#[tokio::test]
async fn a_user_is_changed_disabled_revoked_and_deleted_on_their_page() {
    run(async |bench| {
        bench.put("teams/core", json!({ "spec": {} })).await.expect(201);
        let mut owner = Browser::of(bench, Role::Owner).await;
        let mut viewer = Browser::of(bench, Role::Viewer).await;
        let page = page_of(bench, "viewer@acme.test").await;
        let form = owner.get(&format!("{page}/edit")).await.expect(200);
        let etag = super::hidden(&form.text, "etag").expect("an etag");
        let change = [("role", "operator"), ("team", "core"), ("display_name", ""), ("etag", etag.as_str())];
        owner.post(&format!("{page}/edit"), &change).await.expect(303);
        let stale = owner.post(&format!("{page}/edit"), &change).await.expect(409);
        assert!(stale.text.contains("Somebody else changed this user"));
        let user = bench.get("users/viewer@acme.test").await.json;
        assert_eq!(user["spec"], json!({ "role": "operator", "team": "core", "state": "active" }));

        viewer.get("/account").await.expect(200);
        owner.post(&format!("{page}/revoke"), &[]).await.expect(303);
        viewer.get("/account").await.expect(303);
        owner.post(&format!("{page}/disable"), &[]).await.expect(303);
        let shown = owner.get(&page).await.expect(200);
        assert!(shown.text.contains("disabled") && !shown.text.contains("/link\""));
        owner.post(&format!("{page}/link"), &[]).await.expect(409);
        owner.post(&format!("{page}/activate"), &[]).await.expect(303);
        owner.post(&format!("{page}/delete"), &[]).await.expect(303);
        owner.get(&page).await.expect(404);
    })
    .await;
}

#[tokio::test]
async fn the_page_says_why_the_last_owner_stays() {
    run(async |bench| {
        let mut owner = Browser::of(bench, Role::Owner).await;
        let page = page_of(bench, "owner@acme.test").await;
        owner.get(&page).await.expect(200);
        for action in ["disable", "delete"] {
            let answer = owner.post(&format!("{page}/{action}"), &[]).await.expect(409);
            assert!(answer.text.contains("This is the last owner who can sign in"), "{action}");
        }
    })
    .await;
}

#[tokio::test]
async fn who_may_not_manage_users_sees_them_and_no_more() {
    run(async |bench| {
        let mut operator = Browser::of(bench, Role::Operator).await;
        let page = page_of(bench, "operator@acme.test").await;
        let list = operator.get("/users").await.expect(200);
        assert!(!list.text.contains("/new/user") && !list.text.contains("/new/identity-provider"));
        assert!(!operator.get(&page).await.expect(200).text.contains("/disable"));
        operator.get("/new/user").await.expect(403);
        operator.post("/new/user", &[("email", "a@acme.test"), ("role", "viewer")]).await.expect(403);
        for action in ["edit", "link", "disable", "activate", "revoke", "delete"] {
            operator.post(&format!("{page}/{action}"), &[("role", "owner")]).await.expect(403);
        }
        // An admin manages users, but not those who may more.
        let mut admin = Browser::of(bench, Role::Admin).await;
        Browser::of(bench, Role::Owner).await;
        let boss = page_of(bench, "owner@acme.test").await;
        assert!(!admin.get(&boss).await.expect(200).text.contains("/disable"));
        for action in ["link", "disable", "revoke", "delete"] {
            admin.post(&format!("{boss}/{action}"), &[]).await.expect(403);
        }
    })
    .await;
}

#[tokio::test]
async fn an_identity_provider_is_made_and_edited_without_its_secret_coming_back() {
    run(async |bench| {
        let mut admin = Browser::of(bench, Role::Admin).await;
        admin.get("/new/identity-provider").await.expect(200);
        let form = [
            ("name", "corp"),
            ("issuer", "https://login.corp.test"),
            ("client_id", "tollgate"),
            ("client_secret", "very secret"),
            ("role_mapping", "cn=ops,dc=corp=operator\neng=viewer"),
            ("default_role", ""),
        ];
        admin.post("/new/identity-provider", &form).await.expect(303);
        let made = bench.get("identity-providers/corp").await.expect(200).json;
        let mapping = json!([{ "group": "cn=ops,dc=corp", "role": "operator" }, { "group": "eng", "role": "viewer" }]);
        assert_eq!(made["spec"]["role_mapping"], mapping);
        assert_eq!(made["status"]["has_client_secret"], true);
        let page = admin.get("/identity-providers/corp/edit").await.expect(200);
        assert!(page.text.contains("cn=ops,dc=corp=operator") && !page.text.contains("very secret"));
        let wrong = [("name", "other"), ("issuer", "http://x.test"), ("client_id", "c"), ("client_secret", "tell me")];
        let refused = admin.post("/new/identity-provider", &wrong).await.expect(422);
        assert!(!refused.text.contains("tell me"), "a secret is not sent back");
        assert!(admin.get("/users").await.text.contains("http://control.test/sign-in/callback"));
        bench.call(Method::GET, "identity-providers").by(Role::Viewer).send().await.expect(200);
    })
    .await;
}
