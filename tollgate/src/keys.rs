//! `tollgate keys …`: the keys that sign a tenant's tokens.

use serde_json::{Value, json};

use crate::{
    api_client::{ApiClient, ClientArgs},
    failure::{Exit, Failure},
    revoke,
    terminal::{self, Format},
};

const EXAMPLES: &str = "\
Examples:
  tollgate keys list
  tollgate keys rotate             waits until every data plane knows the new key: no token is refused
  tollgate keys revoke 5Hx2…       for a compromised key: everything it signed is refused

Keys also rotate by themselves, as often as the tenant's `signing_key_rotation` says.";

/// List, rotate or revoke the keys that sign tokens
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Show the keys and where each is in its life
    List {
        /// How to print them
        #[arg(short, long, value_enum, default_value_t = Format::Table)]
        output: Format,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Let a new key sign, as soon as every connected data plane knows it
    Rotate {
        /// Wait for no data plane: one that does not know the key yet refuses its tokens until it does
        #[arg(long)]
        now: bool,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Revoke a key and all tokens that it signed
    Revoke {
        /// The key's id
        // A thumbprint may begin with a hyphen.
        #[arg(allow_hyphen_values = true)]
        kid: String,
        #[command(flatten)]
        client: ClientArgs,
    },
}

/// Does what the action says.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    match args.action {
        Action::List { output, client } => {
            let keys = ApiClient::from_args(&client)?
                .list("signing-keys")
                .await
                .map_err(|failure| failure.during("cannot list the signing keys"))?;
            terminal::print_items(output, &keys, table);
            Ok(())
        }
        Action::Rotate { now, client } => rotate(&ApiClient::from_args(&client)?, now).await,
        Action::Revoke { kid, client } => revoke::key(&ApiClient::from_args(&client)?, &kid).await,
    }
}

async fn rotate(api: &ApiClient, now: bool) -> Result<(), Failure> {
    let rotated = api.post(&["signing-keys:rotate"], &json!({ "now": now })).await.map_err(|failure| {
        let waits = failure.code() == Exit::Conflict;
        let failure = failure.during("cannot rotate the signing keys");
        if waits { failure.cure("repeat it when they are back in step, or say --now") } else { failure }
    })?;
    let keys = rotated["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    terminal::print(&table(keys));
    Ok(())
}

fn table(keys: &[Value]) -> String {
    const COLUMNS: [(&str, &str); 5] = [
        ("KID", "/kid"),
        ("STATE", "/state"),
        ("CREATED", "/created_at"),
        ("SIGNS SINCE", "/activated_at"),
        ("REMOVED AT", "/removed_at"),
    ];
    terminal::table_of(&COLUMNS, keys)
}
