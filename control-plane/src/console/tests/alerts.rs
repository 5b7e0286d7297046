//! Alerts and webhooks: lists, a webhook's page with what was delivered, its secret, and its form.

use serde_json::json;

use super::{Browser, hidden};
use crate::{
    alerts::{self, Alert, AlertKind},
    caller::Role,
    testing::{Bench, run},
};

const OPS: [(&str, &str); 3] =
    [("name", "ops"), ("url", "https://127.0.0.1:9/alerts"), ("types", "limit.saturated\r\nbudget.forecast")];

/// Lets webhooks be where nothing listens, and raises an alert.
async fn set_up(bench: &Bench) {
    let mut tx = bench.app.db.tenant(bench.acme).await.expect("Postgres");
    let allow = "UPDATE tenants SET egress_allow = '{127.0.0.0/8}'";
    sqlx::query(allow).execute(&mut *tx).await.expect("allowed");
    tx.commit().await.expect("committed");
}

async fn raise(bench: &Bench) {
    let data = json!({ "limit": "calm\u{202e}", "on": { "agent": "bot" }, "refused": 10 });
    let alert = Alert { kind: AlertKind::LimitSaturated, key: "calm".to_owned(), data };
    let mut tx = bench.app.db.tenant(bench.acme).await.expect("Postgres");
    assert!(alerts::raise(&mut tx, bench.acme, &alert).await.expect("raised"));
    tx.commit().await.expect("committed");
}

#[tokio::test]
async fn a_webhook_is_made_tried_out_and_given_a_secret() {
    run(async |bench| {
        set_up(bench).await;
        let mut admin = Browser::of(bench, Role::Admin).await;
        assert!(admin.get("/webhooks").await.expect(200).text.contains("No webhooks yet"));
        admin.get("/new/webhook").await.expect(200);
        let created = admin.post("/new/webhook", &OPS).await.expect(303);
        assert_eq!(created.header("location"), "/webhooks/ops?done=created");
        let spec = json!({ "url": "https://127.0.0.1:9/alerts", "types": ["limit.saturated", "budget.forecast"] });
        assert_eq!(bench.get("webhooks/ops").await.expect(200).json["spec"], spec);

        let tested = admin.post("/webhooks/ops/test", &[]).await.expect(303);
        assert_eq!(tested.header("location"), "/webhooks/ops?done=test-failed");
        let page = admin.get("/webhooks/ops?done=test-failed").await.expect(200).text;
        for part in
            ["Not delivered yet", "tried again", "cannot be reached", "webhook.test", "kind: Webhook", "Send again"]
        {
            assert!(page.contains(part), "{part}: {page}");
        }
        let alert = hidden(&page, "alert").expect("a delivery");
        let again = admin.post("/webhooks/ops/redeliver", &[("alert", &alert)]).await.expect(303);
        assert_eq!(again.header("location"), "/webhooks/ops?done=redelivered");
        admin.post("/webhooks/ops/redeliver", &[("alert", "alr_x")]).await.expect(404);

        let secret = admin.post("/webhooks/ops/rotate-secret", &[]).await.expect(200).text;
        assert!(secret.contains("whsec_") && secret.contains("signs too until"), "{secret}");
        for path in ["/webhooks/ops", "/webhooks", "/webhooks/ops/edit", "/audit"] {
            assert!(!admin.get(path).await.expect(200).text.contains("whsec_"), "{path}");
        }
        assert!(admin.get("/webhooks").await.text.contains("<a href=\"/webhooks/ops\">ops</a>"));
        assert!(admin.get("/search?q=ops").await.expect(200).text.contains("href=\"/webhooks/ops\""));
    })
    .await;
}

#[tokio::test]
async fn a_form_says_what_is_wrong_and_can_disable_a_webhook() {
    run(async |bench| {
        set_up(bench).await;
        let mut admin = Browser::of(bench, Role::Admin).await;
        let mut wrong = OPS;
        wrong[1] = ("url", "http://1.1.1.1/");
        let page = admin.post("/new/webhook", &wrong).await.expect(422).text;
        assert!(page.contains("<a href=\"#url\">") && page.contains("Use `https`"), "{page}");
        wrong = OPS;
        wrong[2] = ("types", "limit.full");
        assert!(admin.post("/new/webhook", &wrong).await.expect(422).text.contains("<a href=\"#types\">"));

        admin.post("/new/webhook", &OPS).await.expect(303);
        let form = admin.get("/webhooks/ops/edit").await.expect(200).text;
        assert!(form.contains("limit.saturated\nbudget.forecast"), "{form}");
        let etag = hidden(&form, "etag").expect("a version");
        let changed = [("etag", &*etag), ("url", "https://127.0.0.1:9/"), ("types", ""), ("disabled", "yes")];
        admin.post("/webhooks/ops/edit", &changed).await.expect(303);
        let spec = json!({ "url": "https://127.0.0.1:9/", "enabled": false });
        assert_eq!(bench.get("webhooks/ops").await.expect(200).json["spec"], spec);
        let page = admin.get("/webhooks/ops").await.expect(200).text;
        assert!(page.contains("disabled") && !page.contains("/webhooks/ops/test"), "{page}");
    })
    .await;
}

#[tokio::test]
async fn alerts_are_listed_by_type_and_operators_change_no_webhook() {
    run(async |bench| {
        set_up(bench).await;
        let mut operator = Browser::of(bench, Role::Operator).await;
        assert!(operator.get("/alerts").await.expect(200).text.contains("No alerts"));
        bench.put("webhooks/ops", json!({ "spec": { "url": "https://127.0.0.1:9/" } })).await.expect(201);
        raise(bench).await;
        let page = operator.get("/alerts").await.expect(200).text;
        for part in ["limit.saturated", "calm‹U+202E›", "0 of 1", "refused"] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(operator.get("/alerts?type=budget.forecast").await.expect(200).text.contains("No alert of this type"));
        let page = operator.get("/webhooks/ops").await.expect(200).text;
        assert!(page.contains("limit.saturated") && !page.contains("/edit") && !page.contains("Send again"), "{page}");
        for path in ["test", "rotate-secret"] {
            operator.post(&format!("/webhooks/ops/{path}"), &[]).await.expect(403);
        }
    })
    .await;
}
