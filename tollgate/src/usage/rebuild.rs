//! `tollgate usage rebuild`: has days counted anew from their records.

use chrono::NaiveDate;
use serde_json::json;

use crate::{
    api_client::{ApiClient, ClientArgs},
    failure::{Exit, Failure},
    terminal,
};

const EXAMPLES: &str = "\
Examples:
  tollgate usage rebuild --from 2026-11-01 --to 2026-11-23

Days are those of the tenant's time zone. Calls that come in meanwhile are counted once, and what was right stays as it
was. Days whose records are no longer kept are left alone. Needs the role `owner`.";

/// Count days anew from their records
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The first day
    #[arg(long, value_name = "DATE")]
    from: NaiveDate,
    /// The last day, included
    #[arg(long, value_name = "DATE")]
    to: NaiveDate,
    #[command(flatten)]
    client: ClientArgs,
}

/// Asks for one day after the other, so that each answer comes soon; prints the sum as JSON.
pub(super) async fn run(args: Args) -> Result<(), Failure> {
    if args.to < args.from {
        return Err(Failure::new("`--to` is before `--from`").exit(Exit::Usage));
    }
    let api = ApiClient::from_args(&args.client)?;
    let (mut days, mut mended) = (0, 0);
    for day in args.from.iter_days().take_while(|day| *day <= args.to) {
        let rebuilt = api
            .post(&["usage:rebuild"], &json!({ "from": day, "to": day }))
            .await
            .map_err(|failure| failure.during(format!("cannot count {day} anew")))?;
        days += rebuilt["days"].as_u64().unwrap_or_default();
        let wrong = rebuilt["mended"].as_u64().unwrap_or_default();
        if wrong > 0 {
            eprintln!("{day}: {wrong} sums were wrong");
        }
        mended += wrong;
    }
    terminal::print(&format!("{}\n", json!({ "days": days, "mended": mended })));
    Ok(())
}
