use http::Method;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use tollgate_proto::AlertId;

use super::*;
use crate::{
    alerts::{self, Alert},
    testing::{Answer, Bench, run as with_bench, text},
};

mod delivery;
mod outbox;
mod receiver;

/// Lets `acme` reach this very machine.
async fn allow_loopback(bench: &Bench) {
    execute(bench, "UPDATE tenants SET egress_allow = '{127.0.0.0/8}'").await;
}

/// Runs a statement among the rows of `acme`.
async fn execute(bench: &Bench, statement: &str) {
    let mut tx = bench.app.db.tenant(bench.acme).await.expect("Postgres");
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut *tx).await.expect(statement);
    tx.commit().await.expect("committed");
}

/// Makes a webhook; answers what the API says of it.
async fn make(bench: &Bench, name: &str, spec: Value) -> Value {
    bench.put(&format!("webhooks/{name}"), json!({ "spec": spec })).await.expect(201).json
}

/// Raises an alert of a limit for `acme`.
async fn raise(bench: &Bench, key: &str) {
    let alert = Alert { kind: AlertKind::LimitSaturated, key: key.to_owned(), data: json!({ "limit": key }) };
    let mut tx = bench.app.db.tenant(bench.acme).await.expect("Postgres");
    assert!(alerts::raise(&mut tx, bench.acme, &alert).await.expect("raised"));
    tx.commit().await.expect("committed");
}

/// The deliveries to a webhook, that of the newest alert first.
async fn deliveries(bench: &Bench, webhook: &str) -> Vec<Value> {
    let listed = bench.get(&format!("webhooks/{webhook}/deliveries")).await.expect(200).json;
    listed["items"].as_array().expect("a list").clone()
}

/// Changes a webhook's spec.
async fn patch(bench: &Bench, name: &str, spec: Value) -> Answer {
    let etag = text(&bench.get(&format!("webhooks/{name}")).await.expect(200).json["etag"]).to_owned();
    let call = bench.call(Method::PATCH, &format!("webhooks/{name}")).header("if-match", &etag);
    call.json(json!({ "spec": spec })).await
}

