//! `tollgate report`: what calls cost in a period, for those who pay for them.

use clap::ValueEnum;
use serde_json::Value;

use crate::{
    api_client::{ApiClient, ClientArgs},
    failure::Failure,
    terminal,
};

const EXAMPLES: &str = "\
Examples:
  tollgate report                                    this month, by team
  tollgate report 2026-10 --by cost_center -o csv > october.csv
  tollgate report 2026-Q4 --by team,server
  tollgate report previous --by tool --team platform
  tollgate report previous -o focus > focus.csv

Days are those of the tenant's time zone. What cannot be attributed is a line of its own, shown as `-`.
Beside a team, an agent or the total stands the budget that is on it for just this day, week, month, quarter or year.";

/// Show what calls cost: by team, cost centre, agent, user, server, tool, label or day
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// 2026-11, 2026-Q4, 2026, 2026-11-23, 2026-11-01..2026-11-15 (the last day is not in it), current or previous
    #[arg(default_value = "current")]
    period: String,
    /// Up to three of team, cost_center, agent, user, server, tool, server_team, label:KEY and day, separated by commas
    #[arg(long, value_name = "KEYS")]
    by: Option<String>,
    /// Only what was charged to this team; '' for what was charged to none
    #[arg(long)]
    team: Option<String>,
    /// Only what was booked to this cost centre; '' for none
    #[arg(long)]
    cost_center: Option<String>,
    /// Only calls of this agent
    #[arg(long)]
    agent: Option<String>,
    /// Only calls for this user, by e-mail address; '' for those of agents that acted for themselves
    #[arg(long)]
    user: Option<String>,
    /// Only calls of this server
    #[arg(long)]
    server: Option<String>,
    /// Only calls of the tools that are called so
    #[arg(long)]
    tool: Option<String>,
    /// How to print it; focus is every charge in the columns of FOCUS 1.3
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Output {
    Table,
    Json,
    Csv,
    Focus,
}

/// Prints the report.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let api = ApiClient::from_args(&args.client)?;
    let path = ["reports", "chargeback", &args.period];
    let given = [
        ("group_by", &args.by),
        ("team", &args.team),
        ("cost_center", &args.cost_center),
        ("agent", &args.agent),
        ("user", &args.user),
        ("server", &args.server),
        ("tool", &args.tool),
    ];
    let mut query: Vec<(&str, &str)> =
        given.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect();
    let failed = |failure: Failure| failure.during(format!("cannot report what {} cost", args.period));
    match args.output {
        Output::Csv | Output::Focus => {
            query.push(("format", if matches!(args.output, Output::Csv) { "csv" } else { "focus" }));
            terminal::print_data(&api.get_text(&path, &query).await.map_err(failed)?);
        }
        Output::Json => terminal::print(&terminal::json(&api.get(&path, &query).await.map_err(failed)?)),
        Output::Table => terminal::print(&table(&api.get(&path, &query).await.map_err(failed)?)),
    }
    Ok(())
}

/// The lines, and below them what they add up to in each currency.
fn table(report: &Value) -> String {
    let items = |name: &str| report[name].as_array().cloned().unwrap_or_default();
    let keys: Vec<String> = items("group_by").iter().filter_map(|key| key.as_str().map(str::to_owned)).collect();
    let figures = ["calls", "refused", "tokens", "cost", "currency", "error_cost", "unpriced_calls"];
    // Beside what a budget is on, where there is any.
    let has_budgets = ["lines", "totals"].into_iter().flat_map(items).any(|line| line["budget"].is_object());
    let of_budget: &[&str] = if has_budgets { &["amount", "variance"] } else { &[] };
    let title = |name: &str| name.replace('_', " ").to_uppercase();
    let budget_titles = of_budget.iter().map(|name| title(&format!("budget_{name}")));
    let head = keys.iter().map(|key| title(key)).chain(figures.map(title)).chain(budget_titles).collect();
    let row = |line: &Value, first: &str| {
        let group = keys.iter().enumerate().map(|(index, key)| match line["group"].get(key) {
            Some(value) => cell(value),
            None if index == 0 => first.to_owned(),
            None => String::new(),
        });
        let budget = of_budget.iter().map(|name| cell(&line["budget"][name]));
        group.chain(figures.map(|name| cell(&line[name]))).chain(budget).collect()
    };
    let mut rows: Vec<Vec<String>> = vec![head];
    rows.extend(items("lines").iter().map(|line| row(line, "")));
    rows.extend(items("totals").iter().map(|line| row(line, "TOTAL")));
    terminal::table(&rows)
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_has_what_cannot_be_attributed_and_the_totals() {
        let line = |group: Value, cost: &str| {
            json!({ "group": group, "calls": 3, "refused": 0, "tokens": 9, "cost": cost, "currency": "EUR",
                "error_cost": "0", "unpriced_calls": 1 })
        };
        let report = json!({
            "group_by": ["team", "day"],
            "lines": [
                line(json!({ "team": "core", "day": "2026-11-01" }), "1.5"),
                line(json!({ "team": null, "day": "2026-11-01" }), "0.25"),
            ],
            "totals": [line(json!({}), "1.75")],
        });
        let expected = "\
TEAM   DAY         CALLS  REFUSED  TOKENS  COST  CURRENCY  ERROR COST  UNPRICED CALLS
core   2026-11-01  3      0        9       1.5   EUR       0           1
-      2026-11-01  3      0        9       0.25  EUR       0           1
TOTAL              3      0        9       1.75  EUR       0           1
";
        assert_eq!(table(&report), expected);
    }

    #[test]
    fn a_table_has_budgets_where_there_are_any() {
        let line = |group: Value, budget: Value| {
            json!({ "group": group, "calls": 3, "refused": 0, "tokens": 9, "cost": "1.5", "currency": "EUR",
                "error_cost": "0", "unpriced_calls": 1, "budget": budget })
        };
        let budget = json!({ "name": "core-monthly", "amount": "1", "spent": "1.5", "variance": "-0.5" });
        let report = json!({
            "group_by": ["team"],
            "lines": [line(json!({ "team": "core" }), budget), line(json!({ "team": "web" }), Value::Null)],
            "totals": [],
        });
        let expected = "\
TEAM  CALLS  REFUSED  TOKENS  COST  CURRENCY  ERROR COST  UNPRICED CALLS  BUDGET AMOUNT  BUDGET VARIANCE
core  3      0        9       1.5   EUR       0           1               1              -0.5
web   3      0        9       1.5   EUR       0           1               -              -
";
        assert_eq!(table(&report), expected);
    }
}
