//! Whatever is charged anew, in any order: ledger, sums, report and statements say the same.

use std::collections::BTreeMap;

use proptest::{
    prelude::{Just, Strategy, any},
    prop_oneof,
    strategy::ValueTree as _,
    test_runner::TestRunner,
};
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::{call, keep, publish, rerate, tomorrow, wrong_sums};
use crate::{
    testing::{Bench, run, text},
    usage::testing::wrong_months,
};

/// Times of two months in UTC, which are of three in Berlin.
const TIMES: [&str; 5] = [
    "2026-03-10T12:00:00Z",
    "2026-03-31T21:59:59Z",
    "2026-03-31T22:00:00Z",
    "2026-04-15T12:00:00Z",
    "2026-04-30T22:00:00Z",
];
const DAYS: [&str; 5] = ["2026-03-10", "2026-03-31", "2026-04-01", "2026-04-15", "2026-05-01"];
const TEAMS: [&str; 2] = ["core", "web"];
const MONTHS: [&str; 3] = ["2026-03", "2026-04", "2026-05"];

#[derive(Debug, Clone)]
enum Step {
    Publish { dollars: bool, cents: u8 },
    Deliver { time: usize, team: usize },
    Rerate { from: usize, days: usize, team: Option<usize>, by: Option<usize> },
    Close,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let publish = (any::<bool>(), 1..100u8).prop_map(|(dollars, cents)| Step::Publish { dollars, cents });
    let deliver = (0..TIMES.len(), 0..TEAMS.len()).prop_map(|(time, team)| Step::Deliver { time, team });
    let team = proptest::option::of(0..TEAMS.len());
    let rerate = (0..DAYS.len(), 0..DAYS.len(), team, proptest::option::of(0..8usize))
        .prop_map(|(from, days, team, by)| Step::Rerate { from, days, team, by });
    let step = prop_oneof![2 => publish, 4 => deliver, 4 => rerate, 1 => Just(Step::Close)];
    proptest::collection::vec(step, 12..20)
}

/// Costs by currency.
type Costs = BTreeMap<String, Decimal>;

fn costs(rows: impl IntoIterator<Item = (String, Decimal)>) -> Costs {
    let all: Costs = rows.into_iter().map(|(currency, cost)| (currency, cost.normalize())).collect();
    all.into_iter().filter(|(_, cost)| !cost.is_zero()).collect()
}

async fn queried(bench: &Bench, query: &'static str) -> Costs {
    let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
    costs(sqlx::query_as::<_, (String, Decimal)>(query).fetch_all(&mut *tx).await.expect("sums"))
}

const LEDGER: &str = "
    SELECT currency, sum(cost) FROM (
        SELECT DISTINCT ON (call_id) currency, cost FROM (
            SELECT call_id, 0 AS position, currency, cost FROM usage_records
            UNION ALL SELECT call_id, position, currency, cost FROM usage_ratings
        ) AS rated ORDER BY call_id, position DESC
    ) AS counts GROUP BY currency";
const DAILY: &str =
    "SELECT currency, sum(cost) FROM usage_daily JOIN usage_dimensions ON id = dimension_id GROUP BY currency";
const HOURLY: &str =
    "SELECT currency, sum(cost) FROM usage_hourly JOIN usage_dimensions ON id = dimension_id GROUP BY currency";
const MONTHLY: &str =
    "SELECT currency, sum(cost) FROM usage_monthly JOIN usage_dimensions ON id = dimension_id GROUP BY currency";
const STATED: &str =
    "SELECT currency, sum(cost) FROM statement_lines JOIN statements ON id = statement_id GROUP BY currency";

async fn reported(bench: &Bench) -> Costs {
    let totals = bench.get("reports/chargeback/2026").await.expect(200).json["totals"].clone();
    let totals = totals.as_array().expect("totals").iter().filter(|total| total["currency"].is_string());
    costs(totals.map(|it| (text(&it["currency"]).to_owned(), text(&it["cost"]).parse().expect("a decimal"))))
}

/// Does a step; answers how many months are closed then.
async fn take(bench: &Bench, step: &Step, versions: &mut Vec<String>, closed: usize) -> usize {
    match *step {
        Step::Publish { dollars, cents } => {
            let from = if versions.is_empty() { "2026-04-01".to_owned() } else { tomorrow() };
            let currency = if dollars { "USD" } else { "EUR" };
            versions.push(publish(bench, &from, currency, &format!("0.{cents:02}")).await);
        }
        Step::Deliver { time, team } => {
            crate::usage::testing::deliver(&bench.app, [call(bench, TIMES[time], TEAMS[team])]).await;
        }
        Step::Rerate { from, days, team, by } => {
            let by = by.and_then(|index| versions.get(index % versions.len().max(1)));
            let to = DAYS[(from + days).min(DAYS.len() - 1)];
            let asked = json!({ "from": DAYS[from], "to": to, "reason": "because", "price_book_version": by,
                                "team": team.map(|team| TEAMS[team]) });
            rerate(bench, asked.clone()).await.expect(200);
            assert_eq!(rerate(bench, asked).await.expect(200).json["changed"], 0, "{step:?}");
        }
        Step::Close => return close(bench, closed).await,
    }
    closed
}

async fn close(bench: &Bench, closed: usize) -> usize {
    let Some(month) = MONTHS.get(closed) else { return closed };
    bench.post("statements", json!({ "period": month })).await.expect(201);
    closed + 1
}

#[tokio::test]
async fn whatever_is_charged_anew_ledger_sums_report_and_statements_say_the_same() {
    let mut runner = TestRunner::deterministic();
    for _ in 0..6 {
        let steps = steps().new_tree(&mut runner).expect("steps").current();
        run(async |bench| {
            keep(bench).await;
            sqlx::query(
                "UPDATE tenants SET time_zone = 'Europe/Berlin', usage_days_zone = 'Europe/Berlin' WHERE id = $1",
            )
            .bind(bench.acme.uuid())
            .execute(bench.app.db.pool())
            .await
            .expect("changed");
            let (mut versions, mut closed) = (Vec::new(), 0);
            for (count, step) in steps.iter().enumerate() {
                closed = take(bench, step, &mut versions, closed).await;
                let ledger = queried(bench, LEDGER).await;
                let mut others = vec![reported(bench).await];
                for sums in [MONTHLY, DAILY, HOURLY] {
                    others.push(queried(bench, sums).await);
                }
                assert!(others.iter().all(|sums| *sums == ledger), "{:?}: {ledger:?} {others:?}", &steps[..=count]);
            }
            let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
            assert_eq!(wrong_months(&mut tx, bench.acme).await, 0, "{steps:?}");
            drop(tx);
            for day in DAYS {
                assert_eq!(wrong_sums(bench, day).await, 0, "{steps:?}");
            }
            while closed < MONTHS.len() {
                closed = close(bench, closed).await;
            }
            // What was corrected after its month and all behind it were closed is in the one after.
            let last: Value = bench.post("statements", json!({ "period": "2026-06" })).await.expect(201).json;
            assert_eq!(queried(bench, STATED).await, queried(bench, LEDGER).await, "{steps:?} {last}");
        })
        .await;
    }
}
