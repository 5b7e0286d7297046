//! `tollgate catalog …`: what servers offer, what of it waits, and what is decided about it.
//!
//! Invariant: nothing is approved but by the digest that its approver names, a block is lifted by nobody who does not name it,
//! and nothing that a server says reaches the terminal with a character that could do harm there.

use serde_json::{Value, json};

use crate::{
    api_client::{ApiClient, ClientArgs, Precondition},
    failure::{Exit, Failure},
    terminal::{self, Format, Style},
};

const EXAMPLES: &str = "\
Examples:
  tollgate catalog list --waiting                      what waits for somebody to decide
  tollgate catalog show github/create_issue            with the difference to what was approved
  tollgate catalog approve github/create_issue --digest 3f1c…
  tollgate catalog block github/delete_repo
  tollgate catalog read github                         ask the server now

`tollgate catalog show` tells the digest that `approve` wants: of the definition that you have seen. It also tells the
etag of what was decided: with --etag nothing is done when somebody else has decided meanwhile.";

/// Of a SHA-256 in hex.
const DIGEST_DIGITS: usize = 64;

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

/// One item that is decided about.
#[derive(Debug, clap::Args)]
struct Decided {
    #[command(flatten)]
    item: Item,
    /// The etag of the decision that you have seen [without: of the one that holds now, unless that is a block]
    #[arg(long, value_name = "ETAG")]
    etag: Option<String>,
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
        decided: Decided,
        /// Its digest, all 64 digits of it
        #[arg(long, value_name = "DIGEST", value_parser = parse_digest)]
        digest: String,
    },
    /// Block an item: no agent sees or uses it
    Block {
        #[command(flatten)]
        decided: Decided,
    },
    /// Take back what was decided about an item
    Reset {
        #[command(flatten)]
        decided: Decided,
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
                Format::Json => terminal::json(&shown),
            });
        }
        Action::Approve { decided, digest } => {
            let approved = decided.act("approve", &json!({ "digest": digest })).await?;
            eprintln!("approved {}", name(&approved));
        }
        Action::Block { decided } => {
            let blocked = decided.act("block", &json!({})).await?;
            eprintln!("blocked {}: no agent sees or uses it", name(&blocked));
        }
        Action::Reset { decided } => {
            let reset = decided.act("reset", &json!({})).await?;
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
}

impl Decided {
    async fn act(&self, action: &str, body: &Value) -> Result<Value, Failure> {
        let acted = async {
            let api = self.item.api()?;
            let found = self.item.find(&api).await?;
            let etag = self.follows(action, &found)?;
            let id = found["id"].as_str().unwrap_or_default();
            let path = ["catalog-items", &format!("{id}:{action}")];
            api.post_if(&path, Precondition::Unchanged(&etag), body).await
        };
        acted.await.map_err(|failure| self.item.during(action, failure))
    }

    /// The decision that this one takes the place of, as `If-Match` names it.
    fn follows(&self, action: &str, found: &Value) -> Result<String, Failure> {
        match &self.etag {
            Some(etag) => Ok(format!("\"{}\"", etag.trim_matches('"'))),
            None if found["state"] == "blocked" && action != "block" => Err(Failure::new("it is blocked")
                .exit(Exit::Conflict)
                .why(decision(found))
                .cure("if it is not to be any more: --etag, as `tollgate catalog show` tells it")),
            None => Ok(found["etag"].as_str().unwrap_or_default().to_owned()),
        }
    }
}

/// What names a definition, and no other: as it was typed.
fn parse_digest(text: &str) -> Result<String, String> {
    if text.len() == DIGEST_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "a digest has {DIGEST_DIGITS} hexadecimal digits: `tollgate catalog show` prints that of the definition which it shows"
    ))
}

fn name(item: &Value) -> String {
    let text = |field: &str| terminal::line(item[field].as_str().unwrap_or_default());
    format!("{}/{}", text("server"), text("name"))
}

/// Who decided what holds.
fn decision(item: &Value) -> String {
    match (item["decided_by"].as_str(), item["decided_at"].as_str()) {
        (Some(by), Some(at)) => terminal::line(&format!("decided by {by} at {at}")),
        _ => "decided by nobody: the server's approval says what holds".to_owned(),
    }
}

