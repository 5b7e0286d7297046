//! `tollgate export`: everything that files declare, as one file.
//!
//! Invariant: what is exported is applied again without a change; secrets are not in it.

use crate::{
    api_client::{ApiClient, ClientArgs},
    failure::Failure,
    manifest::{self, Kind},
    terminal,
};

const EXAMPLES: &str = "\
Examples:
  tollgate export > tenant.yaml
  tollgate export | tollgate plan -f -

Teams, identity providers, servers, toolsets, agents, grants, limits, price books, budgets and webhooks, in the order of
application. Secrets never come back from the API: applied to the same tenant, the file leaves them as they are.";

/// Print everything that files declare, as `apply` takes it
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    client: ClientArgs,
}

/// Prints the documents of a tenant.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let api = ApiClient::from_args(&args.client)?;
    let mut documents = Vec::new();
    for kind in Kind::ALL {
        let collection = kind.collection();
        let objects =
            api.list(&collection).await.map_err(|failure| failure.during(format!("cannot export {collection}")))?;
        for object in &objects {
            documents.push(manifest::write(kind, object)?);
        }
    }
    terminal::print_data(&documents.join("---\n"));
    Ok(())
}
