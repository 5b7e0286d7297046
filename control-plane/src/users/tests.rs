//! Users and their sign-in links, over REST.

use futures_util::future::join;
use http::Method;
use serde_json::{Value, json};

use super::ensure;
use crate::{
    caller::Role,
    testing::{Answer, Bench, run, text},
};

async fn user(bench: &Bench, email: &str, role: Role) -> bool {
    let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
    let created = ensure(&mut tx, "system", email, role).await.expect("a user");
    tx.commit().await.expect("committed");
    created
}

/// Patches a user in the version that is stored.
async fn patch(bench: &Bench, by: Role, email: &str, spec: Value) -> Answer {
    let path = format!("users/{email}");
    let etag = bench.get(&path).await.header("etag").to_owned();
    bench.call(Method::PATCH, &path).by(by).header("if-match", &etag).json(json!({ "spec": spec })).await
}

async fn delete(bench: &Bench, by: Role, email: &str) -> Answer {
    let path = format!("users/{email}");
    let etag = bench.get(&path).await.header("etag").to_owned();
    bench.call(Method::DELETE, &path).by(by).header("if-match", &etag).send().await
}

#[tokio::test]
async fn a_user_is_made_once_whatever_the_case_of_the_address() {
    run(async |bench| {
        assert!(user(bench, "ada@acme.test", Role::Operator).await);
        assert!(!user(bench, "Ada@Acme.test", Role::Owner).await);
        assert_eq!(bench.audit().await, ["user.create ada@acme.test"]);
        let taken = json!({ "email": "ADA@acme.test", "spec": { "role": "viewer" } });
        assert_eq!(bench.post("users", taken).await.expect(409).problem().0, "name_taken");
    })
    .await;
}

