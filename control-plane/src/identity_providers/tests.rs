//! Identity providers over REST.

use http::Method;
use serde_json::{Value, json};

use crate::{
    caller::Role,
    testing::{Bench, run},
};

fn spec(mut more: Value) -> Value {
    for (name, usual) in [("issuer", "https://login.corp.test"), ("client_id", "tollgate")] {
        if more[name].is_null() {
            more[name] = json!(usual);
        }
    }
    json!({ "spec": more })
}

async fn patch(bench: &Bench, by: Role, spec: Value) -> crate::testing::Answer {
    let call = bench.call(Method::PATCH, "identity-providers/corp").by(by).header("if-match", "*");
    call.json(json!({ "spec": spec })).await
}

/// The sealed secret in the database.
async fn sealed(bench: &Bench) -> Option<Vec<u8>> {
    let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
    sqlx::query_scalar("SELECT client_secret_sealed FROM identity_providers").fetch_one(&mut *tx).await.expect("a row")
}

#[tokio::test]
async fn the_client_secret_goes_in_sealed_and_never_comes_out() {
    run(async |bench| {
        let secret = "correct-horse-battery";
        let made = bench.put("identity-providers/corp", spec(json!({ "client_secret": secret }))).await.expect(201);
        assert_eq!(made.json["spec"], spec(json!({}))["spec"]);
        assert_eq!(made.json["status"]["has_client_secret"], true);
        assert_eq!(made.json["status"]["redirect_uri"], "http://control.test/sign-in/callback");
        let first = sealed(bench).await.expect("a sealed secret");
        assert!(!first.windows(secret.len()).any(|window| window == secret.as_bytes()));
        let kept = patch(bench, Role::Admin, json!({ "display_name": "Corp" })).await.expect(200);
        assert_eq!(kept.json["status"]["has_client_secret"], true);
        assert_eq!(sealed(bench).await, Some(first));
        let gone = patch(bench, Role::Admin, json!({ "client_secret": "" })).await.expect(200);
        assert_eq!(gone.json["status"]["has_client_secret"], false);
        let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
        let leaks: i64 = sqlx::query_scalar("SELECT count(*) FROM audit_events WHERE detail::text LIKE '%battery%'")
            .fetch_one(&mut *tx)
            .await
            .expect("a count");
        assert_eq!(leaks, 0);
    })
    .await;
}

#[tokio::test]
async fn what_applies_where_the_spec_is_silent_is_shown() {
    run(async |bench| {
        let made = bench.put("identity-providers/corp", spec(json!({ "scopes": ["groups"] }))).await.expect(201);
        let effective = json!({ "scopes": ["openid", "groups"], "groups_claim": "groups", "create_users": true });
        assert_eq!(made.json["status"]["effective"], effective);
        assert_eq!(made.json["status"]["users"], 0);
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_a_provider_is_refused() {
    run(async |bench| {
        for (wrong, fault) in [
            (json!({ "issuer": "http://login.corp.test" }), "/spec/issuer issuer"),
            (json!({ "issuer": "https://login.corp.test/?a=b" }), "/spec/issuer issuer"),
            (json!({ "issuer": "https://user@login.corp.test" }), "/spec/issuer issuer"),
            (json!({ "issuer": "javascript:alert(1)" }), "/spec/issuer issuer"),
            (json!({ "client_id": "" }), "/spec/client_id text"),
            (json!({ "client_secret": "a\nb" }), "/spec/client_secret text"),
            (json!({ "scopes": ["a b"] }), "/spec/scopes/0 scope"),
            (json!({ "team_mapping": [{ "group": "a", "team": "none" }] }), "/spec/team_mapping/0/team team_unknown"),
            (json!({ "role_mapping": [{ "group": "a", "role": "root" }] }), "/spec/role_mapping/0/role shape"),
            (json!({ "secret": "misspelt" }), "/spec/secret shape"),
        ] {
            let answer = bench.put("identity-providers/corp", spec(wrong.clone())).await.expect(422);
            assert_eq!(answer.problem().1, [fault], "{wrong}");
        }
        bench.put("identity-providers/corp", spec(json!({}))).await.expect(201);
        let moved = patch(bench, Role::Owner, json!({ "issuer": "https://evil.test" })).await.expect(422);
        assert_eq!(moved.problem().1, ["/spec/issuer immutable"]);
    })
    .await;
}

#[tokio::test]
async fn only_an_owner_lets_a_group_make_owners() {
    run(async |bench| {
        let put = async |by, more| {
            let call = bench.call(Method::PUT, "identity-providers/corp").by(by).header("if-match", "*");
            call.json(spec(more)).await
        };
        let create = async |by, more| bench.call(Method::PUT, "identity-providers/corp").by(by).json(spec(more)).await;
        let owners = json!({ "role_mapping": [{ "group": "boss", "role": "owner" }] });
        create(Role::Operator, json!({})).await.expect(403);
        create(Role::Admin, owners.clone()).await.expect(403);
        create(Role::Admin, json!({ "default_role": "owner" })).await.expect(403);
        create(Role::Admin, json!({ "default_role": "admin" })).await.expect(201);
        put(Role::Admin, owners.clone()).await.expect(403);
        put(Role::Owner, owners).await.expect(200);
        patch(bench, Role::Admin, json!({ "groups_claim": "other" })).await.expect(403);
    })
    .await;
}
