//! `tollgate revoke …`: makes tokens worthless before they expire.

use serde_json::{Value, json};

use crate::{
    api_client::{ApiClient, ClientArgs},
    failure::{Exit, Failure},
    terminal,
};

const EXAMPLES: &str = "\
Examples:
  tollgate revoke agent ci-bot
  tollgate revoke user ada@example.com
  tollgate revoke key 5Hx2…        a compromised signing key, and all that it signed
  tollgate revoke tenant --yes     every token of the tenant

Prints how far it has come, as JSON: the revocation's number, and how many of the connected data planes
refuse the tokens already. Secrets stay: an agent gets itself new tokens unless it is suspended.";

/// Revoke the tokens of an agent, a user, a signing key or a whole tenant
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// All tokens of an agent, and every approval that a user gave it
    Agent {
        /// The agent's name or id
        name: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// All tokens that act for a user, every approval by them, and their sessions
    User {
        /// The user's e-mail address or id
        email: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// A signing key, and all tokens that it signed
    Key {
        /// The key's id, as `tollgate keys list` shows it
        // A thumbprint may begin with a hyphen.
        #[arg(allow_hyphen_values = true)]
        kid: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// All tokens of the tenant, and every approval in it
    Tenant {
        /// Do it: every agent needs a new token, and every user is asked again
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        client: ClientArgs,
    },
}

/// Revokes what the command line names.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    match args.what {
        What::Agent { name, client } => {
            let api = ApiClient::from_args(&client)?;
            act(&api, &["agents", &format!("{name}:revoke")], &format!("agent {name}")).await
        }
        What::User { email, client } => {
            let api = ApiClient::from_args(&client)?;
            act(&api, &["users", &format!("{email}:revoke")], &format!("user {email}")).await
        }
        What::Key { kid, client } => key(&ApiClient::from_args(&client)?, &kid).await,
        What::Tenant { yes, client } => {
            let what = format!("tenant {}", client.tenant);
            if !yes {
                return Err(Failure::new(format!("every token of {what} would be worthless"))
                    .exit(Exit::Usage)
                    .cure("say --yes when that is what you want"));
            }
            let api = ApiClient::from_args(&client)?.in_tenant(&format!("{}:revoke-tokens", client.tenant));
            act(&api, &[], &what).await
        }
    }
}

/// Revokes a signing key and all that it signed.
pub(crate) async fn key(api: &ApiClient, kid: &str) -> Result<(), Failure> {
    act(api, &["signing-keys", &format!("{kid}:revoke")], &format!("signing key {kid}")).await
}

async fn act(api: &ApiClient, segments: &[&str], what: &str) -> Result<(), Failure> {
    let outcome = api
        .post(segments, &json!({}))
        .await
        .map_err(|failure| failure.during(format!("cannot revoke the tokens of {what}")))?;
    terminal::print(&format!("{outcome}\n"));
    eprintln!("revoked the tokens of {what}: {}", progress(&outcome));
    Ok(())
}

/// How many data planes refuse them already.
fn progress(outcome: &Value) -> String {
    let (applied, connected) = (outcome["applied"].as_u64(), outcome["connected"].as_u64());
    match (applied.unwrap_or_default(), connected.unwrap_or_default()) {
        (_, 0) => "no data plane is connected; those that come back learn of it first".to_owned(),
        (1, 1) => "the connected data plane refuses them".to_owned(),
        (applied, connected) if applied == connected => format!("all {connected} connected data planes refuse them"),
        (applied, connected) => format!("{applied} of {connected} connected data planes refuse them so far"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_it_has_come_is_said_in_words() {
        for (applied, connected, said) in [
            (0, 0, "no data plane is connected; those that come back learn of it first"),
            (1, 1, "the connected data plane refuses them"),
            (3, 3, "all 3 connected data planes refuse them"),
            (1, 3, "1 of 3 connected data planes refuse them so far"),
        ] {
            assert_eq!(progress(&json!({ "applied": applied, "connected": connected })), said);
        }
    }
}