#[tokio::test]
async fn a_secret_is_shown_by_what_makes_it_and_by_nothing_else() {
    with_bench(async |bench| {
        let made = bench.post("webhooks", json!({ "name": "ops", "spec": { "url": "https://a.test/x" } })).await;
        assert_eq!(made.header("cache-control"), "no-store");
        let made = made.expect(201);
        let first = text(&made.json["secret"]).to_owned();
        assert!(first.starts_with("whsec_") && first.len() == 50, "32 bytes");
        let replaced = bench.call(Method::PUT, "webhooks/ops").header("if-match", made.header("etag"));
        let replaced = replaced.json(json!({ "spec": { "url": "https://b.test/x" } })).await.expect(200);
        assert!(replaced.json.get("secret").is_none());

        let rotated = bench.call(Method::POST, "webhooks/ops:rotate-secret").send().await;
        assert_eq!(rotated.header("cache-control"), "no-store");
        let rotated = rotated.expect(200).json;
        let second = text(&rotated["secret"]).to_owned();
        assert_ne!(first, second);
        assert!(rotated["former_secret_until"].is_string());
        for path in ["webhooks/ops", "webhooks", "webhooks/ops/deliveries", "audit-events", "alerts"] {
            let shown = bench.get(path).await.expect(200).text;
            assert!(
                !shown.contains(&first) && !shown.contains(&second) && !shown.contains("whsec_"),
                "{path}: {shown}"
            );
        }
        assert_eq!(bench.audit().await, ["webhook.create ops", "webhook.update ops", "webhook.rotate_secret ops"]);
        let stored = "SELECT secret_sealed FROM webhooks";
        let mut tx = bench.app.db.tenant(bench.acme).await.expect("Postgres");
        let stored: Vec<u8> = sqlx::query_scalar(stored).fetch_one(&mut *tx).await.expect("a secret");
        assert!(!String::from_utf8_lossy(&stored).contains(&second[6..20]));
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_with_a_webhook_is_said_with_its_place() {
    with_bench(async |bench| {
        let refused = async |spec: Value| {
            let answer = bench.put("webhooks/ops", json!({ "spec": spec })).await.expect(422);
            answer.problem().1
        };
        let url = |url: &str| json!({ "url": url });
        assert_eq!(refused(url("alerts")).await, ["/spec/url url"]);
        assert_eq!(refused(url("ftp://a.test/")).await, ["/spec/url url"]);
        assert_eq!(refused(url("https://ops:pw@a.test/")).await, ["/spec/url url"]);
        assert_eq!(refused(url("https://a.test/?token=x")).await, ["/spec/url url"]);
        assert_eq!(refused(url("https://169.254.169.254/latest")).await, ["/spec/url egress"]);
        assert_eq!(refused(url("http://127.0.0.1:9/")).await, ["/spec/url egress"]);
        assert_eq!(refused(url("https://[::ffff:10.0.0.1]/")).await, ["/spec/url egress"]);
        assert_eq!(refused(url("http://1.1.1.1/")).await, ["/spec/url cleartext"]);
        let types = |types: Value| json!({ "url": "https://a.test/", "types": types });
        assert_eq!(refused(types(json!([]))).await, ["/spec/types required"]);
        assert_eq!(refused(types(json!(["limit.saturated", "limit.saturated"]))).await, ["/spec/types/1 duplicate"]);
        assert_eq!(refused(types(json!(["webhook.test"]))).await, ["/spec/types/0 type"]);
        assert_eq!(refused(types(json!(["limit.full"]))).await, ["/spec/types/0 shape"]);
        assert_eq!(refused(json!({ "url": "https://a.test/", "secret": "whsec_x" })).await, ["/spec/secret shape"]);

        make(bench, "ops", url("https://a.test/")).await;
        let rotate = async |body: Value| bench.post("webhooks/ops:rotate-secret", body).await.expect(422).problem().1;
        assert_eq!(rotate(json!({ "overlap": "30d" })).await, ["/overlap duration"]);
        let unknown = bench.post("webhooks/ops:redeliver", json!({ "alert": AlertId::new() })).await;
        assert_eq!(unknown.expect(404).problem().0, "not_found");
        bench.post("webhooks/ops:shout", json!({})).await.expect(404);
        bench.post("webhooks/nobody:test", json!({})).await.expect(404);
    })
    .await;
}

#[tokio::test]
async fn a_tenant_has_so_many_webhooks_at_most() {
    with_bench(async |bench| {
        for index in 0..PER_TENANT_MAX {
            make(bench, &format!("w{index}"), json!({ "url": "https://a.test/" })).await;
        }
        let one_more = bench.put("webhooks/more", json!({ "spec": { "url": "https://a.test/" } })).await.expect(422);
        assert_eq!(one_more.problem().1, ["/spec too_many"]);
        patch(bench, "w1", json!({ "enabled": false })).await.expect(200);
    })
    .await;
}

#[tokio::test]
async fn admins_write_webhooks_and_everyone_reads_them() {
    with_bench(async |bench| {
        let spec = json!({ "name": "ops", "spec": { "url": "https://a.test/" } });
        for role in [Role::Viewer, Role::Finance, Role::Operator] {
            bench.call(Method::POST, "webhooks").by(role).json(spec.clone()).await.expect(403);
        }
        bench.call(Method::POST, "webhooks").by(Role::Admin).json(spec).await.expect(201);
        for role in [Role::Viewer, Role::Finance, Role::Operator] {
            bench.call(Method::GET, "webhooks/ops/deliveries").by(role).send().await.expect(200);
            bench.call(Method::GET, "alerts").by(role).send().await.expect(200);
            for action in ["test", "rotate-secret"] {
                bench.call(Method::POST, &format!("webhooks/ops:{action}")).by(role).send().await.expect(403);
            }
            let again = json!({ "alert": AlertId::new() });
            bench.call(Method::POST, "webhooks/ops:redeliver").by(role).json(again).await.expect(403);
        }
    })
    .await;
}

#[tokio::test]
async fn another_tenant_sees_neither_webhooks_nor_alerts_and_is_told_of_none() {
    with_bench(async |bench| {
        let other = bench.tenant("other").await;
        let key = bench.key(other, Role::Owner).await;
        make(bench, "ops", json!({ "url": "https://a.test/" })).await;
        let theirs = json!({ "name": "theirs", "spec": { "url": "https://b.test/" } });
        let create = bench.call(Method::POST, "/api/v1/tenants/other/webhooks").with_key(&key);
        create.json(theirs).await.expect(201);
        raise(bench, "a").await;

        let theirs = async |path: &str| {
            let path = format!("/api/v1/tenants/other/{path}");
            bench.call(Method::GET, &path).with_key(&key).send().await
        };
        assert_eq!(theirs("alerts").await.expect(200).json["items"], json!([]));
        assert_eq!(theirs("webhooks/theirs/deliveries").await.expect(200).json["items"], json!([]));
        theirs("webhooks/ops").await.expect(404);
        bench.call(Method::GET, "webhooks/ops").with_key(&key).send().await.expect(404);
        let alert = bench.get("alerts").await.expect(200).json["items"][0]["id"].clone();
        let stolen = bench.call(Method::POST, "/api/v1/tenants/other/webhooks/theirs:redeliver").with_key(&key);
        stolen.json(json!({ "alert": alert })).await.expect(404);
        assert_eq!(deliveries(bench, "ops").await.len(), 1);
    })
    .await;
}