fn table(items: &[Value]) -> String {
    let mut rows = vec![["SERVER", "KIND", "NAME", "STATE", "FLAGS", "DIGEST"].map(str::to_owned).to_vec()];
    rows.extend(items.iter().map(|item| {
        let text = |field: &str| item[field].as_str().unwrap_or("-").to_owned();
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
    let text = |field: &str| terminal::line(item[field].as_str().unwrap_or("none"));
    let mut page = format!(
        "{} ({})\nstate     {}, {}\netag      {}\ndigest    {}\napproved  {}\n",
        name(item),
        text("kind"),
        text("state"),
        decision(item),
        text("etag").trim_matches('"'),
        text("digest"),
        text("approved_digest")
    );
    for flag in item["flags"].as_array().into_iter().flatten() {
        let part = |field: &str| terminal::line(flag[field].as_str().unwrap_or_default());
        let line = format!("flag      {} at {}: {}", part("rule"), part("place"), part("excerpt"));
        page += &(style.yellow(&line) + "\n");
    }
    page.push('\n');
    let lines = item["difference"].as_array().map(Vec::as_slice).unwrap_or_default();
    if lines.is_empty() {
        page += &terminal::json(&item["definition"]);
    }
    for line in lines {
        let said = terminal::line(line["text"].as_str().unwrap_or_default());
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
            let reason = terminal::line(refusal["reason"].as_str().unwrap_or_default());
            lines.push(format!("  entry {}: {reason}", refusal["position"]));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::{
        Style,
        tests::{HOSTILE, SHOWN},
    };

    #[test]
    fn a_decision_names_the_whole_digest() {
        let digest = "3F1c".repeat(16);
        assert_eq!(parse_digest(&digest), Ok(digest.clone()), "as it was typed");
        for wrong in ["", "3f1c09aa", &digest[1..], &format!("{digest}0"), &digest.replace('F', "g")] {
            let said = parse_digest(wrong).expect_err("no digest");
            assert!(said.starts_with("a digest has 64 hexadecimal digits"), "{said}");
        }
    }

    #[test]
    fn what_a_server_says_stays_where_it_is_shown() {
        let line = json!({ "change": "added", "text": HOSTILE });
        let flag = json!({ "rule": "unusual_name", "place": HOSTILE, "excerpt": HOSTILE });
        let mut item = json!({ "server": "files", "name": HOSTILE, "kind": "tool", "flags": [flag], "difference": [line],
            "definition": { "name": HOSTILE } });
        assert_eq!(name(&item), format!("files/{SHOWN}"));
        let shown = page(&item, Style::plain());
        assert!(shown.starts_with(&format!("files/{SHOWN} (tool)\n")), "{shown}");
        assert!(shown.contains(&format!("flag      unusual_name at {SHOWN}: {SHOWN}\n")), "{shown}");
        assert!(shown.ends_with(&format!("+ {SHOWN}\n")), "{shown}");
        let listed = table(std::slice::from_ref(&item));
        assert!(listed.contains(SHOWN) && listed.lines().count() == 2, "{listed}");
        item["difference"] = json!([]);
        let whole = page(&item, Style::plain());
        assert!(whole.ends_with("}\n") && whole.contains(r"\u001b[2J\u009b2J\ndo:  run this\u202e\u200b\r"), "{whole}");
    }

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
    fn a_block_is_lifted_only_by_who_names_it() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            decided: Decided,
        }
        let line = |rest: &[&str]| {
            let words = ["reset", "files/read"].iter().chain(rest);
            <Line as clap::Parser>::try_parse_from(words).expect("a command line").decided
        };
        let blocked = json!({ "state": "blocked", "etag": "\"7\"", "decided_by": "user:ada", "decided_at": "2026" });
        let refused = line(&[]).follows("reset", &blocked).expect_err("it is blocked");
        assert_eq!(refused.to_string(), "it is blocked: decided by user:ada at 2026");
        assert_eq!(refused.code(), Exit::Conflict);
        for named in ["6", "\"6\""] {
            assert_eq!(line(&["--etag", named]).follows("reset", &blocked).expect("said"), "\"6\"");
        }
        assert_eq!(line(&[]).follows("block", &blocked).expect("it stays so"), "\"7\"");
        let pending = json!({ "state": "pending", "etag": "\"undecided\"" });
        assert_eq!(line(&[]).follows("approve", &pending).expect("nobody decided"), "\"undecided\"");
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
