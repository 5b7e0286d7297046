//! What a tenant decides about documents: which hosts, pinned ones, how many, and what a rule gives.

use serde_json::{Value, json};

use super::{LOOPBACK, Scene, document, scene, settings};
use crate::{
    agents::AgentState,
    oauth::{client_document::DocumentError, error::OAuthError, testing::run},
};

#[tokio::test]
async fn a_tenant_says_which_hosts_may_and_may_turn_it_off() {
    run(async |bed| {
        let scene = scene(bed).await;
        let url = scene.serves(json!({}));
        scene.resolve(&url).await.expect("a client");
        for denied in [
            json!({ "document_hosts": { "allow": ["claude.ai"] } }),
            json!({ "document_hosts": { "deny": ["example"] } }),
            json!({ "document_hosts": { "allow": ["client.example"], "deny": ["client.example"] } }),
        ] {
            settings(bed, denied.clone()).await;
            let refused = scene.resolve(&url).await;
            assert!(matches!(refused, Err(DocumentError::HostDenied { .. })), "{denied}: {refused:?}");
            assert!(scene.resolve_or_stale(&url).await.is_err(), "not even from memory");
        }
        settings(bed, json!({ "document_hosts": { "allow": ["client.example"] } })).await;
        scene.resolve(&url).await.expect("allowed");
        settings(bed, json!({ "client_documents": "off" })).await;
        assert!(matches!(scene.resolve(&url).await, Err(DocumentError::Off)));
        assert_eq!(scene.fetches(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_pinned_document_is_never_fetched_and_needs_no_approval() {
    run(async |bed| {
        let scene = scene(bed).await;
        let url = scene.serves(json!({ "client_name": "From the host" }));
        let pin = async |changes: Value| {
            let pinned = json!([{ "url": url, "document": document(&url, changes) }]);
            let hosts = json!({ "allow": ["nowhere.example"] });
            settings(bed, json!({ "registration": "approval", "document_hosts": hosts, "pinned_documents": pinned }))
                .await;
        };
        pin(json!({ "client_name": "Pinned" })).await;
        let client = scene.resolve(&url).await.expect("a client");
        assert_eq!((client.display_name.as_str(), client.state), ("Pinned", AgentState::Active));
        pin(json!({ "client_name": "Pinned anew" })).await;
        assert_eq!(scene.resolve(&url).await.expect("a client").display_name, "Pinned anew", "at once");
        assert_eq!(scene.fetches(), 0);

        settings(bed, json!({ "registration": "approval" })).await;
        assert_eq!(scene.resolve(&url).await.expect("a client").display_name, "From the host", "no longer pinned");
        let other = scene.host.url("/other.json");
        scene.host.answers("200 OK", "", &document(&other, json!({})).to_string());
        assert_eq!(scene.resolve(&other).await.expect("a client").state, AgentState::Waiting);
    })
    .await;
}

#[tokio::test]
async fn one_host_is_not_asked_without_end_and_a_tenant_takes_so_many() {
    run(async |bed| {
        let scene = scene(bed).await;
        scene.host.answers("404 Gone", "", "");
        let url = scene.host.url("/c");
        let mut asked = 0;
        let busy = loop {
            match scene.resolve(&url).await {
                Err(DocumentError::Busy { host }) => break host,
                Err(_) if asked < 1_000 => asked += 1,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!((busy.as_str(), scene.fetches()), ("client.example", asked));
        assert!(matches!(OAuthError::from(DocumentError::Busy { host: busy }), OAuthError::Unavailable(_)));

        let scene = Scene { app: bed.fetching(scene.host.fetcher(vec![vec![LOOPBACK]])), ..scene };
        settings(bed, json!({ "clients_max": 1 })).await;
        scene.resolve(&scene.serves(json!({}))).await.expect("the first");
        let other = scene.host.url("/other.json");
        scene.host.answers("200 OK", "", &document(&other, json!({})).to_string());
        assert!(matches!(scene.resolve(&other).await, Err(DocumentError::Full)));
        assert_eq!(scene.agents().await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_rule_grants_to_a_host_that_was_verified() {
    run(async |bed| {
        let scene = scene(bed).await;
        bed.server("demo").await;
        let rules =
            json!([{ "match": { "host": "client.example", "origin": "client_document" }, "scopes": ["demo:*"] }]);
        settings(bed, json!({ "rules": rules })).await;
        // It also sends users to their own device, where anyone may listen.
        scene.resolve(&scene.serves(json!({}))).await.expect("a client");
        let grants = async || -> i64 {
            sqlx::query_scalar("SELECT count(*) FROM grants").fetch_one(&mut *bed.tx().await).await.expect("a count")
        };
        assert_eq!(grants().await, 0);
        let url = scene.host.url("/web.json");
        let changes = json!({ "redirect_uris": ["https://client.example/callback"] });
        scene.host.answers("200 OK", "", &document(&url, changes).to_string());
        scene.resolve(&url).await.expect("a client");
        assert_eq!(grants().await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_document_that_comes_to_say_something_else_is_approved_again() {
    run(async |bed| {
        let scene = scene(bed).await;
        settings(bed, json!({ "registration": "approval" })).await;
        let url = scene.serves(json!({}));
        let agent = scene.resolve(&url).await.expect("a client").agent;
        let approve = async || bed.run("UPDATE agents SET state = 'active' WHERE id = $1", agent.uuid()).await;
        approve().await;
        scene.serves(json!({ "redirect_uris": ["https://client.example/other", "http://localhost/callback"] }));
        scene.goes_stale(1).await;
        assert_eq!(scene.resolve(&url).await.expect("a client").state, AgentState::Active, "the same hosts");
        scene.serves(json!({ "redirect_uris": ["https://elsewhere.example/callback"] }));
        scene.goes_stale(1).await;
        assert_eq!(scene.resolve(&url).await.expect("a client").state, AgentState::Waiting);

        settings(bed, json!({})).await;
        approve().await;
        bed.grant(Some(agent), &["demo:*"], false).await;
        scene.serves(json!({ "client_name": "Claude Code" }));
        scene.goes_stale(1).await;
        assert_eq!(scene.resolve(&url).await.expect("a client").state, AgentState::Active, "its host vouches for it");
    })
    .await;
}
