//! `tollgate get`: shows what is stored.

use std::str::FromStr;

use clap::ValueEnum;
use serde_json::Value;

use crate::{
    api_client::{ApiClient, ClientArgs},
    failure::Failure,
    manifest::{self, Kind},
    terminal,
};

const EXAMPLES: &str = "\
Examples:
  tollgate get servers
  tollgate get agent demo-agent -o json
  tollgate get grants -o yaml > grants.yaml
  tollgate get users
  tollgate get user ada@example.com -o json";

/// Show teams, identity providers, servers, toolsets, agents, grants, limits, price books, budgets, webhooks or users
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// What to show: teams, identity-providers, servers, toolsets, agents, grants, limits, price-books, budgets, webhooks or users
    kind: Shown,
    /// One object, by name or id; a user by e-mail address or id [without: all of them]
    name: Option<String>,
    /// How to print it; yaml is what `tollgate apply` takes
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    client: ClientArgs,
}

/// What can be shown.
#[derive(Debug, Clone, Copy)]
enum Shown {
    /// What files declare too.
    Declared(Kind),
    /// People, whom no file declares.
    Users,
}

impl Shown {
    const fn singular(self) -> &'static str {
        match self {
            Self::Declared(kind) => kind.singular(),
            Self::Users => "user",
        }
    }

    fn collection(self) -> String {
        format!("{}s", self.singular())
    }
}

impl FromStr for Shown {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "user" | "users" => Ok(Self::Users),
            _ => text.parse().map(Self::Declared).map_err(|known: String| format!("{known}, users")),
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Output {
    Table,
    Json,
    Yaml,
}

/// Prints one object or all of a kind.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let api = ApiClient::from_args(&args.client)?;
    let collection = args.kind.collection();
    let shown = match &args.name {
        Some(name) => api.get(&[&collection, name], &[]).await,
        None => api.list(&collection).await.map(Value::Array),
    };
    let what = args.name.as_ref().map_or_else(|| collection.clone(), |name| format!("{}/{name}", args.kind.singular()));
    let shown = shown.map_err(|failure| failure.during(format!("cannot get {what}")))?;
    let objects = shown.as_array().cloned().unwrap_or_else(|| vec![shown.clone()]);
    match args.output {
        Output::Json => terminal::print(&terminal::json(&shown)),
        Output::Yaml => {
            let Shown::Declared(kind) = args.kind else {
                return Err(Failure::new("users are not declared in files").why("use -o json".to_owned()));
            };
            let documents: Result<Vec<_>, _> = objects.iter().map(|object| manifest::write(kind, object)).collect();
            terminal::print_data(&documents?.join("---\n"));
        }
        Output::Table => terminal::print(&table(args.kind, &objects)),
    }
    Ok(())
}

fn table(shown: Shown, objects: &[Value]) -> String {
    let name = if matches!(shown, Shown::Users) { ("EMAIL", "/email") } else { ("NAME", "/name") };
    let details: &[(&str, &str)] = match shown {
        Shown::Users => &[("ROLE", "/spec/role"), ("TEAM", "/spec/team"), ("STATE", "/spec/state")],
        Shown::Declared(kind) => columns(kind),
    };
    let columns = [&[name], details, &[("ID", "/id"), ("UPDATED", "/updated_at")]].concat();
    let mut rows = vec![columns.iter().map(|(title, _)| (*title).to_owned()).collect()];
    rows.extend(objects.iter().map(|object| {
        columns.iter().map(|(_, pointer)| cell(object.pointer(pointer).unwrap_or(&Value::Null))).collect()
    }));
    terminal::table(&rows)
}

