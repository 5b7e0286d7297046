//! `tollgate webhooks …`: what can be done with a webhook besides declaring it.

use serde_json::{Value, json};

use crate::{
    api_client::{ApiClient, ClientArgs},
    failure::Failure,
    terminal::{self, Format},
};

const EXAMPLES: &str = "\
Examples:
  tollgate webhooks secret ops                a new signing secret; the one before signs too for a day
  tollgate webhooks secret ops --overlap 1s   because others know the one before
  tollgate webhooks test ops                  send a test now, and say how that went
  tollgate webhooks deliveries ops            what was sent to it, and what waits
  tollgate webhooks redeliver ops alr_…       send an alert again

Webhooks are declared in files: `tollgate apply`, kind Webhook.";

/// Give webhooks secrets, try them out, and see what was delivered
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Make a new signing secret, printed once
    Secret {
        /// The webhook's name or id
        name: String,
        /// For how long the secret before signs too: 1s to 7d
        #[arg(long, value_name = "DURATION", default_value = "24h")]
        overlap: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Send a test now
    Test {
        /// The webhook's name or id
        name: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// List what was delivered and what waits, the newest alert first
    Deliveries {
        /// The webhook's name or id
        name: String,
        /// How many at most
        #[arg(long, default_value_t = 50)]
        limit: usize,
        /// How to print them
        #[arg(short, long, value_enum, default_value_t = Format::Table)]
        output: Format,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Send an alert again, or one that it was never told of
    Redeliver {
        /// The webhook's name or id
        name: String,
        /// The alert's id: alr_…
        alert: String,
        #[command(flatten)]
        client: ClientArgs,
    },
}

/// Does what the action says.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    match args.action {
        Action::Secret { name, overlap, client } => {
            let made = act(&client, &name, "rotate-secret", &json!({ "overlap": overlap })).await?;
            terminal::print(&format!("{}\n", made["secret"].as_str().unwrap_or_default()));
            let until = terminal::line(made["former_secret_until"].as_str().unwrap_or_default());
            eprintln!("a new secret for {name}: it is shown this once; the one before signs too until {until}");
        }
        Action::Test { name, client } => {
            let tested = act(&client, &name, "test", &json!({})).await?;
            if tested["state"] != "delivered" {
                let why = terminal::line(tested["last_error"].as_str().unwrap_or("another delivery is under way"));
                return Err(Failure::new(format!("the test is not delivered to {name} yet")).why(why));
            }
            eprintln!("delivered to {name}");
        }
        Action::Deliveries { name, limit, output, client } => {
            let path = ["webhooks", &name, "deliveries"].join("/");
            let found = ApiClient::from_args(&client)?.list_some(&path, &[], limit).await;
            let found = found.map_err(|failure| failure.during(format!("cannot list the deliveries to {name}")))?;
            terminal::print_items(output, &found, table);
        }
        Action::Redeliver { name, alert, client } => {
            act(&client, &name, "redeliver", &json!({ "alert": alert })).await?;
            eprintln!("{} is due again", terminal::line(&alert));
        }
    }
    Ok(())
}

async fn act(client: &ClientArgs, name: &str, action: &str, body: &Value) -> Result<Value, Failure> {
    let done = ApiClient::from_args(client)?.post(&["webhooks", &format!("{name}:{action}")], body).await;
    done.map_err(|failure| failure.during(format!("cannot {} webhook {name}", action.replace('-', " "))))
}

fn table(deliveries: &[Value]) -> String {
    let titles = ["ALERT", "TYPE", "STATE", "ATTEMPTS", "NEXT ATTEMPT", "LAST ERROR"];
    let row = |delivery: &Value| {
        let text = |name: &str| delivery[name].as_str().unwrap_or("-").to_owned();
        let attempts = delivery["attempts"].to_string();
        vec![text("alert"), text("type"), text("state"), attempts, text("next_attempt_at"), text("last_error")]
    };
    let head = titles.map(str::to_owned).to_vec();
    terminal::table(&std::iter::once(head).chain(deliveries.iter().map(row)).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_shown_with_what_went_wrong() {
        let failed = json!({
            "alert": "alr_1", "type": "limit.saturated", "state": "waiting", "attempts": 2,
            "next_attempt_at": "2026-11-23T12:00:00Z", "last_error": "the receiver answered 500",
        });
        let shown = table(&[failed]);
        assert!(
            shown.contains("alr_1  limit.saturated  waiting  2         2026-11-23T12:00:00Z  the receiver"),
            "{shown}"
        );
    }
}
