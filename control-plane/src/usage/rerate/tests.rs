//! What charging anew changes, and what it does not.

mod sums;

use chrono::{DateTime, Days, TimeDelta, Utc};
use http::Method;
use serde_json::{Value, json};
use tollgate_proto::usage::v1::UsageRecord;

use super::{DAYS_MAX, REASON_CHARS_MAX};
use crate::{
    caller::Role,
    testing::{Answer, Bench, run, text},
    usage::{
        rollup::rebuild,
        testing::{call_at, deliver},
    },
};

/// Publishes the next version of the book for everyone, in force from then on; answers its id.
async fn publish(bench: &Bench, from: &str, currency: &str, per_call: &str) -> String {
    let spec =
        json!({ "effective_from": from, "currency": currency, "prices": [{ "match": "*", "per_call": per_call }] });
    let known = bench.get("price-books/standard").await.status.is_success();
    let call = bench.call(Method::PUT, "price-books/standard");
    let call = if known { call.header("if-match", "*") } else { call };
    let book = call.json(json!({ "spec": spec })).await;
    assert!(book.status.is_success(), "{:#}", book.json);
    text(&book.json["status"]["versions"][0]["id"]).to_owned()
}

/// A day that no price book will begin at while a test runs.
fn tomorrow() -> String {
    (Utc::now() + Days::new(1)).date_naive().to_string()
}

fn moment(text: &str) -> DateTime<Utc> {
    text.parse().expect("a moment")
}

/// Keeps records for long.
async fn keep(bench: &Bench) {
    sqlx::query("UPDATE tenants SET usage_retention_days = 3650 WHERE id = $1")
        .bind(bench.acme.uuid())
        .execute(bench.app.db.pool())
        .await
        .expect("changed");
}

fn call(bench: &Bench, at: &str, team: &str) -> UsageRecord {
    UsageRecord { team: team.to_owned(), ..call_at(bench.acme, moment(at)) }
}

async fn rerate(bench: &Bench, body: Value) -> Answer {
    bench.call(Method::POST, "usage:rerate").by(Role::Finance).json(body).await
}

fn march(by: &str) -> Value {
    json!({ "from": "2026-03-01", "to": "2026-03-31", "reason": "it was 10 times as much", "price_book_version": by })
}

async fn record(bench: &Bench, of: &UsageRecord) -> Value {
    let items = bench.get("usage-records?limit=500").await.expect(200).json["items"].clone();
    let mut items = items.as_array().expect("records").iter();
    items.find(|item| item["call_id"] == of.call_id).expect("it is stored").clone()
}

/// What a year's report says that everything cost.
async fn reported(bench: &Bench) -> Vec<(String, String, i64)> {
    let report = bench.get("reports/chargeback/2026?group_by=team").await.expect(200).json;
    let lines = report["lines"].as_array().expect("lines").iter();
    lines
        .map(|line| {
            let unpriced = line["unpriced_calls"].as_i64().expect("a number");
            (text(&line["group"]["team"]).to_owned(), text(&line["cost"]).to_owned(), unpriced)
        })
        .collect()
}

/// How many sums of the day are not what its records add up to.
async fn wrong_sums(bench: &Bench, day: &str) -> u64 {
    rebuild::day(&bench.app, bench.acme, day.parse().expect("a day")).await.expect("counted")
}

