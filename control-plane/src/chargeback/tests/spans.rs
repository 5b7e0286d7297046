//! A report of any days is what these days add up to, one by one: also where it reads months instead of them.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate};
use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tollgate_proto::usage::v1::UsageRecord;

use super::{call, report, set};
use crate::{
    testing::{Bench, run, text},
    usage::testing::deliver,
};

const FIRST: NaiveDate = NaiveDate::from_ymd_opt(2026, 5, 20).expect("a date");
/// Into September: three months that are whole, and a piece of two.
const DAYS: u64 = 120;

/// Calls, input tokens and cost by team.
type Sums = BTreeMap<String, (i64, i64, Decimal)>;

fn figures(line: &Value) -> (i64, i64, Decimal) {
    let number = |name: &str| line[name].as_i64().expect("a number");
    (number("calls"), number("input_tokens"), text(&line["cost"]).parse().expect("a decimal"))
}

fn added<'a>(lines: impl IntoIterator<Item = &'a Value>) -> Sums {
    let mut sums = Sums::new();
    for line in lines {
        let (calls, tokens, cost) = sums.entry(text(&line["group"]["team"]).to_owned()).or_default();
        let (more_calls, more_tokens, more_cost) = figures(line);
        (*calls, *tokens, *cost) = (*calls + more_calls, *tokens + more_tokens, *cost + more_cost);
    }
    sums
}

async fn lines(bench: &Bench, query: &str) -> (Vec<Value>, Vec<Value>) {
    let report = report(bench, query).await.expect(200).json;
    let list = |name: &str| report[name].as_array().cloned().expect("a list");
    (list("lines"), list("totals"))
}

async fn deliver_drawn(bench: &Bench, runner: &mut TestRunner) {
    let drawn = prop::collection::vec((0..DAYS * 24, 0..3_u8, 1..5_000_u64), 300);
    let drawn = drawn.new_tree(runner).expect("calls").current();
    let records = drawn.iter().zip(1..).map(|((hour, team, tokens), number)| {
        let at =
            FIRST.and_hms_opt(0, 30, 0).expect("a moment").and_utc() + chrono::TimeDelta::hours(hour.cast_signed());
        let team = format!("team-{team}");
        UsageRecord { team, input_tokens: *tokens, ..call(bench, &at.to_rfc3339(), number) }
    });
    deliver(&bench.app, records).await;
}

#[tokio::test]
async fn a_report_of_any_days_is_what_each_of_them_comes_to() {
    run(async |bench| {
        let book = json!({ "effective_from": "2026-01-01", "currency": "EUR",
            "prices": [{ "match": "*", "per_call": "0.0125", "per_1k_input_tokens": "0.0000000003" }] });
        bench.put("price-books/standard", json!({ "spec": book })).await.expect(201);
        set(bench, "time_zone = 'America/St_Johns', usage_days_zone = 'America/St_Johns', usage_retention_days = 3650")
            .await;
        let mut runner = TestRunner::deterministic();
        deliver_drawn(bench, &mut runner).await;
        for _ in 0..60 {
            let (from, length) = (0..DAYS, 1..DAYS).new_tree(&mut runner).expect("days").current();
            let (from, to) = (FIRST + Days::new(from), FIRST + Days::new(from + length));
            let (by_team, totals) = lines(bench, &format!("{from}..{to}")).await;
            let (by_day, totals_by_day) = lines(bench, &format!("{from}..{to}?group_by=team,day")).await;
            assert_eq!(added(&by_team), added(&by_day), "{from}..{to}");
            assert_eq!(totals, totals_by_day, "{from}..{to}");
            let whole = added(&by_team)
                .into_values()
                .fold((0, 0, Decimal::ZERO), |sum, more| (sum.0 + more.0, sum.1 + more.1, sum.2 + more.2));
            assert_eq!(totals.first().map_or((0, 0, Decimal::ZERO), figures), whole, "{from}..{to}");
            assert!(by_day.iter().all(|line| {
                let day: NaiveDate = text(&line["group"]["day"]).parse().expect("a day");
                (from..to).contains(&day)
            }));
        }
    })
    .await;
}
