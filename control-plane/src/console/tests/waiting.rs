#![allow(clippy::needless_pass_by_value, reason = "what `json!` makes is handed over as it is")]

use http::Method;
use serde_json::json;

use super::Browser;
use crate::{
    caller::Role,
    testing::{Bench, run},
};

/// Lets a client register itself, under the tenant's settings as they are.
async fn register(bench: &Bench, name: &str) {
    let metadata = json!({
        "client_name": name, "redirect_uris": ["https://app.example/cb"], "token_endpoint_auth_method": "none",
    });
    let call = bench.call(Method::POST, "/t/acme/oauth/register").anonymous();
    call.json(metadata).await.expect(201);
}

async fn settings(bench: &Bench, settings: serde_json::Value) {
    let patch = bench.call(Method::PATCH, "/api/v1/tenants/acme").header("if-match", "*");
    patch.json(json!({ "spec": { "client_registration": settings } })).await.expect(200);
}

#[tokio::test]
async fn an_operator_sees_who_registered_and_decides() {
    run(async |bench| {
        let mut operator = Browser::of(bench, Role::Operator).await;
        assert!(operator.get("/waiting").await.expect(200).text.contains("Nobody waits"));
        assert!(!operator.get("/").await.expect(200).text.contains("/waiting"));
        settings(bench, json!({ "registration": "approval" })).await;
        register(bench, "Cursor\u{202e}<b>").await;
        assert!(operator.get("/").await.expect(200).text.contains("One agent registered and waits"));
        assert!(operator.get("/agents").await.expect(200).text.contains("1 waiting"));
        let page = operator.get("/waiting").await.expect(200).text;
        for shown in
            ["/agents/cursor-b", "Cursor&#60;b&#62;", "app.example", "needs approval", "/agents/cursor-b/approve"]
        {
            assert!(page.contains(shown), "{shown}: {page}");
        }
        assert!(!page.contains('\u{202e}'));
        let detail = operator.get("/agents/cursor-b").await.expect(200).text;
        assert!(detail.contains("needs approval") && detail.contains("app.example"));

        let done = operator.post("/agents/cursor-b/approve", &[]).await.expect(303);
        assert_eq!(done.header("location"), "/waiting?done=approved");
        let page = operator.get("/waiting?done=approved").await.expect(200).text;
        assert!(page.contains("Approved.") && page.contains("no grant") && !page.contains("/approve\""));
        bench.put("servers/demo", json!({ "spec": { "instances": [{ "url": "http://a/" }] } })).await.expect(201);
        let grant = json!({ "spec": { "to": { "agent": "cursor-b" }, "scopes": ["demo:*"] } });
        bench.put("grants/cursor", grant).await.expect(201);
        assert!(operator.get("/waiting").await.expect(200).text.contains("Nobody waits"));
    })
    .await;
}

#[tokio::test]
async fn who_may_only_look_is_offered_no_decision() {
    run(async |bench| {
        register(bench, "Claude").await;
        let mut viewer = Browser::of(bench, Role::Viewer).await;
        let page = viewer.get("/waiting").await.expect(200).text;
        let main = &page[page.find("<main").expect("a page")..];
        assert!(main.contains("claude") && !main.contains("method=\"post\"") && !main.contains("/delete\""));
        viewer.post("/agents/claude/approve", &[]).await.expect(403);
    })
    .await;
}
