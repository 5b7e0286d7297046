mod alike;

use aws_lc_rs::digest::{SHA256, digest};
use chrono::{DateTime, Utc};
use http::Method;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tollgate_proto::usage::v1::UsageRecord;

use super::{Closing, rounded};
use crate::{
    caller::Role,
    testing::{Answer, Bench, run, text},
    usage::testing::{call_at, deliver},
};

fn call(bench: &Bench, at: &str, team: &str, tool: &str) -> UsageRecord {
    let at = at.parse().expect("a moment");
    UsageRecord {
        team: team.to_owned(),
        cost_center: "CC-1".to_owned(),
        tool: tool.to_owned(),
        ..call_at(bench.acme, at)
    }
}

async fn keep_for_long(bench: &Bench) {
    sqlx::query("UPDATE tenants SET usage_retention_days = 3650 WHERE id = $1")
        .bind(bench.acme.uuid())
        .execute(bench.app.db.pool())
        .await
        .expect("changed");
}

/// Keeps records for long, and charges for calls.
async fn prices(bench: &Bench) {
    keep_for_long(bench).await;
    let prices = json!([{ "match": "*", "per_call": "0.005" }, { "match": "demo:dear", "per_call": "1.25" }]);
    let spec = json!({ "effective_from": "2026-01-01", "currency": "EUR", "prices": prices });
    bench.put("price-books/standard", json!({ "spec": spec })).await.expect(201);
}

async fn close(bench: &Bench, period: &str) -> Answer {
    bench.call(Method::POST, "statements").by(Role::Finance).json(json!({ "period": period })).await
}

/// Team, total and lines of each statement.
fn shown(statements: &Answer) -> Vec<(Value, String, i64)> {
    let items = statements.json["items"].as_array().expect("statements").iter();
    items
        .map(|it| (it["team"].clone(), text(&it["total"]).to_owned(), it["lines"].as_i64().expect("a number")))
        .collect()
}

