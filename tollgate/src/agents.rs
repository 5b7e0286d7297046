//! `tollgate agents …`: what can be done with an agent besides declaring it.

use serde_json::json;

use crate::{
    api_client::{ApiClient, ClientArgs},
    failure::Failure,
    terminal,
};

const EXAMPLES: &str = "\
Examples:
  tollgate agents secret ci-bot
  tollgate agents secret ci-bot > ci-bot.json";

/// Manage agents' credentials
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Issue a new client secret, printed once as JSON
    #[command(after_help = EXAMPLES)]
    Secret {
        /// The agent's name or id
        name: String,
        #[command(flatten)]
        client: ClientArgs,
    },
}

/// Does what the action says.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let Action::Secret { name, client } = args.action;
    let api = ApiClient::from_args(&client)?;
    let issued = api
        .post(&["agents", &name, "credentials"], &json!({}))
        .await
        .map_err(|failure| failure.during(format!("cannot issue a secret for agent {name}")))?;
    let secret = json!({ "client_id": issued["client_id"], "client_secret": issued["client_secret"] });
    terminal::print(&format!("{secret}\n"));
    eprintln!("a new secret for {name}: it is shown this once");
    Ok(())
}
