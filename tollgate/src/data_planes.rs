//! `tollgate data-planes …`: who serves agents, who may begin to, and who may no longer.

use serde_json::{Value, json};

use crate::{
    api_client::{ApiClient, ClientArgs},
    failure::Failure,
    terminal::{self, Format},
};

const EXAMPLES: &str = "\
Examples:
  tollgate data-planes list
  tollgate data-planes enroll | jq -r .enrollment_token > enrollment-token
  tollgate data-planes enroll --name autoscaler --uses 500 --expires-in 30d
  tollgate data-planes revoke dpl_01jd…

A data plane shows its token once and then has a certificate, which it renews by itself.";

/// List, enroll or revoke data planes
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Show the data planes and how each stands
    List {
        /// How to print them
        #[arg(short, long, value_enum, default_value_t = Format::Table)]
        output: Format,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Make a token that a data plane joins with, printed once as JSON
    Enroll {
        /// What it is for, for people
        #[arg(long, default_value = "")]
        name: String,
        /// How long it may be used
        #[arg(long, value_name = "DURATION", default_value = "1h")]
        expires_in: String,
        /// How many data planes may join with it
        #[arg(long, value_name = "COUNT", default_value_t = 1)]
        uses: u32,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Send a data plane away for good: it serves nobody any more
    Revoke {
        /// The data plane's id
        id: String,
        #[command(flatten)]
        client: ClientArgs,
    },
}

/// Does what the action says.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    match args.action {
        Action::List { output, client } => {
            let listed = ApiClient::from_args(&client)?.in_installation().list("data-planes").await;
            let listed = listed.map_err(|failure| failure.during("cannot list the data planes"))?;
            terminal::print_items(output, &listed, table);
            Ok(())
        }
        Action::Enroll { name, expires_in, uses, client } => {
            let asked = json!({ "name": name, "expires_in": expires_in, "uses": uses });
            let made = ApiClient::from_args(&client)?.in_installation().post(&["enrollment-tokens"], &asked).await;
            let made = made.map_err(|failure| failure.during("cannot make an enrollment token"))?;
            terminal::print(&format!("{made}\n"));
            eprintln!("it is shown this once: give it to the data plane as TOLLGATE_ENROLLMENT_TOKEN");
            Ok(())
        }
        Action::Revoke { id, client } => {
            let api = ApiClient::from_args(&client)?.in_installation();
            let revoked = api.delete(&["data-planes", &id]).await;
            revoked.map_err(|failure| failure.during(format!("cannot revoke data plane {id}")))?;
            eprintln!("revoked {id}: it serves nobody any more");
            Ok(())
        }
    }
}

fn table(data_planes: &[Value]) -> String {
    let mut rows =
        vec![["ID", "STATE", "VERSION", "LAST SEEN", "CERTIFICATE UNTIL", "IN STEP"].map(str::to_owned).to_vec()];
    rows.extend(data_planes.iter().map(|data_plane| {
        let text = |field: &str| data_plane[field].as_str().filter(|text| !text.is_empty()).unwrap_or("-").to_owned();
        let policies = data_plane["policies"].as_array().map(Vec::as_slice).unwrap_or_default();
        let in_step = policies.iter().filter(|policy| policy["revision"] == policy["newest_revision"]).count();
        let in_step = format!("{in_step}/{}", policies.len());
        vec![text("id"), text("state"), text("version"), text("last_seen_at"), text("certificate_expires_at"), in_step]
    }));
    terminal::table(&rows)
}
