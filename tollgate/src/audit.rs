//! `tollgate audit …`: what people and programs changed, and were refused.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;

use crate::{
    api_client::{ApiClient, ClientArgs},
    failure::Failure,
    terminal::{self, Format},
    usage::parse_time,
};

const EXAMPLES: &str = "\
Examples:
  tollgate audit list
  tollgate audit list --actor user:ada@example.com --action 'grant.*'
  tollgate audit list --object ci-bot --from 2026-11-01 -o json

The newest first. JSON has the details of each event.";

/// Read the audit log
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Show who did what to what
    List(List),
}

#[derive(Debug, clap::Args)]
struct List {
    /// Who did it, such as user:ada@example.com or api-key:ci
    #[arg(long)]
    actor: Option<String>,
    /// What was done, such as grant.update; 'grant.*' is everything that begins so
    #[arg(long)]
    action: Option<String>,
    /// Name or id of what it was done to
    #[arg(long)]
    object: Option<String>,
    /// Beginning, included: a date (UTC) or an RFC 3339 time
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    from: Option<DateTime<Utc>>,
    /// End, not included: a date (UTC) or an RFC 3339 time
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    to: Option<DateTime<Utc>>,
    /// How many events at most
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// How to print them
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
    #[command(flatten)]
    client: ClientArgs,
}

/// Does what the action says.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let Action::List(list) = args.action;
    let api = ApiClient::from_args(&list.client)?;
    let time = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::AutoSi, true);
    let (from, to) = (list.from.map(time), list.to.map(time));
    let given =
        [("actor", &list.actor), ("action", &list.action), ("object", &list.object), ("from", &from), ("to", &to)];
    let query: Vec<_> = given.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))).collect();
    let events = api
        .list_some("audit-events", &query, list.limit)
        .await
        .map_err(|failure| failure.during("cannot list audit events"))?;
    terminal::print_items(list.output, &events, table);
    Ok(())
}

fn table(events: &[Value]) -> String {
    const COLUMNS: [(&str, &str); 6] = [
        ("AT", "at"),
        ("ACTOR", "actor"),
        ("ACTION", "action"),
        ("KIND", "object_kind"),
        ("OBJECT", "object_name"),
        ("FROM", "peer"),
    ];
    let mut rows = vec![COLUMNS.map(|(title, _)| title.to_owned()).to_vec()];
    let cell = |event: &Value, field| match event[field].as_str() {
        None | Some("") => "-".to_owned(),
        Some(text) => text.to_owned(),
    };
    rows.extend(events.iter().map(|event| COLUMNS.map(|(_, field)| cell(event, field)).to_vec()));
    terminal::table(&rows)
}
