//! `tollgate limits …`: how much of limits is used.
//!
//! Invariant: what is not known, because a data plane did not answer, is said to be missing on standard error.

use serde_json::Value;

use crate::{
    api_client::{ApiClient, ClientArgs},
    failure::Failure,
    terminal::{self, Format},
};

const EXAMPLES: &str = "\
Examples:
  tollgate limits use
  tollgate limits use ci-bot -o json

Limits themselves are declared in files (`tollgate apply`) and shown by `tollgate get limits`.";

const PAGE_ITEMS_MAX: &str = "500";

/// Show how much of limits is used
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Show how much of limits is used now, and how many calls they refused in this hour and the one before
    Use {
        /// One limit, by name or id [without: all of them]
        name: Option<String>,
        /// How to print them
        #[arg(short, long, value_enum, default_value_t = Format::Table)]
        output: Format,
        #[command(flatten)]
        client: ClientArgs,
    },
}

/// Does what the action says.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let Action::Use { name, output, client } = args.action;
    let api = ApiClient::from_args(&client)?;
    let mut missing = Vec::new();
    match name {
        Some(name) => {
            let found = api.get(&["limits", &name, "use"], &[]).await;
            let found = found.map_err(|failure| failure.during(format!("cannot show the use of limit {name}")))?;
            note_missing(&found, &mut missing);
            terminal::print(&match output {
                Format::Table => table(std::slice::from_ref(&found)),
                Format::Json => terminal::json(&found),
            });
        }
        None => {
            let found = list(&api, &mut missing).await;
            let found = found.map_err(|failure| failure.during("cannot show the use of limits"))?;
            terminal::print_items(output, &found, table);
        }
    }
    for one in missing {
        eprintln!("more may be used: {}", terminal::line(&one));
    }
    Ok(())
}

/// All of them, page by page.
async fn list(api: &ApiClient, missing: &mut Vec<String>) -> Result<Vec<Value>, Failure> {
    let (mut uses, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let mut query = vec![("limit", PAGE_ITEMS_MAX)];
        query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let mut page = api.get(&["limit-uses"], &query).await?;
        note_missing(&page, missing);
        if let Some(Value::Array(items)) = page.get_mut("items").map(Value::take) {
            uses.extend(items);
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return Ok(uses),
        }
    }
}

/// Who did not answer, each once.
fn note_missing(answer: &Value, missing: &mut Vec<String>) {
    for one in answer["unanswered"].as_array().into_iter().flatten() {
        let text = |field: &str| one[field].as_str().unwrap_or_default().to_owned();
        let why = format!("{}: {}", text("data_plane"), text("detail"));
        if !missing.contains(&why) {
            missing.push(why);
        }
    }
}

fn table(uses: &[Value]) -> String {
    let head = ["LIMIT", "CALLS", "LISTS", "TOKENS", "RUNNING", "REFUSED THIS HOUR", "HOUR BEFORE"];
    let row = |of_one: &Value| {
        let refused = |hour: &str| of_one["refused"][hour].to_string();
        vec![
            of_one["name"].as_str().unwrap_or("-").to_owned(),
            cell(&of_one["requests"], "used"),
            cell(&of_one["requests"], "lists"),
            cell(&of_one["tokens"], "used"),
            cell(&of_one["concurrency"], "used"),
            refused("this_hour"),
            refused("hour_before"),
        ]
    };
    terminal::table(&std::iter::once(head.map(str::to_owned).to_vec()).chain(uses.iter().map(row)).collect::<Vec<_>>())
}

/// As `412 of 600 in 60 s`; `-` where it is not limited, `?` for what nobody said.
fn cell(part: &Value, member: &str) -> String {
    let Some(count) = part["count"].as_i64() else { return "-".to_owned() };
    let used = part[member].as_u64().map_or_else(|| "?".to_owned(), |used| used.to_string());
    let window = part["window_s"].as_u64().map(|window_s| format!(" in {window_s} s")).unwrap_or_default();
    format!("{used} of {count}{window}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_says_what_is_used_of_what_and_what_nobody_knows() {
        let known = json!({
            "name": "calm", "requests": { "used": 412, "lists": 3, "count": 600, "window_s": 60 },
            "concurrency": { "used": 2, "count": 10 }, "refused": { "this_hour": 7, "hour_before": 0 },
        });
        let unknown = json!({
            "name": "words", "tokens": { "used": null, "count": 1000, "window_s": 1 },
            "refused": { "this_hour": 0, "hour_before": 1 },
        });
        let shown = table(&[known, unknown]);
        let mut lines = shown.lines().skip(1).map(|line| line.split("  ").map(str::trim).filter(|it| !it.is_empty()));
        let mut row = || lines.next().expect("a line").collect::<Vec<_>>();
        assert_eq!(row(), ["calm", "412 of 600 in 60 s", "3 of 600 in 60 s", "-", "2 of 10", "7", "0"]);
        assert_eq!(row(), ["words", "-", "-", "? of 1000 in 1 s", "-", "0", "1"]);
    }

    #[test]
    fn who_did_not_answer_is_said_once() {
        let answer = json!({ "unanswered": [{ "data_plane": "dpl_1", "detail": "it did not answer in time" }] });
        let mut missing = Vec::new();
        note_missing(&answer, &mut missing);
        note_missing(&answer, &mut missing);
        assert_eq!(missing, ["dpl_1: it did not answer in time"]);
    }
}
