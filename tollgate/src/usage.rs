//! `tollgate usage`: what was called, by whom, and what it cost.

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use clap::ValueEnum;
use serde_json::{Map, Value};

mod rebuild;
mod rerate;

use crate::{
    api_client::{ApiClient, ClientArgs},
    failure::Failure,
    terminal,
};

/// The columns after the one that is grouped by.
const COLUMNS: [&str; 7] = ["calls", "refused", "input_tokens", "output_tokens", "tokens", "cost", "currency"];

const EXAMPLES: &str = "\
Examples:
  tollgate usage --by agent
  tollgate usage --by tool --from 2026-11-01 --to 2026-12-01 -o csv
  tollgate usage rebuild --from 2026-11-01 --to 2026-11-23

`calls` counts what was forwarded to a server; what was turned away is in `refused`.";

/// Report usage by team, agent, user, server or tool
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    report: Report,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Rebuild(rebuild::Args),
    Rerate(rerate::Args),
}

#[derive(Debug, clap::Args)]
struct Report {
    /// What to group by
    #[arg(long, value_enum, required = true)]
    by: Option<Dimension>,
    /// Beginning, included: a date (of the tenant's time zone) or an RFC 3339 time
    #[arg(long, value_name = "TIME", value_parser = parse_time_or_day)]
    from: Option<String>,
    /// End, not included: a date (of the tenant's time zone) or an RFC 3339 time
    #[arg(long, value_name = "TIME", value_parser = parse_time_or_day)]
    to: Option<String>,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Dimension {
    Team,
    Agent,
    User,
    Server,
    Tool,
}

impl Dimension {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Team => "team",
            Self::Agent => "agent",
            Self::User => "user",
            Self::Server => "server",
            Self::Tool => "tool",
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Output {
    Table,
    Json,
    Csv,
}

/// Prints the report, or has days counted or calls charged anew.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    match args.action {
        Some(Action::Rebuild(args)) => rebuild::run(args).await,
        Some(Action::Rerate(args)) => rerate::run(args).await,
        None => report(args.report).await,
    }
}

async fn report(args: Report) -> Result<(), Failure> {
    let api = ApiClient::from_args(&args.client)?;
    let by = args.by.map_or("team", Dimension::as_str);
    let mut query = vec![("by", by)];
    query.extend(args.from.as_deref().map(|from| ("from", from)));
    query.extend(args.to.as_deref().map(|to| ("to", to)));
    let report = api
        .get(&["reports", "usage"], &query)
        .await
        .map_err(|failure| failure.during(format!("cannot report usage by {by}")))?;
    let items = report["items"].as_array().cloned().unwrap_or_default();
    let text = match args.output {
        Output::Json => terminal::json(&Value::Array(items.iter().map(|item| chosen(by, item)).collect())),
        Output::Csv => {
            let lines = rows(by, &items, "").iter().map(|row| csv_line(row)).collect::<String>();
            terminal::print_data(&lines);
            return Ok(());
        }
        Output::Table => {
            let mut rows = rows(by, &items, "-");
            rows[0] = rows[0].iter().map(|title| title.to_ascii_uppercase().replace('_', " ")).collect();
            terminal::table(&rows)
        }
    };
    terminal::print(&text);
    Ok(())
}

/// The documented columns of an item, and no others.
fn chosen(by: &str, item: &Value) -> Value {
    let columns = std::iter::once(by).chain(COLUMNS);
    Value::Object(columns.map(|column| (column.to_owned(), item[column].clone())).collect::<Map<_, _>>())
}

/// The head and one row for each item; `nothing` stands for null.
fn rows(by: &str, items: &[Value], nothing: &str) -> Vec<Vec<String>> {
    let columns: Vec<_> = std::iter::once(by).chain(COLUMNS).collect();
    let cell = |value: &Value| match value {
        Value::Null => nothing.to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let head = columns.iter().map(|column| (*column).to_owned()).collect();
    let body = items.iter().map(|item| columns.iter().map(|column| cell(&item[*column])).collect());
    std::iter::once(head).chain(body).collect()
}

/// One record of RFC 4180. A cell that a spreadsheet would take for a formula is made text.
fn csv_line(row: &[String]) -> String {
    let quoted = |cell: &String| {
        let formula = cell.starts_with(['=', '+', '-', '@']) && cell.parse::<f64>().is_err();
        let cell = if formula { format!("'{cell}") } else { cell.clone() };
        if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
    };
    format!("{}\r\n", row.iter().map(quoted).collect::<Vec<_>>().join(","))
}

/// A date as it is, since the tenant's time zone says when it begins; or an RFC 3339 time.
fn parse_time_or_day(text: &str) -> Result<String, String> {
    let is_day = text.parse::<NaiveDate>().is_ok();
    let time = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::AutoSi, true);
    if is_day { Ok(text.to_owned()) } else { parse_time(text).map(time) }
}

/// A date in UTC, or an RFC 3339 time.
pub(crate) fn parse_time(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    let date: NaiveDate = text.parse().map_err(|_| "write a date (2026-11-22) or a time (2026-11-22T10:00:00Z)")?;
    Ok(date.and_time(chrono::NaiveTime::MIN).and_utc())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn csv_has_the_columns_of_json() {
        let item = json!({ "team": "a,b", "calls": 3, "refused": 1, "input_tokens": 4, "output_tokens": 5,
            "tokens": 9, "cost": "0", "currency": null, "extra": true });
        let lines: String = rows("team", std::slice::from_ref(&item), "").iter().map(|row| csv_line(row)).collect();
        assert_eq!(
            lines,
            "team,calls,refused,input_tokens,output_tokens,tokens,cost,currency\r\n\"a,b\",3,1,4,5,9,0,\r\n"
        );
        let chosen = chosen("team", &item);
        assert_eq!(chosen.as_object().map(Map::len), Some(8));
        assert_eq!(chosen["currency"], Value::Null);
    }

    #[test]
    fn a_tool_called_like_a_formula_stays_text() {
        assert_eq!(csv_line(&["=cmd()".to_owned(), "-1".to_owned()]), "'=cmd(),-1\r\n");
    }

    #[test]
    fn dates_and_times_are_understood() {
        assert_eq!(parse_time("2026-11-22").map(|time| time.to_rfc3339()), Ok("2026-11-22T00:00:00+00:00".into()));
        assert!(parse_time("2026-11-22T10:00:00+01:00").is_ok());
        assert!(parse_time("yesterday").is_err());
        assert_eq!(parse_time_or_day("2026-11-22"), Ok("2026-11-22".to_owned()));
        assert_eq!(parse_time_or_day("2026-11-22T10:00:00+01:00"), Ok("2026-11-22T09:00:00Z".to_owned()));
        assert!(parse_time_or_day("yesterday").is_err());
    }
}
