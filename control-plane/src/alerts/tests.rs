use serde_json::json;
use sqlx::AssertSqlSafe;

use super::*;
use crate::testing::{Bench, run as with_bench, text};

mod saturation;

/// A limit's alert with this key.
fn alert(key: &str) -> Alert {
    Alert { kind: AlertKind::LimitSaturated, key: key.to_owned(), data: json!({ "limit": key }) }
}

/// Raises it for `acme`; answers whether it was new.
async fn raised(bench: &Bench, alert: &Alert) -> bool {
    let mut tx = bench.app.db.tenant(bench.acme).await.expect("Postgres");
    let new = raise(&mut tx, bench.acme, alert).await.expect("raised");
    tx.commit().await.expect("committed");
    new
}

#[tokio::test]
async fn what_is_raised_twice_is_said_once() {
    with_bench(async |bench| {
        assert!(raised(bench, &alert("a")).await);
        assert!(!raised(bench, &alert("a")).await);
        assert!(raised(bench, &Alert { kind: AlertKind::BudgetForecast, ..alert("a") }).await, "of another kind");
        let listed = bench.get("alerts").await.expect(200).json;
        let types: Vec<_> = listed["items"].as_array().expect("a list").iter().map(|it| text(&it["type"])).collect();
        assert_eq!(types, ["budget.forecast", "limit.saturated"], "the newest first");
    })
    .await;
}

#[tokio::test]
async fn an_alert_that_is_rolled_back_was_never_raised() {
    with_bench(async |bench| {
        let mut tx = bench.app.db.tenant(bench.acme).await.expect("Postgres");
        assert!(raise(&mut tx, bench.acme, &alert("a")).await.expect("raised"));
        drop(tx);
        assert!(raised(bench, &alert("a")).await);
    })
    .await;
}

#[tokio::test]
async fn alerts_come_in_pages_of_one_tenant() {
    with_bench(async |bench| {
        let other = bench.tenant("other").await;
        for key in ["1", "2", "3"] {
            assert!(raised(bench, &alert(key)).await);
        }
        let mut tx = bench.app.db.tenant(other).await.expect("Postgres");
        assert!(raise(&mut tx, other, &alert("3")).await.expect("raised"), "a key is a tenant's own");
        tx.commit().await.expect("committed");

        let first = bench.get("alerts?limit=2").await.expect(200).json;
        let next = format!("alerts?limit=2&cursor={}", text(&first["next_cursor"]));
        let second = bench.get(&next).await.expect(200).json;
        let limits: Vec<_> =
            [&first, &second].into_iter().flat_map(|page| page["items"].as_array().expect("a list")).collect();
        let limits: Vec<_> = limits.into_iter().map(|alert| text(&alert["data"]["limit"])).collect();
        assert_eq!(limits, ["3", "2", "1"]);
        assert!(second["next_cursor"].is_null());
        let none = bench.get("alerts?type=budget.forecast").await.expect(200).json;
        assert_eq!(none["items"], json!([]));
        bench.get("alerts?type=%00").await.expect(400);
    })
    .await;
}

#[tokio::test]
async fn old_alerts_go_but_those_that_must_not_be_raised_again() {
    with_bench(async |bench| {
        let of = |kind, key: &str| Alert { kind, ..alert(key) };
        for (kind, days) in [
            (AlertKind::LimitSaturated, 31),
            (AlertKind::LimitSaturated, 29),
            (AlertKind::BudgetThreshold, 399),
            (AlertKind::BudgetThreshold, 401),
        ] {
            let key = days.to_string();
            assert!(raised(bench, &of(kind, &key)).await);
            let mut tx = bench.app.db.tenant(bench.acme).await.expect("Postgres");
            let age = format!(
                "SET LOCAL ROLE NONE; UPDATE alerts SET at = now() - interval '{days} days' WHERE key = '{key}'"
            );
            sqlx::raw_sql(AssertSqlSafe(age)).execute(&mut *tx).await.expect("aged");
            tx.commit().await.expect("committed");
        }
        purge(&bench.app, bench.acme).await.expect("purged");
        let mut tx = bench.app.db.tenant(bench.acme).await.expect("Postgres");
        let left: Vec<String> =
            sqlx::query_scalar("SELECT key FROM alerts ORDER BY key").fetch_all(&mut *tx).await.expect("alerts");
        assert_eq!(left, ["29", "399"]);
    })
    .await;
}
