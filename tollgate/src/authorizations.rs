//! `tollgate authorizations …`: what a user allows agents to do for them.

use serde_json::Value;

use crate::{
    api_client::{ApiClient, ClientArgs},
    failure::Failure,
    terminal::{self, Format},
};

const EXAMPLES: &str = "\
Examples:
  tollgate authorizations list ada@example.com
  tollgate authorizations revoke ada@example.com aut_01k5…

Users take back what they allowed by themselves under `Apps` in the console.";

/// List or revoke what a user allows agents
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Show which agents may act for a user, and what they may do
    List {
        /// The user's e-mail address or id
        email: String,
        /// How to print them
        #[arg(short, long, value_enum, default_value_t = Format::Table)]
        output: Format,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Take one back: its tokens are refused, and the agent has to ask the user again
    Revoke {
        /// The user's e-mail address or id
        email: String,
        /// The authorization's id, as `list` shows it
        id: String,
        #[command(flatten)]
        client: ClientArgs,
    },
}

/// Does what the action says.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    match args.action {
        Action::List { email, output, client } => {
            let page = ApiClient::from_args(&client)?
                .get(&["users", &email, "authorizations"], &[])
                .await
                .map_err(|failure| failure.during(format!("cannot list what {email} allows")))?;
            let items = page["items"].as_array().map(Vec::as_slice).unwrap_or_default();
            terminal::print_items(output, items, table);
            Ok(())
        }
        Action::Revoke { email, id, client } => {
            ApiClient::from_args(&client)?
                .delete(&["users", &email, "authorizations", &id])
                .await
                .map_err(|failure| failure.during(format!("cannot revoke {id} of {email}")))?;
            eprintln!("revoked {id}: its tokens are refused");
            Ok(())
        }
    }
}

fn table(items: &[Value]) -> String {
    let mut rows = vec![["ID", "AGENT", "SCOPES", "ALLOWED", "LAST USED"].map(str::to_owned).to_vec()];
    rows.extend(items.iter().map(|item| {
        let text = |field: &str| item[field].as_str().unwrap_or("-").to_owned();
        let scopes = item["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let scopes = scopes.collect::<Vec<_>>().join(" ");
        vec![text("id"), text("agent"), scopes, text("created_at"), text("last_used_at")]
    }));
    terminal::table(&rows)
}
