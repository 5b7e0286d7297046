//! What the same calls add up to, wherever finance looks, however they were delivered.
//!
//! Invariant: money is compared exactly, to the last decimal.

use std::collections::BTreeMap;

use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
    strategy::ValueTree as _,
    test_runner::TestRunner,
};
use rust_decimal::Decimal;
use tollgate_proto::usage::v1::Outcome;

use super::*;

/// By team and tool.
type Sheet = BTreeMap<(String, String), Sums>;

/// Calls, tokens in, tokens out, calls without a price, and cost.
type Sums = [Decimal; 5];

const MARCH: &str = "2026-03";
const APRIL: &str = "2026-04";
const BOTH: &str = "2026-03-01..2026-05-01";

/// Decimals that no binary fraction has, and a tool that has no price.
async fn awkward_prices(bench: &Bench) {
    keep_for_long(bench).await;
    let prices = json!([
        { "match": "demo:odd", "per_call": "0.0123456789", "per_1k_input_tokens": "0.0333333333",
          "per_1k_output_tokens": "0.0777777777" },
        { "match": "demo:big", "per_call": "0.0000000007", "per_mib": "0.0000000003", "per_second": "0.7777777" },
    ]);
    let spec = json!({ "effective_from": "2026-01-01", "currency": "EUR", "prices": prices,
                       "outcome_factors": { "tool_error": "0.37", "timeout": "0.01" } });
    bench.put("price-books/standard", json!({ "spec": spec })).await.expect(201);
}

/// Calls of two months, and for each in how many deliveries it is, and in which.
fn calls(bench: &Bench, runner: &mut TestRunner) -> Vec<(UsageRecord, Vec<Index>)> {
    let endings = [Outcome::Ok, Outcome::Ok, Outcome::ToolError, Outcome::RpcError, Outcome::Timeout, Outcome::Unknown];
    let one = (
        (1..=61_i64, 0..86_400_000_i64),
        select(vec!["core", "data", ""]),
        select(vec!["odd", "big", "gift"]),
        (select(endings.to_vec()), prop::bool::weighted(0.1)),
        (0..1_000_000_u64, 0..1_000_000_u64, 0..1_u64 << 40, 0..10_u64.pow(9)),
        vec(any::<Index>(), 1..4),
    );
    let drawn = vec(one, 300).new_tree(runner).expect("drawn").current();
    let begin: DateTime<Utc> = "2026-02-28T00:00:00Z".parse().expect("a moment");
    let call = |((day, millis), team, tool, (outcome, is_refused), (input, output, bytes, micros), deliveries)| {
        let at = begin + chrono::TimeDelta::days(day) + chrono::TimeDelta::milliseconds(millis);
        let record = call_at(bench.acme, at);
        let (team, tool): (&str, &str) = (team, tool);
        let record = UsageRecord { team: team.to_owned(), tool: tool.to_owned(), ..record };
        let record = if is_refused {
            UsageRecord {
                outcome: Outcome::Refused.into(),
                decision: "tool_not_granted".to_owned(),
                forwarded: false,
                input_tokens: 0,
                output_tokens: 0,
                ..record
            }
        } else {
            let outcome: Outcome = outcome;
            UsageRecord {
                outcome: outcome.into(),
                input_tokens: input,
                output_tokens: output,
                output_bytes: bytes,
                upstream_us: micros,
                ..record
            }
        };
        (record, deliveries)
    };
    drawn.into_iter().map(call).collect()
}

/// Delivers them from several data planes at once, some of them more than once.
async fn deliver_all(bench: &Bench, calls: &[(UsageRecord, Vec<Index>)]) {
    let mut batches: [Vec<UsageRecord>; 4] = Default::default();
    for (record, deliveries) in calls {
        for delivery in deliveries {
            batches[delivery.index(4)].push(record.clone());
        }
    }
    let [first, second, third, fourth] = batches.map(|batch| deliver(&bench.app, batch));
    tokio::join!(first, second, third, fourth);
}

#[tokio::test]
async fn records_sums_reports_files_and_statements_say_the_same() {
    run(async |bench| {
        awkward_prices(bench).await;
        // The same calls in every run.
        let mut calls = calls(bench, &mut TestRunner::deterministic());
        calls.sort_by_key(|(record, _)| record.call_id.clone());
        // Of each third one of March nobody hears before March is closed.
        let (late, in_time): (Vec<_>, Vec<_>) =
            (0..).zip(calls).partition(|(place, _): &(usize, _)| place.is_multiple_of(3));
        let without_place = |calls: Vec<(usize, _)>| calls.into_iter().map(|(_, call)| call).collect::<Vec<_>>();
        deliver_all(bench, &without_place(in_time)).await;
        close(bench, MARCH).await.expect(201);
        deliver_all(bench, &without_place(late)).await;
        close(bench, APRIL).await.expect(201);

        let records = of_records(bench).await;
        assert!(records.values().any(|sums| sums[3] > Decimal::ZERO), "some have no price: {records:?}");
        for (what, sheet) in [
            ("hours", of_table(bench, "usage_hourly").await),
            ("days", of_table(bench, "usage_daily").await),
            ("the report", of_report(bench).await),
            ("its CSV", of_csv(bench).await),
            ("FOCUS", of_focus(bench).await),
            ("statements", of_statements(bench).await),
        ] {
            assert_eq!(sheet, records, "{what}");
        }
    })
    .await;
}

