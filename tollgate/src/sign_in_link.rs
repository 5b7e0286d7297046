//! `tollgate sign-in-link`: a way into the console without a password.

use serde_json::json;

use crate::{
    api_client::{ApiClient, ClientArgs},
    failure::Failure,
    terminal,
};

/// The administrator that every installation has from its first start.
pub(crate) const ADMINISTRATOR: &str = "admin@localhost";

const EXAMPLES: &str = "\
Examples:
  tollgate sign-in-link
  tollgate sign-in-link ada@example.com";

/// Print a link that signs a user in to the console, once
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The user's e-mail address
    #[arg(default_value = ADMINISTRATOR)]
    email: String,
    #[command(flatten)]
    client: ClientArgs,
}

/// A fresh link.
#[derive(Debug)]
pub(crate) struct SignInLink {
    pub(crate) url: String,
    /// RFC 3339.
    pub(crate) expires_at: String,
}

/// Prints a fresh link.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let api = ApiClient::from_args(&args.client)?;
    let link = make(&api, &args.email).await?;
    terminal::print(&format!("{}\n", link.url));
    eprintln!("signs in {} once, until {}", args.email, link.expires_at);
    Ok(())
}

/// Makes a fresh link for a user.
pub(crate) async fn make(api: &ApiClient, email: &str) -> Result<SignInLink, Failure> {
    let action = format!("{email}:sign-in-link");
    let made = api
        .post(&["users", &action], &json!({}))
        .await
        .map_err(|failure| failure.during(format!("cannot make a sign-in link for {email}")))?;
    let text = |field: &str| made[field].as_str().unwrap_or_default().to_owned();
    Ok(SignInLink { url: text("url"), expires_at: text("expires_at") })
}
