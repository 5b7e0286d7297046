//! `tollgate usage rerate`: has calls charged anew.

use chrono::NaiveDate;
use serde_json::{Value, json};

use crate::{
    api_client::{ApiClient, ClientArgs},
    failure::{Exit, Failure},
    terminal,
};

const EXAMPLES: &str = "\
Examples:
  tollgate usage rerate --from 2026-10-01 --to 2026-10-31 --by pbv_… --reason 'was 0.10, is 0.01' --dry-run
  tollgate usage rerate --from 2026-10-01 --to 2026-10-31 --team core --reason 'had no price book yet'

Days are those of the tenant's time zone. What a call was charged before stays in its record, with the reason. Closed months
do not change: the next month that is closed has the difference. Repeated, it changes nothing more. Needs the role `finance`.";

/// Charge the calls of some days anew
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The first day
    #[arg(long, value_name = "DATE")]
    from: NaiveDate,
    /// The last day, included
    #[arg(long, value_name = "DATE")]
    to: NaiveDate,
    /// Why; it stays with every call that changes
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// As if its book had said at any time what this version says; what is published counts unless given
    #[arg(long, value_name = "PRICE BOOK VERSION")]
    by: Option<String>,
    /// Calls that this team was charged for only
    #[arg(long, value_name = "NAME")]
    team: Option<String>,
    /// Only say what would change
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// Prints the answer as JSON.
pub(super) async fn run(args: Args) -> Result<(), Failure> {
    if args.to < args.from {
        return Err(Failure::new("`--to` is before `--from`").exit(Exit::Usage));
    }
    let api = ApiClient::from_args(&args.client)?;
    let asked = json!({ "from": args.from, "to": args.to, "reason": args.reason, "price_book_version": args.by,
                        "team": args.team, "dry_run": args.dry_run });
    let rerated: Value = api
        .post(&["usage:rerate"], &asked)
        .await
        .map_err(|failure| failure.during(format!("cannot charge {} to {} anew", args.from, args.to)))?;
    terminal::print(&terminal::json(&rerated));
    Ok(())
}
