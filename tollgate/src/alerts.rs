//! `tollgate alerts`: what somebody should know of.

use serde_json::Value;

use crate::{
    api_client::{ApiClient, ClientArgs},
    failure::Failure,
    terminal::{self, Format},
};

const EXAMPLES: &str = "\
Examples:
  tollgate alerts
  tollgate alerts --type limit.saturated --limit 10
  tollgate alerts -o json

Webhooks tell of them at once: `tollgate webhooks --help`.";

/// List alerts, the newest first
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Only of this type, as limit.saturated
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// How many at most
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// How to print them
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
    #[command(flatten)]
    client: ClientArgs,
}

/// Prints them.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let filters: Vec<(&str, &str)> = args.kind.iter().map(|kind| ("type", kind.as_str())).collect();
    let found = ApiClient::from_args(&args.client)?.list_some("alerts", &filters, args.limit).await;
    let alerts = found.map_err(|failure| failure.during("cannot list alerts"))?;
    terminal::print_items(args.output, &alerts, table);
    Ok(())
}

fn table(alerts: &[Value]) -> String {
    let row = |alert: &Value| {
        let text = |name: &str| alert[name].as_str().unwrap_or("-").to_owned();
        let about = ["/limit", "/budget/name", "/webhook"].iter().find_map(|at| alert["data"].pointer(at)?.as_str());
        let told = format!("{} of {}", alert["delivered"], alert["deliveries"]);
        vec![text("at"), text("type"), about.unwrap_or("-").to_owned(), told, text("id")]
    };
    let head = ["AT", "TYPE", "ABOUT", "TOLD", "ID"].map(str::to_owned).to_vec();
    terminal::table(&std::iter::once(head).chain(alerts.iter().map(row)).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_alert_is_shown_with_what_it_is_about_and_who_was_told() {
        let alert = json!({
            "id": "alr_1", "type": "limit.saturated", "at": "2026-11-23T12:00:00Z", "data": { "limit": "calm" },
            "deliveries": 2, "delivered": 1, "given_up": 0,
        });
        let shown = table(&[alert]);
        assert!(shown.contains("2026-11-23T12:00:00Z  limit.saturated  calm   1 of 2  alr_1"), "{shown}");
    }
}
