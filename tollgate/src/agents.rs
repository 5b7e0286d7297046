//! `tollgate agents …`: what can be done with an agent besides declaring it.

use serde_json::json;

use crate::{
    api_client::{ApiClient, ClientArgs},
    failure::Failure,
    terminal,
};

const SECRET_EXAMPLES: &str = "\
Examples:
  tollgate agents secret ci-bot
  tollgate agents secret ci-bot > ci-bot.json";

const APPROVE_EXAMPLES: &str = "\
Examples:
  tollgate get agents                 those that wait have the state `waiting`
  tollgate agents approve editor      it may then do what is granted to it";

/// Issue agents' secrets, approve those that registered themselves
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Issue a new client secret, printed once as JSON
    #[command(after_help = SECRET_EXAMPLES)]
    Secret {
        /// The agent's name or id
        name: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Approve an agent that registered itself and waits
    #[command(after_help = APPROVE_EXAMPLES)]
    Approve {
        /// The agent's name or id
        name: String,
        #[command(flatten)]
        client: ClientArgs,
    },
}

/// Does what the action says.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    match args.action {
        Action::Secret { name, client } => secret(&ApiClient::from_args(&client)?, &name).await,
        Action::Approve { name, client } => approve(&ApiClient::from_args(&client)?, &name).await,
    }
}

async fn secret(api: &ApiClient, name: &str) -> Result<(), Failure> {
    let issued = api
        .post(&["agents", name, "credentials"], &json!({}))
        .await
        .map_err(|failure| failure.during(format!("cannot issue a secret for agent {name}")))?;
    let secret = json!({ "client_id": issued["client_id"], "client_secret": issued["client_secret"] });
    terminal::print(&format!("{secret}\n"));
    eprintln!("a new secret for {name}: it is shown this once");
    Ok(())
}

async fn approve(api: &ApiClient, name: &str) -> Result<(), Failure> {
    let agent = api
        .post(&["agents", &format!("{name}:approve")], &json!({}))
        .await
        .map_err(|failure| failure.during(format!("cannot approve agent {name}")))?;
    let name = terminal::line(agent["name"].as_str().unwrap_or(name));
    eprintln!("approved {name}: it may do what is granted to it");
    Ok(())
}
