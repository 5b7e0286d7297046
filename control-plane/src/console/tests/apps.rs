//! The page on which a user takes back what they allowed.

use tollgate_proto::AuthorizationId;

use super::{Browser, hidden};
use crate::{
    caller::Role,
    testing::{Bench, run},
};

const RESOURCE: &str = "http://data.test/t/acme/mcp";

/// Agent `editor`, allowed by the user with this address.
async fn allowed_by(bench: &Bench, email: &str) -> AuthorizationId {
    let id = AuthorizationId::new();
    let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
    sqlx::query(
        "INSERT INTO authorizations (tenant_id, id, agent_id, user_id, transaction_id, session_digest, resources, scopes,
                                     authenticated_at, expires_at)
         SELECT $1, $2, agents.id, users.id, $2, '\\x00', ARRAY[$3], '{demo:*}', now(), now() + interval '90 days'
         FROM agents, users WHERE agents.name = 'editor' AND users.email = $4",
    )
    .bind(bench.acme.uuid())
    .bind(id.uuid())
    .bind(RESOURCE)
    .bind(email)
    .execute(&mut *tx)
    .await
    .expect("a family");
    tx.commit().await.expect("committed");
    id
}

async fn is_revoked(bench: &Bench, family: AuthorizationId) -> bool {
    let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
    sqlx::query_scalar("SELECT revoked_at IS NOT NULL FROM authorizations WHERE id = $1")
        .bind(family.uuid())
        .fetch_one(&mut *tx)
        .await
        .expect("the family")
}

#[tokio::test]
async fn everybody_takes_back_what_is_their_own() {
    run(async |bench| {
        let mut owner = Browser::of(bench, Role::Owner).await;
        owner.post("/new/team", &[("name", "core")]).await.expect(303);
        owner.post("/new/agent", &[("name", "editor"), ("team", "core"), ("type", "autonomous")]).await.expect(303);
        let mut viewer = Browser::of(bench, Role::Viewer).await;
        let empty = viewer.get("/account/apps").await.expect(200);
        assert!(empty.text.contains("You have not allowed anything yet"));
        let (mine, theirs) = (allowed_by(bench, "viewer@acme.test").await, allowed_by(bench, "owner@acme.test").await);
        let page = viewer.get("/account/apps").await.expect(200);
        assert!(page.text.contains("Everything that demo offers"), "{}", page.text);
        let agent = hidden(&page.text, "agent").expect("a form");
        let form = [("agent", agent.as_str()), ("resource", RESOURCE)];
        viewer
            .post_as("/account/apps/withdraw", &form, &[("sec-fetch-site", "same-origin")], "wrong")
            .await
            .expect(403);
        assert!(!is_revoked(bench, mine).await);
        viewer.post("/account/apps/withdraw", &form).await.expect(303);
        assert!(is_revoked(bench, mine).await && !is_revoked(bench, theirs).await);
        assert!(viewer.get("/account/apps").await.text.contains("You have not allowed anything yet"));
        viewer.post("/account/apps/withdraw", &form).await.expect(303);
        viewer.post("/account/apps/withdraw", &[("agent", "x"), ("resource", "y")]).await.expect(404);
        let audit = bench.audit().await;
        assert_eq!(audit.iter().filter(|event| *event == "consent.withdraw editor").count(), 1);
    })
    .await;
}
