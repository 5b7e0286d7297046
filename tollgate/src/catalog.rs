//! `tollgate catalog …`: what servers offer, what of it waits, and what is decided about it.
//!
//! Invariant: nothing is approved but by the digest that its approver names, and nothing that a server says reaches the
//! terminal with a character that could do harm there.

use serde_json::{Value, json};

use crate::{
    api_client::{ApiClient, ClientArgs},
    failure::{Exit, Failure},
    terminal::{self, Format, Style},
};

const EXAMPLES: &str = "\
Examples:
  tollgate catalog list --waiting                      what waits for somebody to decide
  tollgate catalog show github/create_issue            with the difference to what was approved
  tollgate catalog approve github/create_issue --digest 3f1c09aa
  tollgate catalog block github/delete_repo
  tollgate catalog read github                         ask the server now

`tollgate catalog show` tells the digest that `approve` wants: of the definition that you have seen.";

/// Of a digest that is named by its beginning.
const DIGEST_DIGITS_MIN: usize = 8;

/// List, show, approve or block what servers offer
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

/// One item.
#[derive(Debug, clap::Args)]
struct Item {
    /// SERVER/NAME, or the item's id
    #[arg(value_name = "ITEM")]
    key: String,
    /// What it is, where a server offers several things of one name
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Show what servers offer
    List {
        /// Only of this server
        #[arg(long, value_name = "NAME")]
        server: Option<String>,
        /// Only tool, prompt, resource or resource_template
        #[arg(long, value_name = "KIND")]
        kind: Option<String>,
        /// Only approved, pending or blocked
        #[arg(long, value_name = "STATE")]
        state: Option<String>,
        /// Only what this rule flags, as instruction_like
        #[arg(long, value_name = "RULE")]
        flag: Option<String>,
        /// Only what waits for somebody to decide, or to look at it
        #[arg(long)]
        waiting: bool,
        /// How to print them
        #[arg(short, long, value_enum, default_value_t = Format::Table)]
        output: Format,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Show one item: its flags, and its definition or the difference to what was approved
    Show {
        #[command(flatten)]
        item: Item,
        /// How to print it
        #[arg(short, long, value_enum, default_value_t = Format::Table)]
        output: Format,
    },
    /// Approve the definition that you have seen
    Approve {
        #[command(flatten)]
        item: Item,
        /// Its digest, or the first 8 digits of it or more
        #[arg(long, value_name = "DIGEST")]
        digest: String,
    },
    /// Block an item: no agent sees or uses it
    Block {
        #[command(flatten)]
        item: Item,
    },
    /// Take back what was decided about an item
    Reset {
        #[command(flatten)]
        item: Item,
    },
    /// Have a server read now
    Read {
        /// The server's name
        server: String,
        #[command(flatten)]
        client: ClientArgs,
    },
}

/// Does what the action says.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    match args.action {
        Action::List { server, kind, state, flag, waiting, output, client } => {
            let waiting = waiting.then(|| "true".to_owned());
            let filters = [("server", server), ("kind", kind), ("state", state), ("flag", flag), ("waiting", waiting)];
            let given: Vec<_> = filters.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))).collect();
            let found = ApiClient::from_args(&client)?.list_some("catalog-items", &given, usize::MAX).await;
            let items = found.map_err(|failure| failure.during("cannot list the catalog"))?;
            terminal::print_items(output, &items, table);
        }
        Action::Show { item, output } => {
            let shown = item.find(&item.api()?).await.map_err(|failure| item.during("show", failure))?;
            terminal::print(&match output {
                Format::Table => page(&shown, terminal::stdout_style()),
                Format::Json => format!("{shown:#}\n"),
            });
        }
        Action::Approve { item, digest } => {
            let approved = approve(&item, &digest).await.map_err(|failure| item.during("approve", failure))?;
            eprintln!("approved {}", name(&approved));
        }
        Action::Block { item } => {
            let blocked = item.act("block", &json!({})).await.map_err(|failure| item.during("block", failure))?;
            eprintln!("blocked {}: no agent sees or uses it", name(&blocked));
        }
        Action::Reset { item } => {
            let reset = item.act("reset", &json!({})).await.map_err(|failure| item.during("reset", failure))?;
            eprintln!("{} is {} again", name(&reset), reset["state"].as_str().unwrap_or_default());
        }
        Action::Read { server, client } => {
            let read = ApiClient::from_args(&client)?
                .post(&["servers", &format!("{server}:read-catalog")], &json!({}))
                .await
                .map_err(|failure| failure.during(format!("cannot read what {server} offers")))?;
            let catalog = &read["status"]["catalog"];
            eprintln!(
                "{} approved, {} pending, {} blocked",
                catalog["approved"], catalog["pending"], catalog["blocked"]
            );
            refusals(catalog).iter().for_each(|refusal| eprintln!("{refusal}"));
        }
    }
    Ok(())
}

impl Item {
    fn api(&self) -> Result<ApiClient, Failure> {
        ApiClient::from_args(&self.client)
    }

    fn during(&self, verb: &str, failure: Failure) -> Failure {
        failure.during(format!("cannot {verb} {}", self.key))
    }

    /// The item with its definitions.
    async fn find(&self, api: &ApiClient) -> Result<Value, Failure> {
        let Some((server, name)) = self.key.split_once('/') else {
            return api.get(&["catalog-items", &self.key], &[]).await;
        };
        let mut narrowed = vec![("server", server), ("name", name)];
        narrowed.extend(self.kind.as_deref().map(|kind| ("kind", kind)));
        let found = api.list_some("catalog-items", &narrowed, 2).await?;
        match &found[..] {
            [one] => api.get(&["catalog-items", one["id"].as_str().unwrap_or_default()], &[]).await,
            [] => Err(Failure::new("the catalog has no such item")
                .exit(Exit::NotFound)
                .cure("`tollgate catalog list` shows what there is, `tollgate catalog read SERVER` asks the server")),
            _ => Err(Failure::new("several things have this name").cure("say which one with --kind")),
        }
    }