#[tokio::test]
async fn a_closed_month_is_one_statement_for_each_team_and_its_lines_are_rounded() {
    run(async |bench| {
        prices(bench).await;
        let of = |team: &str, tool: &str| call(bench, "2026-03-15T12:00:00Z", team, tool);
        let march = [of("core", "cheap"), of("core", "odd"), of("core", "odd"), of("core", "odd"), of("", "dear")];
        let others =
            [call(bench, "2026-02-28T23:59:59Z", "core", "dear"), call(bench, "2026-04-01T00:00:00Z", "core", "dear")];
        deliver(&bench.app, march.into_iter().chain(others)).await;
        let closed = close(bench, "2026-03").await.expect(201);
        // 0.005 is rounded to 0.00, and 3 × 0.005 to 0.02: half to even.
        assert_eq!(shown(&closed), [(Value::Null, "1.25".into(), 1), (json!("core"), "0.02".into(), 2)]);
        let statement = &closed.json["items"][1];
        assert_eq!((&statement["period"], &statement["currency"]), (&json!("2026-03"), &json!("EUR")));
        assert_eq!(statement["price_book_versions"].as_array().map(Vec::len), Some(1));
        let id = text(&statement["id"]);
        let full = bench.get(&format!("statements/{id}")).await.expect(200).json;
        let lines: Vec<(&str, &str, &str)> = full["items"]
            .as_array()
            .expect("lines")
            .iter()
            .map(|line| (text(&line["tool"]), text(&line["cost"]), text(&line["amount"])))
            .collect();
        assert_eq!(lines, [("cheap", "0.005", "0.00"), ("odd", "0.015", "0.02")]);

        let csv = bench.get(&format!("statements/{id}?format=csv")).await.expect(200).text;
        assert!(csv.contains("2026-03,,CC-1,bot,demo,odd,3,33,9,0,0.015,0.02,EUR\r\n"), "{csv}");
        let hex: String = digest(&SHA256, csv.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(statement["sha256"], hex, "whoever has the file can compare");
        assert_eq!(bench.audit().await.last().map(String::as_str), Some("statement.close 2026-03"));
    })
    .await;
}

#[tokio::test]
async fn what_comes_late_is_a_correction_of_a_later_month_and_everything_adds_up() {
    run(async |bench| {
        prices(bench).await;
        deliver(&bench.app, [call(bench, "2026-03-15T12:00:00Z", "core", "dear")]).await;
        let march = close(bench, "2026-03").await.expect(201);
        let late =
            [call(bench, "2026-03-16T12:00:00Z", "core", "dear"), call(bench, "2026-03-16T12:00:00Z", "new", "dear")];
        deliver(&bench.app, late).await;
        deliver(&bench.app, [call(bench, "2026-04-01T12:00:00Z", "core", "cheap")]).await;
        let again = bench.get("statements?period=2026-03").await.expect(200);
        assert_eq!(again.json["items"], march.json["items"], "what was closed never changes");

        let april = close(bench, "2026-04").await.expect(201);
        assert_eq!(shown(&april), [(json!("core"), "1.25".into(), 2), (json!("new"), "1.25".into(), 1)]);
        let id = text(&april.json["items"][0]["id"]);
        let lines = bench.get(&format!("statements/{id}")).await.expect(200).json["items"].clone();
        assert_eq!((&lines[0]["period"], &lines[0]["corrects"]), (&json!("2026-03"), &march.json["items"][0]["id"]));
        assert_eq!((&lines[1]["period"], &lines[1]["corrects"]), (&json!("2026-04"), &Value::Null));
        let new = text(&april.json["items"][1]["id"]);
        let lines = bench.get(&format!("statements/{new}")).await.expect(200).json["items"].clone();
        assert_eq!((&lines[0]["period"], &lines[0]["corrects"]), (&json!("2026-03"), &Value::Null), "it had none");

        assert_eq!(shown(&close(bench, "2026-05").await.expect(201)), [], "there is nothing left to say");
        let all = bench.get("statements").await.expect(200).json["items"].clone();
        let stated = all.as_array().expect("statements").iter();
        let stated: Decimal = stated.map(|it| text(&it["total"]).parse::<Decimal>().expect("a total")).sum();
        let report = bench.get("reports/chargeback/2026").await.expect(200).json["totals"][0]["cost"].clone();
        assert_eq!(
            (stated.normalize().to_string().as_str(), text(&report)),
            ("3.75", "3.755"),
            "but for 0.005, rounded"
        );
    })
    .await;
}

#[tokio::test]
async fn months_are_closed_once_in_their_order_and_when_they_are_over() {
    run(async |bench| {
        let refused = async |period: &str| close(bench, period).await.expect(422).problem().0.to_owned();
        for period in ["", "2026", "2026-13", "2026-3", "2026-03-01", "march"] {
            assert_eq!(refused(period).await, "period", "{period}");
        }
        let now = Utc::now().format("%Y-%m").to_string();
        assert_eq!(refused(&now).await, "not_over");
        close(bench, "2026-03").await.expect(201);
        assert_eq!(refused("2026-03").await, "closed");
        assert_eq!(refused("2026-02").await, "closed");
        assert_eq!(refused("2026-05").await, "not_next");
        close(bench, "2026-04").await.expect(201);
        for role in [Role::Operator, Role::Viewer] {
            let call = bench.call(Method::POST, "statements").by(role);
            call.json(json!({ "period": "2026-05" })).await.expect(403);
        }
        bench.get("statements/stm_none").await.expect(404);
        bench.get("statements?period=2026").await.expect(400);
    })
    .await;
}

#[tokio::test]
async fn a_month_waits_for_what_may_still_arrive_unless_somebody_says_why_not() {
    run(async |bench| {
        let berlin = "UPDATE tenants SET time_zone = 'Europe/Berlin', usage_days_zone = 'Europe/Berlin' WHERE id = $1";
        sqlx::query(berlin).bind(bench.acme.uuid()).execute(bench.app.db.pool()).await.expect("changed");
        let owner = bench.owner();
        let close = async |now: &str, force: bool, reason: Option<&str>| {
            let now: DateTime<Utc> = now.parse().expect("a moment");
            super::close(&bench.app, &owner, Closing { period: "2026-03", force, reason, now }).await
        };
        let refused = async |now: &str, force: bool, reason: Option<&str>| {
            let problem = close(now, force, reason).await.expect_err("it is refused").problem();
            (problem.code, problem.errors[0].pointer.clone(), problem.detail)
        };
        // April begins at 22:00 of UTC in Berlin.
        let (code, pointer, why) = refused("2026-03-31T21:59:59Z", true, Some("in a hurry")).await;
        assert_eq!((code.as_str(), pointer.as_str()), ("not_over", "/period"));
        assert!(why.contains("2026-04-03T22:00:00Z"), "{why}");
        let (code, _, why) = refused("2026-04-03T21:59:59Z", false, Some("it does not help")).await;
        assert!(code == "in_grace" && why.contains("2026-04-03T22:00:00Z"), "{code}: {why}");
        for reason in [None, Some(" ")] {
            let (code, pointer, _) = refused("2026-04-03T21:59:59Z", true, reason).await;
            assert_eq!((code.as_str(), pointer.as_str()), ("required", "/reason"));
        }
        close("2026-04-03T21:59:59Z", true, Some("the auditors come")).await.expect("closed");
        let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
        let detail: Value = sqlx::query_scalar("SELECT detail FROM audit_events WHERE action = 'statement.close'")
            .fetch_one(&mut *tx)
            .await
            .expect("an event");
        assert_eq!((&detail["force"], &detail["reason"]), (&json!(true), &json!("the auditors come")));
    })
    .await;
}

#[tokio::test]
async fn nothing_is_closed_or_reported_of_days_that_are_being_counted() {
    run(async |bench| {
        prices(bench).await;
        deliver(&bench.app, [call(bench, "2026-03-31T22:30:00Z", "core", "dear")]).await;
        let berlin = "UPDATE tenants SET time_zone = 'Europe/Berlin' WHERE id = $1";
        sqlx::query(berlin).bind(bench.acme.uuid()).execute(bench.app.db.pool()).await.expect("changed");
        let refused = close(bench, "2026-03").await.expect(503);
        assert_eq!((refused.problem().0, refused.header("retry-after")), ("days_being_counted", "2"));
        for path in ["reports/chargeback/2026-03", "reports/chargeback/2026-04", "reports/chargeback/2026?format=focus"]
        {
            assert_eq!(bench.get(path).await.expect(503).problem().0, "days_being_counted", "{path}");
        }
        bench.get("reports/chargeback/2026-05").await.expect(200);
        crate::jobs::run(&bench.app).await.expect("the jobs run");
        let april = bench.get("reports/chargeback/2026-04").await.expect(200);
        assert_eq!(april.json["totals"][0]["cost"], "1.25");
        assert_eq!(shown(&close(bench, "2026-03").await.expect(201)), [], "in Berlin it is April's");
    })
    .await;
}

#[tokio::test]
async fn two_who_close_a_month_at_once_close_it_once() {
    run(async |bench| {
        prices(bench).await;
        deliver(&bench.app, [call(bench, "2026-03-15T12:00:00Z", "core", "dear")]).await;
        let (one, other) = tokio::join!(close(bench, "2026-03"), close(bench, "2026-03"));
        let mut statuses = [one.status.as_u16(), other.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 422]);
        assert_eq!(bench.get("statements").await.expect(200).json["items"].as_array().map(Vec::len), Some(1));
    })
    .await;
}