/// What a table shows of a kind, beside what all have: titles, and where it is.
const fn columns(kind: Kind) -> &'static [(&'static str, &'static str)] {
    match kind {
        Kind::Team => &[("DISPLAY NAME", "/spec/display_name"), ("COST CENTER", "/spec/cost_center")],
        Kind::Server => &[("INSTANCES", "/status/instances"), ("TEAM", "/spec/team")],
        Kind::Toolset => &[("TOOLS", "/status/effective/names"), ("URL", "/status/urls/mcp")],
        Kind::Agent => {
            &[("TEAM", "/spec/team"), ("TYPE", "/spec/type"), ("ORIGIN", "/status/origin"), ("STATE", "/status/state")]
        }
        Kind::Grant => &[("TO", "/spec/to"), ("SCOPES", "/spec/scopes")],
        Kind::Limit => &[("TO", "/spec/to"), ("REQUESTS", "/spec/requests")],
        Kind::PriceBook => &[
            ("FROM", "/spec/effective_from"),
            ("CURRENCY", "/spec/currency"),
            ("TEAMS", "/spec/teams"),
            ("IN FORCE", "/status/in_force"),
        ],
        Kind::Budget => &[
            ("TO", "/spec/to"),
            ("PERIOD", "/spec/period"),
            ("AMOUNT", "/spec/amount"),
            ("SPENT", "/status/spent"),
            ("CURRENCY", "/status/currency"),
            ("STATE", "/status/state"),
        ],
        Kind::Webhook => &[("URL", "/spec/url"), ("TYPES", "/spec/types"), ("STATE", "/status/state")],
        Kind::IdentityProvider => &[("ISSUER", "/spec/issuer"), ("USERS", "/status/users")],
    }
}

/// A value on one line, without JSON's punctuation.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        Value::Object(fields) if fields.contains_key("health") => instance(fields),
        Value::Object(fields) => match (fields.get("count"), fields.get("per"), fields.get("url")) {
            (Some(count), Some(per), _) => format!("{} per {}", cell(count), cell(per)),
            (_, _, Some(url)) => cell(url),
            _ => fields.iter().map(|(name, value)| format!("{name} {}", cell(value))).collect::<Vec<_>>().join(", "),
        },
        other => other.to_string(),
    }
}

/// Where an instance runs and how it does, as `http://a/mcp (ejected: unreachable)`.
fn instance(fields: &serde_json::Map<String, Value>) -> String {
    let text = |name: &str| fields.get(name).filter(|value| !value.is_null()).map(cell);
    let draining = fields.get("draining") == Some(&Value::Bool(true));
    let mut said = text("health").unwrap_or_default();
    if let Some(error) = text("last_error") {
        said = format!("{said}: {error}");
    }
    let state = if draining { "draining, " } else { "" };
    format!("{} ({state}{said})", text("url").unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_shows_what_a_kind_is_about() {
        let grant = json!({
            "id": "grt_1", "name": "bot-tools", "updated_at": "2026-11-22T10:00:00Z",
            "spec": { "to": { "agent": "bot" }, "scopes": ["demo:add", "demo:echo"] },
        });
        let shown = table(Shown::Declared(Kind::Grant), &[grant]);
        assert!(shown.starts_with("NAME       TO         SCOPES"), "{shown}");
        assert!(shown.contains("bot-tools  agent bot  demo:add, demo:echo  grt_1"), "{shown}");
    }

    #[test]
    fn people_are_shown_by_their_address() {
        let user = json!({
            "id": "usr_1", "email": "ada@acme.test", "updated_at": "2026-11-22T10:00:00Z",
            "spec": { "role": "viewer", "state": "active" },
        });
        let shown = table("users".parse().expect("a kind"), &[user]);
        assert!(shown.contains("ada@acme.test  viewer  -     active  usr_1"), "{shown}");
        assert!("user-s".parse::<Shown>().expect_err("no kind").ends_with("webhooks, users"));
    }

    #[test]
    fn an_instance_is_shown_with_how_it_does() {
        let fine = json!({ "url": "http://a/", "draining": false, "health": "healthy", "last_error": null });
        let gone = json!({ "url": "http://b/", "draining": true, "health": "ejected", "last_error": "unreachable" });
        let shown = cell(&json!([fine, gone]));
        assert_eq!(shown, "http://a/ (healthy), http://b/ (draining, ejected: unreachable)");
    }

    #[test]
    fn a_rate_reads_like_a_sentence() {
        assert_eq!(cell(&json!({ "count": 60, "per": "1m" })), "60 per 1m");
    }
}
