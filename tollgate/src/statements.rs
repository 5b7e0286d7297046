//! `tollgate statements`: closes months, and shows what each team was charged.

use serde_json::{Value, json};

use crate::{
    api_client::{ApiClient, ClientArgs},
    failure::Failure,
    terminal::{self, Format},
};

const EXAMPLES: &str = "\
Examples:
  tollgate statements close 2026-10
  tollgate statements list --period 2026-10
  tollgate statements get stm_… -o csv > october-platform.csv
  tollgate statements get stm_… -o csv | sha256sum    the statement's sha256";

/// Close months into statements, and show them
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Close a month for good; one after the other, and only when it has been over for 72 hours
    Close {
        /// The month, as in 2026-10
        period: String,
        /// Do not wait for the 72 hours in which usage may still arrive
        #[arg(long, requires = "reason")]
        force: bool,
        /// Why; the audit log keeps it
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// List statements, the newest month first
    List {
        /// Those of this month only, as in 2026-10
        #[arg(long)]
        period: Option<String>,
        /// How to print them
        #[arg(short, long, value_enum, default_value_t = Format::Table)]
        output: Format,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Print one statement with its lines
    Get {
        /// Its id: stm_…
        id: String,
        /// How to print it; the digest of csv is the statement's sha256
        #[arg(short, long, value_enum, default_value_t = Output::Json)]
        output: Output,
        #[command(flatten)]
        client: ClientArgs,
    },
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Output {
    Json,
    Csv,
}

/// Carries the command out.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    match args.command {
        Command::Close { period, force, reason, client } => {
            let api = ApiClient::from_args(&client)?;
            let closing = json!({ "period": period, "force": force, "reason": reason });
            let closed = api.post(&["statements"], &closing).await;
            let closed = closed.map_err(|failure| failure.during(format!("cannot close {period}")))?;
            terminal::print(&table(items(&closed)));
        }
        Command::List { period, output, client } => {
            let api = ApiClient::from_args(&client)?;
            let query: Vec<(&str, &str)> = period.iter().map(|period| ("period", period.as_str())).collect();
            let listed = api.get(&["statements"], &query).await;
            let listed = listed.map_err(|failure| failure.during("cannot list statements".to_owned()))?;
            terminal::print_items(output, items(&listed), table);
        }
        Command::Get { id, output, client } => {
            let api = ApiClient::from_args(&client)?;
            let failed = |failure: Failure| failure.during(format!("cannot get the statement {id}"));
            let path = ["statements", &id];
            match output {
                Output::Json => terminal::print(&terminal::json(&api.get(&path, &[]).await.map_err(failed)?)),
                Output::Csv => {
                    let csv = api.get_text(&path, &[("format", "csv")]).await.map_err(failed)?;
                    terminal::print_data(&csv);
                }
            }
        }
    }
    Ok(())
}

fn items(listed: &Value) -> &[Value] {
    listed["items"].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn table(statements: &[Value]) -> String {
    let columns = [
        ("PERIOD", "/period"),
        ("TEAM", "/team"),
        ("TOTAL", "/total"),
        ("CURRENCY", "/currency"),
        ("CLOSED BY", "/closed_by"),
        ("ID", "/id"),
    ];
    terminal::table_of(&columns, statements)
}