#[tokio::test]
async fn a_price_that_was_wrong_is_corrected_and_what_was_charged_before_stays_readable() {
    run(async |bench| {
        keep(bench).await;
        let wrong = publish(bench, "2026-01-01", "EUR", "0.10").await;
        let calls = ["core", "core", "web"].map(|team| call(bench, "2026-03-15T12:00:00Z", team));
        deliver(&bench.app, calls.clone()).await;
        deliver(&bench.app, [call(bench, "2026-04-01T00:00:00Z", "core")]).await;
        let right = publish(bench, &tomorrow(), "EUR", "0.01").await;

        let mut asked = march(&right);
        asked["dry_run"] = json!(true);
        let would = rerate(bench, asked).await.expect(200).json;
        assert_eq!(would["rerating"], Value::Null);
        assert_eq!(reported(bench).await, [("core".into(), "0.3".into(), 0), ("web".into(), "0.1".into(), 0)]);
        assert!(!bench.audit().await.contains(&"usage.rerate acme".to_owned()));

        let done = rerate(bench, march(&right)).await.expect(200).json;
        assert_eq!((&done["records"], &done["changed"]), (&json!(3), &json!(3)));
        let total =
            json!({ "currency": "EUR", "before": "0.3", "after": "0.03", "unpriced_before": 0, "unpriced_after": 0 });
        assert_eq!((&done["totals"], &would["totals"]), (&json!([total]), &json!([total])));
        assert_eq!(reported(bench).await, [("core".into(), "0.12".into(), 0), ("web".into(), "0.01".into(), 0)]);
        assert_eq!(wrong_sums(bench, "2026-03-15").await, 0);

        let shown = record(bench, &calls[0]).await;
        assert_eq!((&shown["cost"], &shown["price_book_version"]), (&json!("0.01"), &json!(right)));
        let ratings = shown["ratings"].as_array().expect("ratings");
        assert_eq!(ratings.len(), 2);
        assert_eq!((&ratings[0]["cost"], &ratings[0]["price_book_version"]), (&json!("0.1"), &json!(wrong)));
        assert_eq!(ratings[0]["rerating"], Value::Null);
        let why = &ratings[1]["rerating"];
        assert_eq!((&why["id"], &why["reason"]), (&done["rerating"], &json!("it was 10 times as much")));
        assert!(text(&why["by"]).starts_with("api-key:"), "{why}");
        let report = bench.get("reports/usage?by=team&from=2026-03-15T11:30:00Z&to=2026-03-15T12:30:00Z").await;
        assert_eq!(report.expect(200).json["items"][0]["cost"], "0.02", "also of hours that are cut");

        let again = rerate(bench, march(&right)).await.expect(200).json;
        assert_eq!((&again["records"], &again["changed"]), (&json!(3), &json!(0)), "there is nothing left to do");
        assert_eq!(record(bench, &calls[0]).await["ratings"].as_array().map(Vec::len), Some(2));
        let by_the_books =
            json!({ "from": "2026-03-01", "to": "2026-03-31", "reason": "it was right", "team": "core" });
        assert_eq!(rerate(bench, by_the_books).await.expect(200).json["changed"], 2);
        assert_eq!(reported(bench).await, [("core".into(), "0.3".into(), 0), ("web".into(), "0.01".into(), 0)]);
        assert_eq!(record(bench, &calls[0]).await["ratings"].as_array().map(Vec::len), Some(3));
        assert_eq!(bench.audit().await.iter().filter(|event| *event == "usage.rerate acme").count(), 3);
    })
    .await;
}

#[tokio::test]
async fn what_had_no_price_gets_that_of_a_book_that_came_too_late() {
    run(async |bench| {
        keep(bench).await;
        deliver(&bench.app, [call(bench, "2026-03-15T12:00:00Z", "core")]).await;
        assert_eq!(reported(bench).await, [("core".into(), "0".into(), 1)]);
        let version = publish(bench, "2026-03-16", "EUR", "2").await;
        let asked = json!({ "from": "2026-03-01", "to": "2026-03-31", "reason": "no book yet" });
        assert_eq!(rerate(bench, asked.clone()).await.expect(200).json["changed"], 0, "it begins on the day after");
        let done = rerate(bench, march(&version)).await.expect(200).json;
        assert_eq!(done["totals"][0]["unpriced_before"], 1, "{done}");
        assert_eq!(done["totals"][1]["after"], "2", "{done}");
        assert_eq!(reported(bench).await, [("core".into(), "2".into(), 0)]);
        assert_eq!(wrong_sums(bench, "2026-03-15").await, 0);
        assert_eq!(rerate(bench, asked).await.expect(200).json["changed"], 1, "what is published counts again");
        assert_eq!(reported(bench).await, [("core".into(), "0".into(), 1)]);
    })
    .await;
}