    async fn act(&self, action: &str, body: &Value) -> Result<Value, Failure> {
        let api = self.api()?;
        let found = self.find(&api).await?;
        post(&api, &found, action, body).await
    }
}

async fn approve(item: &Item, digest: &str) -> Result<Value, Failure> {
    let api = item.api()?;
    let found = item.find(&api).await?;
    let current = found["digest"].as_str().unwrap_or_default();
    if digest.len() < DIGEST_DIGITS_MIN {
        return Err(
            Failure::new(format!("a digest is named by {DIGEST_DIGITS_MIN} of its digits or more")).exit(Exit::Usage)
        );
    }
    if !current.starts_with(&digest.to_ascii_lowercase()) {
        return Err(Failure::new("its definition has another digest by now")
            .exit(Exit::Conflict)
            .cure("look at it again with `tollgate catalog show`"));
    }
    post(&api, &found, "approve", &json!({ "digest": current })).await
}

async fn post(api: &ApiClient, item: &Value, action: &str, body: &Value) -> Result<Value, Failure> {
    api.post(&["catalog-items", &format!("{}:{action}", item["id"].as_str().unwrap_or_default())], body).await
}

fn name(item: &Value) -> String {
    let text = |field: &str| terminal::harmless(item[field].as_str().unwrap_or_default());
    format!("{}/{}", text("server"), text("name"))
}

fn table(items: &[Value]) -> String {
    let mut rows = vec![["SERVER", "KIND", "NAME", "STATE", "FLAGS", "DIGEST"].map(str::to_owned).to_vec()];
    rows.extend(items.iter().map(|item| {
        let text = |field: &str| terminal::harmless(item[field].as_str().unwrap_or("-"));
        let gone = if item["gone_at"].is_null() { "" } else { ", gone" };
        let changed = if item["changed"] == true { ", changed" } else { "" };
        let flags = item["flags"].as_array().map_or(0, Vec::len);
        let digest = text("digest").chars().take(12).collect();
        vec![text("server"), text("kind"), text("name"), text("state") + changed + gone, flags.to_string(), digest]
    }));
    terminal::table(&rows)
}

/// An item for people: what holds, the flags, and the lines of its difference or definition.
fn page(item: &Value, style: Style) -> String {
    let text = |field: &str| terminal::harmless(item[field].as_str().unwrap_or("none"));
    let mut page = format!(
        "{} ({})\nstate     {}\ndigest    {}\napproved  {}\n",
        name(item),
        text("kind"),
        text("state"),
        text("digest"),
        text("approved_digest")
    );
    for flag in item["flags"].as_array().into_iter().flatten() {
        let part = |field: &str| terminal::harmless(flag[field].as_str().unwrap_or_default());
        let line = format!("flag      {} at {}: {}", part("rule"), part("place"), part("excerpt"));
        page += &(style.yellow(&line) + "\n");
    }
    page.push('\n');
    let lines = item["difference"].as_array().map(Vec::as_slice).unwrap_or_default();
    if lines.is_empty() {
        page += &terminal::harmless(&format!("{:#}\n", item["definition"]));
    }
    for line in lines {
        let said = terminal::harmless(line["text"].as_str().unwrap_or_default());
        page += &match line["change"].as_str() {
            Some("removed") => style.red(&format!("- {said}")),
            Some("added") => style.green(&format!("+ {said}")),
            _ => format!("  {said}"),
        };
        page.push('\n');
    }
    page
}

/// What is on the server's lists and not in the catalog.
fn refusals(catalog: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for read in catalog["reads"].as_array().into_iter().flatten().filter(|read| read["refused"] != 0) {
        lines.push(format!(
            "{} of {} on the list of kind {} are refused:",
            read["refused"], read["offered"], read["kind"]
        ));
        for refusal in read["refusals"].as_array().into_iter().flatten() {
            let reason = terminal::harmless(refusal["reason"].as_str().unwrap_or_default());
            lines.push(format!("  entry {}: {reason}", refusal["position"]));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_shown_with_what_is_suspicious_and_what_changed() {
        let item = json!({
            "server": "files", "name": "re\u{1b}ad", "kind": "tool", "state": "pending", "digest": "abcdef0123456789",
            "approved_digest": null, "gone_at": null, "changed": false,
            "flags": [{ "rule": "instruction_like", "place": "/description", "excerpt": "<IMPORTANT>" }],
            "difference": [{ "change": "same", "text": "{" }, { "change": "added", "text": "  \"a\": 1" }],
        });
        let shown = page(&item, terminal::stderr_style());
        assert!(shown.contains("flag      instruction_like at /description: <IMPORTANT>"), "{shown}");
        assert!(shown.ends_with("  {\n+   \"a\": 1\n") && !shown.contains('\u{1b}'), "{shown}");
        let listed = table(std::slice::from_ref(&item));
        assert!(listed.contains("pending  1      abcdef012345"), "{listed}");
    }

    #[test]
    fn what_was_refused_is_said_with_its_reason() {
        let reads = json!([
            { "kind": "tool", "offered": 2, "refused": 1, "refusals": [{ "position": 1, "reason": "it is no JSON object" }] },
            { "kind": "prompt", "offered": 2, "refused": 0, "refusals": [] },
        ]);
        let said = refusals(&json!({ "reads": reads }));
        assert_eq!(said, ["1 of 2 on the list of kind \"tool\" are refused:", "  entry 1: it is no JSON object"]);
    }
}
