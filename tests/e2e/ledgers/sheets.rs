//! What the same calls add up to, wherever one looks: the records, the sums of hours and of days, the reports and their files.
//!
//! Invariant: money is compared exactly, to the last decimal.

use std::collections::BTreeMap;

use http::Method;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tollgate_tests::{Deployment, UsageRecord};

/// Decimals that no binary fraction has.
pub(super) const PRICES: &str = r#"
apiVersion: tollgate/v1
kind: PriceBook
metadata: {name: awkward}
spec:
  effective_from: 2026-01-01
  currency: EUR
  prices:
    - {match: "files:*", per_call: "0.0000000007", per_1k_output_tokens: "0.0000000003"}
    - match: "files:read"
      per_call: "0.0123456789"
      per_1k_input_tokens: "0.0333333333"
      per_1k_output_tokens: "0.0777777777"
  outcome_factors: {tool_error: "0.37"}
"#;
/// All that this story can reach.
const PERIOD: &str = "current";

/// What calls of one tool come to.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Line {
    calls: i64,
    refused: i64,
    input_tokens: i64,
    output_tokens: i64,
    cost: Decimal,
}

/// By tool.
type Sheet = BTreeMap<String, Line>;

/// Asserts that every sum is that of the records, and every record's cost that of the prices.
pub(super) async fn assert_alike(tollgate: &Deployment, records: &[UsageRecord]) {
    let sheet = of_records(records);
    for (what, other) in [
        ("hours", sums(tollgate, "usage_hourly").await),
        ("days", sums(tollgate, "usage_daily").await),
        ("the usage report", of_usage(&tollgate.get("reports/usage?by=tool").await)),
        ("the report", of_report(&tollgate.get(&report("group_by=tool")).await)),
        ("its CSV", of_csv(&text(tollgate, "group_by=tool&format=csv").await)),
    ] {
        assert_eq!(other, sheet, "{what}");
    }
    let charged: Sheet = sheet.iter().filter(|(_, line)| line.calls > 0).map(without_refused).collect();
    let focus: Sheet = of_focus(&text(tollgate, "format=focus").await).iter().map(without_refused).collect();
    assert_eq!(focus, charged, "FOCUS");
    let total: Decimal = sheet.values().map(|line| line.cost).sum();
    assert!(total > Decimal::ZERO);
    assert_eq!(text_of(&tollgate.get(&report("group_by=day")).await["totals"][0], "cost"), total, "the total");

    let aside = tollgate.sql("SELECT count(*)::text FROM quarantined_records").await;
    assert_eq!(aside, ["0"], "nothing was put aside");
    let days: Vec<String> = tollgate.sql("SELECT day::text FROM usage_daily GROUP BY day ORDER BY day").await;
    let (first, last) = (days.first().expect("a day"), days.last().expect("a day"));
    let rebuilt = tollgate.rest(Method::POST, "usage:rebuild", &[], &json!({"from": first, "to": last})).await;
    assert_eq!((rebuilt.status, &rebuilt.json()["mended"]), (200, &json!(0)), "no sum was wrong: {}", rebuilt.text());
    eprintln!("{} EUR in each of: {sheet:?}", total.normalize());
}

fn of_records(records: &[UsageRecord]) -> Sheet {
    let mut sheet = Sheet::new();
    for record in records {
        let line = sheet.entry(record.tool.clone().unwrap_or_default()).or_default();
        let cost = number(&record.cost);
        assert_eq!(cost, priced(record), "{record:?}");
        let is_refused = record.outcome == "refused";
        line.calls += i64::from(!is_refused);
        line.refused += i64::from(is_refused);
        line.input_tokens += record.input_tokens;
        line.output_tokens += record.output_tokens;
        line.cost += cost;
    }
    sheet
}

/// What the prices above say.
fn priced(record: &UsageRecord) -> Decimal {
    let thousandth = number("0.001");
    let part = |price: &str, tokens: i64| number(price) * Decimal::from(tokens) * thousandth;
    let output = record.output_tokens;
    let cost = match record.tool.as_deref() {
        Some("read") => {
            number("0.0123456789") + part("0.0333333333", record.input_tokens) + part("0.0777777777", output)
        }
        _ => number("0.0000000007") + part("0.0000000003", output),
    };
    match &*record.outcome {
        "refused" => Decimal::ZERO,
        "tool_error" => cost * number("0.37"),
        _ => cost,
    }
}

