//! What calls cost, from the price book to the sums.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use http::Method;
use serde_json::{Value, json};
use tollgate_proto::usage::v1::{Outcome, UsageRecord};

use crate::{
    testing::{Bench, run, text},
    usage::testing::{call_at, deliver},
};

/// A forwarded call of `demo:echo` by `platform` at that moment.
fn call(bench: &Bench, at: DateTime<Utc>) -> UsageRecord {
    UsageRecord { input_tokens: 500, ..call_at(bench.acme, at) }
}

async fn publish(bench: &Bench, from: DateTime<Utc>, per_call: &str) {
    let from = from.to_rfc3339_opts(SecondsFormat::Micros, true);
    let price = json!({ "match": "demo:*", "per_call": per_call, "per_1k_input_tokens": "0.003" });
    let spec = json!({ "effective_from": from, "currency": "EUR", "prices": [price] });
    bench.put("price-books/standard", json!({ "spec": spec })).await.expect(201);
}

/// Cost, currency and whether it has no price, of the call with this id.
async fn rated(bench: &Bench, record: &UsageRecord) -> (String, Value, bool) {
    let items = bench.get("usage-records?limit=500").await.expect(200).json["items"].clone();
    let items = items.as_array().expect("records");
    let item = items.iter().find(|item| item["call_id"] == record.call_id).expect("it is stored");
    (text(&item["cost"]).to_owned(), item["currency"].clone(), item["unpriced"] == true)
}

/// Cost and unpriced calls of the months, of the days and of the hours together.
async fn sums(bench: &Bench) -> [(String, i64); 3] {
    let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
    let mut sums = Vec::new();
    for table in ["usage_monthly", "usage_daily", "usage_hourly"] {
        let sum = format!("SELECT trim_scale(sum(cost))::text, sum(unpriced_calls)::bigint FROM {table}");
        sums.push(sqlx::query_as(sqlx::AssertSqlSafe(sum)).fetch_one(&mut *tx).await.expect("sums"));
    }
    sums.try_into().expect("three tables")
}

#[tokio::test]
async fn a_call_is_rated_by_its_own_time_in_the_transaction_that_stores_it() {
    run(async |bench| {
        let now = Utc::now();
        let (early, late) = (call(bench, now - TimeDelta::days(3)), call(bench, now));
        publish(bench, now - TimeDelta::days(1), "0.01").await;
        let refused = UsageRecord { outcome: Outcome::Refused.into(), forwarded: false, ..call(bench, now) };
        let other = UsageRecord { server: "other".to_owned(), ..call(bench, now) };
        let question = UsageRecord { input_required: true, ..call(bench, now) };
        let records = [early.clone(), late.clone(), refused.clone(), other.clone(), question.clone()];
        for _ in 0..2 {
            deliver(&bench.app, records.clone()).await;
        }
        assert_eq!(rated(bench, &early).await, ("0".into(), Value::Null, true), "no book was in force");
        assert_eq!(rated(bench, &late).await, ("0.0115".into(), json!("EUR"), false));
        assert_eq!(rated(bench, &refused).await, ("0".into(), json!("EUR"), false));
        assert_eq!(rated(bench, &other).await, ("0".into(), json!("EUR"), true), "no price fits");
        assert_eq!(rated(bench, &question).await, ("0".into(), json!("EUR"), false), "the call goes on");
        assert_eq!(sums(bench).await, [(); 3].map(|()| ("0.0115".to_owned(), 2)));
        let report = bench.get("reports/usage?by=team").await.expect(200).json["items"].clone();
        assert_eq!(report.as_array().map(Vec::len), Some(1), "{report}");
        assert_eq!((&report[0]["cost"], &report[0]["currency"]), (&json!("0.0115"), &json!("EUR")));
        assert_eq!(
            (&report[0]["calls"], &report[0]["refused"]),
            (&json!(4), &json!(1)),
            "also of before there was a book"
        );
        let items = bench.get("usage-records").await.expect(200).json["items"].clone();
        let version = items.as_array().expect("records").iter().find_map(|item| item["price_book_version"].as_str());
        let version = bench.get(&format!("price-book-versions/{}", version.expect("a version"))).await.expect(200);
        assert_eq!(version.json["book"], "standard");
    })
    .await;
}

#[tokio::test]
async fn what_is_published_counts_for_what_is_stored_from_then_on() {
    run(async |bench| {
        let moment = Utc::now();
        let [before, between, after] = [call(bench, moment), call(bench, moment), call(bench, moment)];
        deliver(&bench.app, [before.clone()]).await;
        publish(bench, moment - TimeDelta::hours(1), "1").await;
        deliver(&bench.app, [between.clone(), before.clone()]).await;
        bench.call(Method::DELETE, "price-books/standard").header("if-match", "*").send().await.expect(204);
        deliver(&bench.app, [after.clone()]).await;
        let later = call(bench, Utc::now() + TimeDelta::seconds(1));
        deliver(&bench.app, [later.clone()]).await;
        assert_eq!(rated(bench, &before).await, ("0".into(), Value::Null, true), "a cost never changes");
        assert_eq!(rated(bench, &between).await, ("1.0015".into(), json!("EUR"), false));
        assert_eq!(rated(bench, &after).await, ("1.0015".into(), json!("EUR"), false), "it was made in time");
        assert_eq!(rated(bench, &later).await, ("0".into(), Value::Null, true), "the book has ended");
    })
    .await;
}

#[tokio::test]
async fn the_prices_of_one_tenant_are_not_anothers() {
    run(async |bench| {
        let now = Utc::now();
        publish(bench, now - TimeDelta::hours(1), "1").await;
        let other = bench.tenant("other").await;
        let ours = call(bench, now);
        let theirs = UsageRecord { tenant_id: other.to_string(), ..call(bench, now) };
        deliver(&bench.app, [ours.clone(), theirs]).await;
        assert_eq!(rated(bench, &ours).await.0, "1.0015");
        let mut tx = bench.app.db.tenant(other).await.expect("a transaction");
        let unpriced: bool =
            sqlx::query_scalar("SELECT unpriced FROM usage_records").fetch_one(&mut *tx).await.expect("their record");
        assert!(unpriced);
    })
    .await;
}