#[tokio::test]
async fn nobody_changes_what_was_closed() {
    run(async |bench| {
        prices(bench).await;
        deliver(&bench.app, [call(bench, "2026-03-15T12:00:00Z", "core", "dear")]).await;
        close(bench, "2026-03").await.expect(201);
        for table in ["closed_periods", "statements", "statement_lines"] {
            for change in [format!("UPDATE {table} SET tenant_id = tenant_id"), format!("DELETE FROM {table}")] {
                let statement = || sqlx::AssertSqlSafe(change.clone());
                let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
                let refused = sqlx::query(statement()).execute(&mut *tx).await.expect_err(&change).to_string();
                assert!(refused.contains("permission denied"), "{change}: {refused}");
                let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
                sqlx::query("RESET ROLE").execute(&mut *tx).await.expect("the owner");
                let refused = sqlx::query(statement()).execute(&mut *tx).await.expect_err(&change).to_string();
                assert!(refused.contains("never changes"), "{change}: {refused}");
            }
        }
    })
    .await;
}

#[test]
fn amounts_are_rounded_half_to_even_to_what_the_currency_has() {
    for (cost, decimals, amount) in [
        ("0.005", 2, "0.00"),
        ("0.015", 2, "0.02"),
        ("0.0150000000000001", 2, "0.02"),
        ("0.025", 2, "0.02"),
        ("-0.015", 2, "-0.02"),
        ("1.5", 0, "2"),
        ("2.5", 0, "2"),
        ("7", 3, "7.000"),
        ("0", 2, "0.00"),
    ] {
        assert_eq!(rounded(cost, decimals).expect(cost).to_string(), amount, "{cost}");
    }
}
