//! Revoking tokens and keys in the browser.

use super::Browser;
use crate::{caller::Role, oauth::keys, testing::run};

#[tokio::test]
async fn an_operator_revokes_the_tokens_of_an_agent_on_its_page() {
    run(async |bench| {
        let mut operator = Browser::of(bench, Role::Operator).await;
        operator.post("/new/team", &[("name", "core")]).await.expect(303);
        operator.post("/new/agent", &[("name", "ci-bot"), ("team", "core")]).await.expect(303);
        assert!(operator.get("/agents/ci-bot").await.expect(200).text.contains("Revoke tokens"));
        let sent = operator.post("/agents/ci-bot/revoke", &[]).await.expect(303);
        let page = operator.get(sent.header("location")).await.expect(200);
        assert!(page.text.contains("Every token that it had is refused"), "{}", page.text);
        assert_eq!(bench.audit().await.last().map(String::as_str), Some("agent.revoke ci-bot"));

        let mut viewer = Browser::of(bench, Role::Viewer).await;
        assert!(!viewer.get("/agents/ci-bot").await.expect(200).text.contains("Revoke tokens"));
        viewer.post("/agents/ci-bot/revoke", &[]).await.expect(403);
    })
    .await;
}

#[tokio::test]
async fn an_owner_rotates_and_revokes_keys_and_others_see_them() {
    run(async |bench| {
        let mut owner = Browser::of(bench, Role::Owner).await;
        assert!(owner.get("/access/keys").await.expect(200).text.contains("No key yet"));
        keys::ensure(&bench.app, bench.acme).await.expect("a key");
        let sent = owner.post("/access/keys/rotate", &[]).await.expect(303);
        let page = owner.get(sent.header("location")).await.expect(200).text;
        assert!(page.contains("A new key signs") && page.contains("retiring"), "{page}");
        let kid = bench.get("signing-keys").await.json["items"][0]["kid"].as_str().expect("a kid").to_owned();
        let sent = owner.post(&format!("/access/keys/{kid}/revoke"), &[]).await.expect(303);
        let page = owner.get(sent.header("location")).await.expect(200).text;
        assert!(page.contains("Everything that key signed is refused") && page.contains("revoked"), "{page}");

        let mut admin = Browser::of(bench, Role::Admin).await;
        let page = admin.get("/access/keys").await.expect(200).text;
        assert!(page.contains("/access/keys/rotate") && !page.contains("/revoke\""), "{page}");
        admin.post(&format!("/access/keys/{kid}/revoke"), &[]).await.expect(403);
        let mut operator = Browser::of(bench, Role::Operator).await;
        let page = operator.get("/access/keys").await.expect(200).text;
        assert!(!page.contains("/access/keys/rotate"), "{page}");
        operator.post("/access/keys/rotate", &[]).await.expect(403);
    })
    .await;
}