#[tokio::test]
async fn a_version_stands_in_for_its_own_book_only() {
    run(async |bench| {
        keep(bench).await;
        bench.put("teams/research", json!({ "spec": {} })).await.expect(201);
        let own = json!({ "effective_from": "2026-01-01", "currency": "USD", "teams": ["research"],
                          "prices": [{ "match": "*", "per_call": "7" }] });
        bench.put("price-books/research", json!({ "spec": own })).await.expect(201);
        publish(bench, "2026-01-01", "EUR", "0.10").await;
        let calls = ["research", "core"].map(|team| call(bench, "2026-03-15T12:00:00Z", team));
        deliver(&bench.app, calls.clone()).await;
        let right = publish(bench, &tomorrow(), "EUR", "0.01").await;
        assert_eq!(rerate(bench, march(&right)).await.expect(200).json["changed"], 1);
        assert_eq!(reported(bench).await, [("core".into(), "0.01".into(), 0), ("research".into(), "7".into(), 0)]);
    })
    .await;
}

#[tokio::test]
async fn a_closed_month_stays_and_the_next_one_corrects_it() {
    run(async |bench| {
        keep(bench).await;
        publish(bench, "2026-01-01", "EUR", "0.10").await;
        deliver(&bench.app, [call(bench, "2026-03-15T12:00:00Z", "core")]).await;
        let close = async |period: &str| bench.post("statements", json!({ "period": period })).await.expect(201).json;
        let closed = close("2026-03").await;
        let right = publish(bench, &tomorrow(), "USD", "0.01").await;
        rerate(bench, march(&right)).await.expect(200);
        let still = bench.get("statements?period=2026-03").await.expect(200).json;
        assert_eq!(still["items"], closed["items"]);
        let april = close("2026-04").await;
        let totals: Vec<_> =
            april["items"].as_array().expect("two").iter().map(|it| (&it["currency"], &it["total"])).collect();
        assert_eq!(totals, [(&json!("EUR"), &json!("-0.10")), (&json!("USD"), &json!("0.01"))]);
        let id = text(&april["items"][0]["id"]);
        let line = bench.get(&format!("statements/{id}")).await.expect(200).json["items"][0].clone();
        assert_eq!((&line["period"], &line["corrects"]), (&json!("2026-03"), &closed["items"][0]["id"]));
        assert_eq!(close("2026-05").await["items"], json!([]));
    })
    .await;
}

