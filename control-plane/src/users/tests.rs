//! Users and their sign-in links, over REST.

use http::Method;
use serde_json::Value;

use super::ensure;
use crate::{
    caller::Role,
    testing::{Bench, run, text},
};

async fn user(bench: &Bench, email: &str, role: Role) -> bool {
    let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
    let created = ensure(&mut tx, "system", email, role).await.expect("a user");
    tx.commit().await.expect("committed");
    created
}

#[tokio::test]
async fn a_user_is_made_once_whatever_the_case_of_the_address() {
    run(async |bench| {
        assert!(user(bench, "ada@acme.test", Role::Operator).await);
        assert!(!user(bench, "Ada@Acme.test", Role::Owner).await);
        assert_eq!(bench.audit().await, ["user.create ada@acme.test"]);
        let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
        for wrong in ["", "ada", "@acme.test", "ada@", "a b@acme.test"] {
            assert!(ensure(&mut tx, "system", wrong, Role::Viewer).await.is_err(), "{wrong:?}");
        }
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
        bench.call(Method::POST, "users/op@acme.test").send().await.expect(404);
        bench.call(Method::POST, &path("op@acme.test")).anonymous().send().await.expect(401);
    })
    .await;
}
