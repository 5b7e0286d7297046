//! `tollgate enrollment-tokens …`: what data planes may still join with.

use serde_json::Value;

use crate::{
    api_client::{ApiClient, ClientArgs},
    failure::Failure,
    terminal::{self, Format},
};

const EXAMPLES: &str = "\
Examples:
  tollgate data-planes enroll             makes one
  tollgate enrollment-tokens list
  tollgate enrollment-tokens delete ent_01jd…";

/// List or delete the tokens that data planes join with
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
    /// Let nobody join with a token any more; who did stays
    Delete {
        /// The token's id
        id: String,
        #[command(flatten)]
        client: ClientArgs,
    },
}

/// Does what the action says.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    match args.action {
        Action::List { output, client } => {
            let listed = ApiClient::from_args(&client)?.in_installation().list("enrollment-tokens").await;
            let listed = listed.map_err(|failure| failure.during("cannot list the enrollment tokens"))?;
            terminal::print_items(output, &listed, table);
            Ok(())
        }
        Action::Delete { id, client } => {
            let api = ApiClient::from_args(&client)?.in_installation();
            let deleted = api.delete(&["enrollment-tokens", &id]).await;
            deleted.map_err(|failure| failure.during(format!("cannot delete enrollment token {id}")))?;
            eprintln!("deleted {id}: nobody joins with it any more");
            Ok(())
        }
    }
}

fn table(tokens: &[Value]) -> String {
    let mut rows = vec![["ID", "NAME", "USES LEFT", "EXPIRES", "MADE BY"].map(str::to_owned).to_vec()];
    rows.extend(tokens.iter().map(|token| {
        let text = |field: &str| token[field].as_str().filter(|text| !text.is_empty()).unwrap_or("-").to_owned();
        let uses = token["uses_left"].as_i64().unwrap_or_default().to_string();
        vec![text("id"), text("name"), uses, text("expires_at"), text("created_by")]
    }));
    terminal::table(&rows)
}