fn add(sheet: &mut Sheet, team: &str, tool: &str, more: [&str; 5]) {
    let tool = tool.rsplit(':').next().unwrap_or_default();
    let sums = sheet.entry((team.to_owned(), tool.to_owned())).or_default();
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum += Decimal::from_str_exact(more).unwrap_or_else(|error| panic!("{more:?}: {error}"));
    }
}

/// What a field says, as text.
fn field(of: &Value, name: &str) -> String {
    match &of[name] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn add_json(sheet: &mut Sheet, named: &Value, sums: &Value) {
    let names = ["calls", "input_tokens", "output_tokens", "unpriced_calls", "cost"];
    let sums = names.map(|name| field(sums, name));
    add(sheet, &field(named, "team"), &field(named, "tool"), sums.each_ref().map(String::as_str));
}

async fn of_records(bench: &Bench) -> Sheet {
    let items = bench.get("usage-records?limit=500").await.expect(200).json["items"].clone();
    let items = items.as_array().expect("records");
    assert_eq!(items.len(), 300, "each is stored once");
    let mut sheet = Sheet::new();
    for item in items.iter().filter(|item| item["outcome"] != "refused") {
        let unpriced = if item["unpriced"] == true { "1" } else { "0" };
        let [input, output, cost] = ["input_tokens", "output_tokens", "cost"].map(|name| field(item, name));
        add(&mut sheet, &field(item, "team"), &field(item, "tool"), ["1", &input, &output, unpriced, &cost]);
    }
    sheet
}

async fn of_table(bench: &Bench, table: &str) -> Sheet {
    let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
    let sums = format!(
        "SELECT team, tool, ARRAY[sum(calls), sum(input_tokens), sum(output_tokens), sum(unpriced_calls), sum(cost)]::text[]
         FROM {table} AS sums JOIN usage_dimensions AS d ON d.tenant_id = sums.tenant_id AND d.id = sums.dimension_id
         GROUP BY team, tool"
    );
    let rows: Vec<(String, String, Vec<String>)> =
        sqlx::query_as(sqlx::AssertSqlSafe(sums)).fetch_all(&mut *tx).await.expect("sums");
    let mut sheet = Sheet::new();
    for (team, tool, sums) in rows {
        let sums: [String; 5] = sums.try_into().expect("five sums");
        add(&mut sheet, &team, &tool, sums.each_ref().map(String::as_str));
    }
    sheet
}

async fn of_report(bench: &Bench) -> Sheet {
    let path = format!("reports/chargeback/{BOTH}?group_by=team,tool");
    let report = bench.get(&path).await.expect(200).json;
    let mut sheet = Sheet::new();
    for line in report["lines"].as_array().expect("lines") {
        add_json(&mut sheet, &line["group"], line);
    }
    sheet
}

async fn of_csv(bench: &Bench) -> Sheet {
    let names = ["team", "tool", "calls", "input_tokens", "output_tokens", "unpriced_calls", "cost"];
    of_file(bench, &format!("reports/chargeback/{BOTH}?group_by=team,tool&format=csv"), names).await
}

async fn of_focus(bench: &Bench) -> Sheet {
    let names = [
        "SubAccountName",
        "x_ToolName",
        "ConsumedQuantity",
        "x_InputTokens",
        "x_OutputTokens",
        "x_UnpricedCalls",
        "BilledCost",
    ];
    of_file(bench, &format!("reports/chargeback/{BOTH}?format=focus"), names).await
}

async fn of_file(bench: &Bench, path: &str, names: [&str; 7]) -> Sheet {
    let file = bench.get(path).await.expect(200).text;
    let mut rows = file.lines().map(cells);
    let head = rows.next().expect("a header line");
    let at =
        names.map(|name| head.iter().position(|column| column == name).unwrap_or_else(|| panic!("{name}: {head:?}")));
    let mut sheet = Sheet::new();
    for row in rows {
        let [team, tool, sums @ ..] = at.map(|at| row[at].as_str());
        add(&mut sheet, team, tool, sums);
    }
    sheet
}

/// The cells of a line of CSV (RFC 4180), of which none here has a line end or a quote that is looked at.
fn cells(line: &str) -> Vec<String> {
    let (mut cells, mut is_quoted) = (vec![String::new()], false);
    for character in line.chars() {
        match character {
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => cells.push(String::new()),
            character => cells.last_mut().expect("the first one").push(character),
        }
    }
    cells
}

/// Of both months: what came late is a correction of the first one in the second one.
async fn of_statements(bench: &Bench) -> Sheet {
    let statements = bench.get("statements").await.expect(200).json["items"].clone();
    let mut sheet = Sheet::new();
    let mut has_corrected = false;
    for statement in statements.as_array().expect("statements") {
        let id = text(&statement["id"]);
        let full = bench.get(&format!("statements/{id}")).await.expect(200).json;
        let lines = full["items"].as_array().expect("lines");
        let amounts = lines.iter().map(|line| text(&line["amount"]).parse::<Decimal>().expect("an amount"));
        assert_eq!(amounts.sum::<Decimal>(), text(&statement["total"]).parse().expect("a total"));
        for line in lines {
            has_corrected |= !line["corrects"].is_null();
            let named = json!({ "team": statement["team"], "tool": line["tool"] });
            add_json(&mut sheet, &named, line);
        }
    }
    assert!(has_corrected, "something came late");
    sheet
}
