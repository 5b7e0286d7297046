//! `tollgate initial-access-tokens …`: with which agents may register themselves where a tenant asks for one.

use serde_json::{Value, json};

use crate::{
    api_client::{ApiClient, ClientArgs},
    failure::Failure,
    terminal::{self, Format},
};

const EXAMPLES: &str = "\
Examples:
  tollgate initial-access-tokens create --note 'build farm' --expires-in 24h --uses 10
  tollgate initial-access-tokens list
  tollgate initial-access-tokens delete iat_01k5…";

/// Make, list or delete tokens with which agents register themselves
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Show the tokens, without their texts
    List {
        /// How to print them
        #[arg(short, long, value_enum, default_value_t = Format::Table)]
        output: Format,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Make a token, printed once as JSON
    Create {
        /// What it is for, for people
        #[arg(long, default_value = "")]
        note: String,
        /// How long it may be used, from 1m to 366d [without: 24h]
        #[arg(long, value_name = "DURATION")]
        expires_in: Option<String>,
        /// How many agents may register with it, from 1 to 10000 [without: 1]
        #[arg(long, value_name = "N")]
        uses: Option<u32>,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Delete a token: nobody registers with it any more, who did stays registered
    Delete {
        /// The token's id, as `list` shows it
        id: String,
        #[command(flatten)]
        client: ClientArgs,
    },
}

/// Does what the action says.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    match args.action {
        Action::List { output, client } => {
            let tokens = ApiClient::from_args(&client)?
                .list("initial-access-tokens")
                .await
                .map_err(|failure| failure.during("cannot list the initial access tokens"))?;
            terminal::print_items(output, &tokens, table);
            Ok(())
        }
        Action::Create { note, expires_in, uses, client } => {
            let mut asked = json!({ "note": note });
            if let Some(expires_in) = expires_in {
                asked["expires_in"] = expires_in.into();
            }
            if let Some(uses) = uses {
                asked["uses"] = uses.into();
            }
            let made = ApiClient::from_args(&client)?
                .post(&["initial-access-tokens"], &asked)
                .await
                .map_err(|failure| failure.during("cannot make an initial access token"))?;
            terminal::print(&format!("{made}\n"));
            eprintln!("a new initial access token: it is shown this once");
            Ok(())
        }
        Action::Delete { id, client } => {
            ApiClient::from_args(&client)?
                .delete(&["initial-access-tokens", &id])
                .await
                .map_err(|failure| failure.during(format!("cannot delete initial access token {id}")))?;
            eprintln!("deleted {id}");
            Ok(())
        }
    }
}

fn table(tokens: &[Value]) -> String {
    let mut rows = vec![["ID", "NOTE", "USES LEFT", "EXPIRES", "CREATED BY"].map(str::to_owned).to_vec()];
    rows.extend(tokens.iter().map(|token| {
        let text = |field: &str| token[field].as_str().unwrap_or("-").to_owned();
        vec![text("id"), text("note"), token["uses_left"].to_string(), text("expires_at"), text("created_by")]
    }));
    terminal::table(&rows)
}