#[tokio::test]
async fn two_at_once_change_it_once_while_calls_come_in() {
    run(async |bench| {
        keep(bench).await;
        publish(bench, "2026-01-01", "EUR", "0.10").await;
        let calls = |count| (0..count).map(|_| call(bench, "2026-03-15T12:00:00Z", "core")).collect::<Vec<_>>();
        deliver(&bench.app, calls(100)).await;
        let right = publish(bench, &tomorrow(), "EUR", "0.01").await;
        let late = async {
            for call in calls(10) {
                deliver(&bench.app, [call]).await;
            }
        };
        let (one, other, ()) = tokio::join!(rerate(bench, march(&right)), rerate(bench, march(&right)), late);
        let changed = [one, other].map(|answer| answer.expect(200).json["changed"].as_u64().expect("a number"));
        assert!((100..=110).contains(&changed.iter().sum::<u64>()), "{changed:?}");
        rerate(bench, march(&right)).await.expect(200);
        assert_eq!(reported(bench).await, [("core".into(), "1.1".into(), 0)]);
        assert_eq!(wrong_sums(bench, "2026-03-15").await, 0);
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_charged_anew_is_refused_with_the_reason() {
    run(async |bench| {
        let version = publish(bench, "2026-01-01", "EUR", "0.10").await;
        let today = Utc::now().date_naive();
        let asked = |changes: Value| {
            let mut body = json!({ "from": today, "to": today, "reason": "because" });
            body.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
            body
        };
        for role in [Role::Operator, Role::Viewer] {
            bench.call(Method::POST, "usage:rerate").by(role).json(asked(json!({}))).await.expect(403);
        }
        let other = bench.tenant("other").await;
        let key = bench.key(other, Role::Owner).await;
        let call = bench.call(Method::POST, "/api/v1/tenants/other/usage:rerate").with_key(&key);
        let refused = call.json(asked(json!({ "price_book_version": version }))).await.expect(422);
        assert_eq!(refused.problem().1, ["/price_book_version unknown"], "it is another tenant's");
        for (changes, fault) in [
            (json!({ "reason": " " }), "/reason required"),
            (json!({ "reason": "x".repeat(REASON_CHARS_MAX + 1) }), "/reason too_long"),
            (json!({ "to": today - Days::new(1) }), "/to out_of_range"),
            (json!({ "from": today - Days::new(DAYS_MAX.unsigned_abs()) }), "/to out_of_range"),
            (json!({ "price_book_version": "pbk_1" }), "/price_book_version unknown"),
            (json!({ "from": "2026-13-01" }), "/from shape"),
        ] {
            assert_eq!(rerate(bench, asked(changes)).await.expect(422).problem().1, [fault]);
        }
        let set = async |columns: &str| {
            let change = sqlx::AssertSqlSafe(format!("UPDATE tenants SET {columns} WHERE id = $1"));
            sqlx::query(change).bind(bench.acme.uuid()).execute(bench.app.db.pool()).await.expect("changed");
        };
        set("usage_kept_from = current_date").await;
        assert_eq!(rerate(bench, asked(json!({}))).await.expect(422).problem().1, ["/from not_kept"]);
        set("usage_kept_from = NULL, time_zone = 'Asia/Tokyo'").await;
        assert_eq!(rerate(bench, asked(json!({}))).await.expect(503).problem().0, "days_being_counted");
    })
    .await;
}

#[tokio::test]
async fn ratings_are_only_ever_added_and_go_with_their_records() {
    run(async |bench| {
        publish(bench, "2026-01-01", "EUR", "0.10").await;
        let old = Utc::now() - TimeDelta::days(30);
        deliver(&bench.app, [call_at(bench.acme, old), call_at(bench.acme, Utc::now())]).await;
        let right = publish(bench, &tomorrow(), "EUR", "0.01").await;
        let (from, to) = (old.date_naive(), Utc::now().date_naive());
        let asked = json!({ "from": from, "to": to, "reason": "because", "price_book_version": right });
        assert_eq!(rerate(bench, asked).await.expect(200).json["changed"], 2);
        for table in ["usage_ratings", "usage_reratings"] {
            for change in [format!("UPDATE {table} SET tenant_id = tenant_id"), format!("DELETE FROM {table}")] {
                let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
                let refused =
                    sqlx::query(sqlx::AssertSqlSafe(change.clone())).execute(&mut *tx).await.expect_err(&change);
                assert!(refused.to_string().contains("permission denied"), "{change}: {refused}");
            }
        }
        let kept = async || -> i64 {
            let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
            sqlx::query_scalar("SELECT count(*) FROM usage_ratings").fetch_one(&mut *tx).await.expect("a number")
        };
        assert_eq!(kept().await, 2);
        sqlx::query("UPDATE tenants SET usage_retention_days = 7 WHERE id = $1")
            .bind(bench.acme.uuid())
            .execute(bench.app.db.pool())
            .await
            .expect("changed");
        crate::jobs::run(&bench.app).await.expect("the jobs run");
        assert_eq!(kept().await, 1);
    })
    .await;
}