#[tokio::test]
async fn a_user_is_made_changed_listed_and_deleted() {
    run(async |bench| {
        bench.put("teams/core", json!({ "spec": {} })).await.expect(201);
        let spec = json!({ "role": "operator", "team": "core", "display_name": "Ada" });
        let made = bench.post("users", json!({ "email": "ada@acme.test", "spec": spec })).await.expect(201);
        assert_eq!(made.json["spec"]["state"], "active");
        assert_eq!(made.json["status"], json!({ "has_password": false, "identities": [] }));
        let by_id = bench.get(made.header("location")).await.expect(200);
        assert_eq!(by_id.json, made.json);
        let before = bench.policy_revision().await;
        let changed = json!({ "role": "finance", "team": null, "display_name": null });
        let changed = patch(bench, Role::Owner, "Ada@acme.test", changed).await.expect(200);
        assert_eq!(changed.json["spec"], json!({ "role": "finance", "state": "active" }));
        assert_eq!(changed.json["revision"], 2);
        assert!(bench.policy_revision().await > before, "data planes know the user's team");
        user(bench, "bob@acme.test", Role::Viewer).await;
        let first = bench.get("users?limit=1").await.expect(200);
        assert_eq!(first.json["items"][0]["email"], "ada@acme.test");
        let second = bench.get(&format!("users?limit=1&cursor={}", text(&first.json["next_cursor"]))).await.expect(200);
        assert_eq!(second.json["items"][0]["email"], "bob@acme.test");
        assert_eq!(second.json["next_cursor"], Value::Null);
        delete(bench, Role::Owner, "ada@acme.test").await.expect(204);
        bench.get("users/ada@acme.test").await.expect(404);
        let audit = bench.audit().await;
        for event in ["user.create", "user.update", "user.delete"] {
            assert!(audit.contains(&format!("{event} ada@acme.test")), "{event}: {audit:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_a_user_is_refused() {
    run(async |bench| {
        for wrong in ["", "ada", "@acme.test", "ada@", "a b@acme.test"] {
            let answer = bench.post("users", json!({ "email": wrong, "spec": { "role": "viewer" } })).await;
            assert_eq!(answer.expect(422).problem().1, ["/email email"], "{wrong:?}");
        }
        let spec = json!({ "role": "viewer", "team": "none" });
        let answer = bench.post("users", json!({ "email": "a@acme.test", "spec": spec })).await.expect(422);
        assert_eq!(answer.problem().1, ["/spec/team team_unknown"]);
        bench.post("users", json!({ "email": "a@acme.test", "spec": { "role": "root" } })).await.expect(422);
        user(bench, "ada@acme.test", Role::Viewer).await;
        let call = || bench.call(Method::PATCH, "users/ada@acme.test");
        call().json(json!({ "spec": { "role": "admin" } })).await.expect(428);
        call().header("if-match", "\"7\"").json(json!({ "spec": { "role": "admin" } })).await.expect(412);
        patch(bench, Role::Owner, "ada@acme.test", json!({ "email": "b@acme.test" })).await.expect(422);
    })
    .await;
}

#[tokio::test]
async fn nobody_gives_out_more_than_they_have() {
    run(async |bench| {
        user(bench, "op@acme.test", Role::Operator).await;
        user(bench, "boss@acme.test", Role::Owner).await;
        let new = |role: &str| json!({ "email": "new@acme.test", "spec": { "role": role } });
        let create = async |by, role| bench.call(Method::POST, "users").by(by).json(new(role)).await;
        create(Role::Operator, "viewer").await.expect(403);
        create(Role::Admin, "owner").await.expect(403);
        create(Role::Admin, "admin").await.expect(201);
        patch(bench, Role::Admin, "op@acme.test", json!({ "role": "owner" })).await.expect(403);
        patch(bench, Role::Admin, "boss@acme.test", json!({ "role": "viewer" })).await.expect(403);
        patch(bench, Role::Admin, "boss@acme.test", json!({ "display_name": "B" })).await.expect(403);
        delete(bench, Role::Admin, "boss@acme.test").await.expect(403);
        bench.call(Method::POST, "users/boss@acme.test:revoke").by(Role::Admin).send().await.expect(403);
        patch(bench, Role::Admin, "op@acme.test", json!({ "role": "admin" })).await.expect(200);
        bench.call(Method::GET, "users").by(Role::Viewer).send().await.expect(200);
    })
    .await;
}

#[tokio::test]
async fn the_last_owner_who_can_sign_in_stays_one() {
    run(async |bench| {
        user(bench, "one@acme.test", Role::Owner).await;
        user(bench, "two@acme.test", Role::Owner).await;
        patch(bench, Role::Owner, "two@acme.test", json!({ "state": "disabled" })).await.expect(200);
        for spec in [json!({ "role": "admin" }), json!({ "state": "disabled" })] {
            let answer = patch(bench, Role::Owner, "one@acme.test", spec).await.expect(409);
            assert_eq!(answer.problem().0, "last_owner");
        }
        delete(bench, Role::Owner, "one@acme.test").await.expect(409);
        patch(bench, Role::Owner, "one@acme.test", json!({ "display_name": "One" })).await.expect(200);
        patch(bench, Role::Owner, "two@acme.test", json!({ "state": "active" })).await.expect(200);
        delete(bench, Role::Owner, "two@acme.test").await.expect(204);
    })
    .await;
}

#[tokio::test]
async fn of_two_owners_demoted_at_the_same_time_one_remains() {
    run(async |bench| {
        user(bench, "one@acme.test", Role::Owner).await;
        user(bench, "two@acme.test", Role::Owner).await;
        let demote = |email| patch(bench, Role::Owner, email, json!({ "role": "viewer" }));
        let (one, two) = join(demote("one@acme.test"), demote("two@acme.test")).await;
        let mut statuses = [one.status.as_u16(), two.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409]);
    })
    .await;
}

#[tokio::test]
async fn a_team_with_users_is_not_deleted() {
    run(async |bench| {
        bench.put("teams/core", json!({ "spec": {} })).await.expect(201);
        user(bench, "ada@acme.test", Role::Viewer).await;
        patch(bench, Role::Owner, "ada@acme.test", json!({ "team": "core" })).await.expect(200);
        let answer = bench.call(Method::DELETE, "teams/core").header("if-match", "*").send().await.expect(409);
        assert!(text(&answer.json["detail"]).contains("user ada@acme.test"), "{:#}", answer.json);
    })
    .await;
}

#[tokio::test]
async fn an_admin_makes_links_for_those_who_may_no_more_than_they() {
    run(async |bench| {
        user(bench, "op@acme.test", Role::Operator).await;
        user(bench, "boss@acme.test", Role::Owner).await;
        let path = |email: &str| format!("users/{email}:sign-in-link");
        let post = async |email: &str, role| bench.call(Method::POST, &path(email)).by(role).send().await;
        let made = post("op@acme.test", Role::Admin).await.expect(201);
        assert!(text(&made.json["url"]).starts_with("http://control.test/sign-in?token=tgl_"));
        assert!(made.json["expires_at"] != Value::Null);
        assert!(bench.audit().await.contains(&"user.sign-in-link.create op@acme.test".to_owned()));
        post("boss@acme.test", Role::Admin).await.expect(403);
        post("boss@acme.test", Role::Owner).await.expect(201);
        post("op@acme.test", Role::Operator).await.expect(403);
        post("nobody@acme.test", Role::Owner).await.expect(404);
        patch(bench, Role::Owner, "op@acme.test", json!({ "state": "disabled" })).await.expect(200);
        assert_eq!(post("op@acme.test", Role::Admin).await.expect(409).problem().0, "user_disabled");
        bench.call(Method::POST, "users/op@acme.test").send().await.expect(404);
        bench.call(Method::POST, &path("op@acme.test")).anonymous().send().await.expect(401);
    })
    .await;
}
