//! The page Usage & cost: bars, lines to go deeper, and files.

use chrono::{Datelike as _, NaiveTime, Utc};
use serde_json::json;
use tollgate_proto::usage::v1::UsageRecord;

use super::Browser;
use crate::{
    caller::Role,
    testing::{Bench, run, text},
    usage::testing::{call_at, deliver},
};

/// A call of `demo:echo` now.
fn call(bench: &Bench, team: &str) -> UsageRecord {
    UsageRecord { team: team.to_owned(), input_tokens: 0, output_tokens: 0, ..call_at(bench.acme, Utc::now()) }
}

async fn used(bench: &Bench) {
    let price = json!({ "match": "*", "per_call": "0.25" });
    let spec = json!({ "effective_from": "2026-01-01", "currency": "EUR", "prices": [price] });
    bench.put("price-books/standard", json!({ "spec": spec })).await.expect(201);
    let formula = UsageRecord { tool: "=1+1".to_owned(), ..call(bench, "core") };
    deliver(&bench.app, [call(bench, "core"), formula, call(bench, "core"), call(bench, "")]).await;
}

#[tokio::test]
async fn costs_are_drawn_by_day_and_lead_to_what_they_are_made_of() {
    run(async |bench| {
        let mut browser = Browser::of(bench, Role::Finance).await;
        let empty = browser.get("/usage").await.expect(200).text;
        assert!(empty.contains("Costs appear after the first call that has a price"), "{empty}");
        used(bench).await;
        let page = browser.get("/usage").await.expect(200).text;
        for part in [
            "Cost per day by team, in EUR",
            "<desc id=\"chart-desc-EUR\">",
            "class=\"series-1\"",
            "core 0.75 EUR</title>",
            "<td data-label=\"Cost\" class=\"num\">0.75</td>",
            "href=\"/usage?period=current&#38;by=agent&#38;team=core\"",
            "href=\"/usage?period=current&#38;by=agent&#38;team=\"",
            "unattributed",
            "/price-books",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        let deeper = browser.get("/usage?period=current&by=tool&team=core").await.expect(200).text;
        assert!(deeper.contains("demo:echo") && deeper.contains("Only team core."), "{deeper}");
        assert!(deeper.contains("href=\"/usage?period=current&#38;by=tool\">Everything again"), "{deeper}");
        assert_eq!(browser.get("/usage?period=soon").await.status, 400);
        assert_eq!(browser.get("/usage?by=planet").await.status, 400);
    })
    .await;
}

#[tokio::test]
async fn a_budget_stands_beside_what_a_team_cost() {
    run(async |bench| {
        let team = bench.put("teams/core", json!({ "spec": {} })).await.expect(201).json;
        used(bench).await;
        let mut browser = Browser::of(bench, Role::Viewer).await;
        assert!(!browser.get("/usage").await.expect(200).text.contains("Left of it"));
        let spec = json!({ "to": { "team": "core" }, "period": "month", "amount": "0.40" });
        bench.put("budgets/core-monthly", json!({ "spec": spec })).await.expect(201);
        let own = UsageRecord { team_id: text(&team["id"]).to_owned(), ..call(bench, "core") };
        deliver(&bench.app, [own.clone(), UsageRecord { call_id: call(bench, "core").call_id, ..own }]).await;
        let page = browser.get("/usage").await.expect(200).text;
        for part in ["href=\"/budgets/core-monthly\">0.4</a>", "-0.1 <span class=\"status bad\">over</span>"] {
            assert!(page.contains(part), "{part}: {page}");
        }
        let deeper = browser.get("/usage?period=current&by=agent&team=core").await.expect(200).text;
        assert!(deeper.contains("Over budget") && deeper.contains("</a>: 0.5 of 0.4"), "{deeper}");
        assert!(!deeper.contains("Left of it"), "an agent's budget is on all that it does: {deeper}");
    })
    .await;
}

#[tokio::test]
async fn a_report_is_downloaded_as_it_is_shown() {
    run(async |bench| {
        used(bench).await;
        let mut browser = Browser::of(bench, Role::Viewer).await;
        let csv = browser.get("/usage/download?period=current&by=tool&team=core&format=csv").await.expect(200);
        assert!(csv.header("content-type").starts_with("text/csv"));
        let line = "demo:=1+1,1,0,0,0,0,0.25,EUR,0,0,0,,,,\r\n";
        assert!(csv.text.contains(line), "{}", csv.text);
        let json = browser.get("/usage/download?period=current&by=team&format=json").await.expect(200).json;
        assert_eq!(json["totals"][0]["cost"], "1");
        let focus = browser.get("/usage/download?period=current&format=focus").await.expect(200);
        assert!(focus.text.starts_with("BilledCost,BillingAccountId,"), "{}", focus.text);
        assert!(focus.text.contains(",'=1+1,"), "{}", focus.text);
    })
    .await;
}

#[tokio::test]
async fn statements_of_closed_months_are_listed_and_downloaded() {
    run(async |bench| {
        let price = json!({ "match": "*", "per_call": "0.25" });
        let spec = json!({ "effective_from": "2026-01-01", "currency": "EUR", "prices": [price] });
        bench.put("price-books/standard", json!({ "spec": spec })).await.expect(201);
        let last = Utc::now().date_naive().with_day(1).and_then(|first| first.pred_opt()).expect("a day");
        let at = last.and_time(NaiveTime::MIN).and_utc();
        deliver(&bench.app, [UsageRecord { team: "core".to_owned(), ..call_at(bench.acme, at) }]).await;
        let period = last.format("%Y-%m").to_string();
        let closed = bench
            .post("statements", json!({ "period": period, "force": true, "reason": "a test" }))
            .await
            .expect(201)
            .json;
        let mut browser = Browser::of(bench, Role::Viewer).await;
        let page = browser.get("/usage").await.expect(200).text;
        let link = format!("/usage/statements/{}", text(&closed["items"][0]["id"]));
        assert!(page.contains(&link) && page.contains("0.25"), "{page}");
        let file = browser.get(&link).await.expect(200);
        assert!(file.text.ends_with(",0.25,0.25,EUR\r\n"), "{}", file.text);
    })
    .await;
}