async fn sums(tollgate: &Deployment, table: &str) -> Sheet {
    let rows = tollgate
        .sql(&format!(
            "SELECT concat_ws(',', tool, sum(calls), sum(refused), sum(input_tokens), sum(output_tokens), sum(cost))
             FROM {table} AS sums JOIN usage_dimensions AS d ON d.tenant_id = sums.tenant_id AND d.id = sums.dimension_id
             WHERE tool <> '' GROUP BY tool"
        ))
        .await;
    rows.iter().map(|row| line(&row.split(',').collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5])).collect()
}

fn of_usage(report: &Value) -> Sheet {
    let items = report["items"].as_array().expect("items");
    items.iter().map(|item| (item["tool"].as_str().expect("a tool").to_owned(), of_json(item))).collect()
}

fn of_report(report: &Value) -> Sheet {
    let lines = report["lines"].as_array().expect("lines").iter();
    let lines = lines.filter(|line| !line["group"]["tool"].is_null());
    lines.map(|line| (tool(line["group"]["tool"].as_str().expect("a tool")), of_json(line))).collect()
}

fn of_csv(file: &str) -> Sheet {
    let rows = cells(file);
    let column = columns(&rows[0]);
    let at = ["tool", "calls", "refused", "input_tokens", "output_tokens", "cost"].map(column);
    let rows = rows[1..].iter().filter(|row| !row[at[0]].is_empty());
    rows.map(|row| line(&row.iter().map(|cell| &**cell).collect::<Vec<_>>(), at)).collect()
}

/// One row is what calls with everything in common come to.
fn of_focus(file: &str) -> Sheet {
    let rows = cells(file);
    let column = columns(&rows[0]);
    let at = ["x_ToolName", "ConsumedQuantity", "ConsumedQuantity", "x_InputTokens", "x_OutputTokens", "BilledCost"];
    let at = at.map(column);
    let mut sheet = Sheet::new();
    for row in &rows[1..] {
        let (tool, row) = line(&row.iter().map(|cell| &**cell).collect::<Vec<_>>(), at);
        let sum = sheet.entry(tool).or_default();
        sum.calls += row.calls;
        sum.input_tokens += row.input_tokens;
        sum.output_tokens += row.output_tokens;
        sum.cost += row.cost;
    }
    sheet
}

fn line(cells: &[&str], [name, calls, refused, input, output, cost]: [usize; 6]) -> (String, Line) {
    let count = |at: usize| number(cells[at]).try_into().expect("a count");
    let line = Line {
        calls: count(calls),
        refused: count(refused),
        input_tokens: count(input),
        output_tokens: count(output),
        cost: number(cells[cost]),
    };
    (tool(cells[name]), line)
}

fn of_json(item: &Value) -> Line {
    let count = |name: &str| item[name].as_i64().unwrap_or_else(|| panic!("no {name}: {item}"));
    Line {
        calls: count("calls"),
        refused: count("refused"),
        input_tokens: count("input_tokens"),
        output_tokens: count("output_tokens"),
        cost: text_of(item, "cost"),
    }
}

/// Files and reports name a tool by its server too.
fn tool(name: &str) -> String {
    name.rsplit(':').next().unwrap_or_default().to_owned()
}

fn without_refused((tool, line): (&String, &Line)) -> (String, Line) {
    (tool.clone(), Line { refused: 0, ..line.clone() })
}

fn number(text: &str) -> Decimal {
    Decimal::from_str_exact(text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

fn text_of(item: &Value, name: &str) -> Decimal {
    number(item[name].as_str().unwrap_or_else(|| panic!("no {name}: {item}")))
}

fn report(query: &str) -> String {
    format!("reports/chargeback/{PERIOD}?{query}")
}

async fn text(tollgate: &Deployment, query: &str) -> String {
    let answer = tollgate.rest(Method::GET, &report(query), &[], &Value::Null).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text()
}

fn columns(head: &[String]) -> impl Fn(&str) -> usize {
    move |name| head.iter().position(|column| column == name).unwrap_or_else(|| panic!("no {name}: {head:?}"))
}

/// The rows of a CSV file (RFC 4180).
fn cells(file: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut is_quoted) = (Vec::new(), Vec::new(), String::new(), false);
    for character in file.chars() {
        match character {
            // A quote within quotes is doubled, and so ends them and begins them again.
            '"' => {
                is_quoted = !is_quoted;
                if is_quoted && !cell.is_empty() {
                    cell.push('"');
                }
            }
            ',' if !is_quoted => row.push(std::mem::take(&mut cell)),
            '\n' if !is_quoted => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            '\r' if !is_quoted => {}
            character => cell.push(character),
        }
    }
    rows
}
