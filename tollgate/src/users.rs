//! `tollgate users …`: people, whom no file declares.

use serde_json::{Map, Value, json};

use crate::{
    api_client::{ApiClient, ClientArgs, Precondition, Stored},
    failure::{Exit, Failure},
};

const EXAMPLES: &str = "\
Examples:
  tollgate users create ada@example.com --role operator --team platform
  tollgate sign-in-link ada@example.com                     for the first time
  tollgate users update ada@example.com --role viewer
  tollgate users update ada@example.com --state disabled    signs out, and voids what agents hold for them
  tollgate users delete ada@example.com
  tollgate get users";

/// Create, change or delete users
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Create a user without a password: make a sign-in link, or let them come through an identity provider
    Create {
        /// The e-mail address to sign in with
        email: String,
        /// What they may do: owner, admin, operator, finance, viewer or none
        #[arg(long, default_value = "viewer")]
        role: String,
        #[command(flatten)]
        profile: Profile,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Change what is given, and leave the rest
    Update {
        /// The user's e-mail address or id
        email: String,
        /// What they may do: owner, admin, operator, finance, viewer or none
        #[arg(long)]
        role: Option<String>,
        /// Whether they may sign in, and agents act for them: active or disabled
        #[arg(long)]
        state: Option<String>,
        #[command(flatten)]
        profile: Profile,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Delete a user: their sessions, their consents and what agents may do for them go with them
    Delete {
        /// The user's e-mail address or id
        email: String,
        #[command(flatten)]
        client: ClientArgs,
    },
}

/// What is said about a user.
#[derive(Debug, clap::Args)]
struct Profile {
    /// The team that calls made for them are charged to; empty: the agent's team
    #[arg(long, value_name = "NAME")]
    team: Option<String>,
    /// Their name; empty: none
    #[arg(long, value_name = "NAME")]
    display_name: Option<String>,
}

impl Profile {
    /// As members of the spec: an empty one takes away what was there.
    fn spec(self) -> Map<String, Value> {
        let members = [("team", self.team), ("display_name", self.display_name)];
        let given = members.into_iter().filter_map(|(name, given)| Some((name.to_owned(), given?)));
        given.map(|(name, text)| (name, if text.is_empty() { Value::Null } else { text.into() })).collect()
    }
}

/// Does what the action says.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    match args.action {
        Action::Create { email, role, profile, client } => {
            let mut spec = profile.spec();
            spec.insert("role".to_owned(), role.into());
            ApiClient::from_args(&client)?
                .post(&["users"], &json!({ "email": email, "spec": spec }))
                .await
                .map_err(|failure| failure.during(format!("cannot create user {email}")))?;
            eprintln!("created {email}: `tollgate sign-in-link {email}` makes a link for the first time");
            Ok(())
        }
        Action::Update { email, role, state, profile, client } => {
            let mut spec = profile.spec();
            let members = [("role", role), ("state", state)];
            spec.extend(members.into_iter().filter_map(|(name, given)| Some((name.to_owned(), given?.into()))));
            update(&ApiClient::from_args(&client)?, &email, spec).await
        }
        Action::Delete { email, client } => {
            let (api, path) = (ApiClient::from_args(&client)?, ["users", email.as_str()]);
            let during = |failure: Failure| failure.during(format!("cannot delete user {email}"));
            let stored = stored(&api, &email).await.map_err(during)?;
            api.delete_if(&path, Precondition::Unchanged(&stored.etag)).await.map_err(during)?;
            eprintln!("deleted {email}");
            Ok(())
        }
    }
}

async fn update(api: &ApiClient, email: &str, spec: Map<String, Value>) -> Result<(), Failure> {
    if spec.is_empty() {
        return Err(Failure::new("nothing to change")
            .exit(Exit::Usage)
            .cure("name at least one of --role, --state, --team and --display-name"));
    }
    let during = |failure: Failure| failure.during(format!("cannot change user {email}"));
    let stored = stored(api, email).await.map_err(during)?;
    api.patch(&["users", email], &stored.etag, &json!({ "spec": spec })).await.map_err(during)?;
    eprintln!("changed {email}");
    Ok(())
}

async fn stored(api: &ApiClient, email: &str) -> Result<Stored, Failure> {
    let found = api.find(&["users", email]).await?;
    found.ok_or_else(|| {
        Failure::new("there is no such user").exit(Exit::NotFound).cure("`tollgate get users` lists them")
    })
}
