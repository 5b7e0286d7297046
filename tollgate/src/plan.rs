//! `tollgate plan`: what `tollgate apply` would do.
//!
//! Invariant: nothing is written, and no secret is printed.

use serde_json::{Value, json};

use crate::{
    api_client::{ApiClient, ClientArgs, Stored},
    apply::{self, Files, Standing},
    failure::{Exit, Failure},
    manifest::{Object, secret},
    terminal,
};

const EXAMPLES: &str = "\
Examples:
  tollgate plan -f team.yaml
  tollgate export | tollgate plan -f -

Prints a line for each object, and for one that would be updated each member that would change. Exit code 0: nothing
would change; 2: something would. A secret is sent each time and cannot be compared: it counts as unchanged.";

/// Show what `apply` would change
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    client: ClientArgs,
}

/// Compares the files with what is stored.
pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let objects = args.files.read()?;
    let api = ApiClient::from_args(&args.client)?;
    let (mut creates, mut updates) = (0, 0);
    for object in &objects {
        let standing = apply::compare(&api, object)
            .await
            .map_err(|failure| failure.during(format!("cannot compare {}", object.title())))?;
        let changes = match &standing {
            Standing::Absent => {
                creates += 1;
                terminal::print(&format!("create {}\n", object.title()));
                continue;
            }
            Standing::AsDeclared => Vec::new(),
            Standing::Other(stored) => changes(stored, object),
        };
        updates += usize::from(!changes.is_empty());
        let verb = if changes.is_empty() { "unchanged" } else { "update" };
        terminal::print(&format!("{verb} {}\n", object.title()));
        changes.iter().for_each(|change| terminal::print(&format!("  {}\n", terminal::line(change))));
    }
    eprintln!("{creates} to create, {updates} to update, {} unchanged", objects.len() - creates - updates);
    Ok(if creates + updates == 0 { Exit::Done } else { Exit::Changes })
}

/// What would change in a stored object, a line for each member.
fn changes(stored: &Stored, object: &Object) -> Vec<String> {
    let mut lines = Vec::new();
    compare("labels", &stored.body["labels"], &json!(object.labels), &mut lines);
    compare("spec", &stored.body["spec"], &object.spec, &mut lines);
    lines
}

/// Arrays are compared whole, unless they are as long as before: then member by member.
fn compare(at: &str, before: &Value, after: &Value, lines: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            let gone = old.iter().filter(|(name, _)| !new.contains_key(*name));
            lines.extend(gone.map(|(name, value)| format!("- {at}.{name}: {value}")));
            for (name, value) in new.iter().filter(|(name, _)| !secret::is_reference(name)) {
                match old.get(name) {
                    Some(before) => compare(&format!("{at}.{name}"), before, value, lines),
                    None => lines.push(format!("+ {at}.{name}: {}", without_secrets(value))),
                }
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            let pairs = old.iter().zip(new).enumerate();
            pairs.for_each(|(index, (old, new))| compare(&format!("{at}[{index}]"), old, new, lines));
        }
        (before, after) if before != after => {
            lines.push(format!("~ {at}: {before} -> {}", without_secrets(after)));
        }
        _ => {}
    }
}

fn without_secrets(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.iter().filter(|(name, _)| !secret::is_reference(name));
            kept.map(|(name, value)| (name.clone(), without_secrets(value))).collect()
        }
        Value::Array(items) => items.iter().map(without_secrets).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(before: &Value, after: &Value) -> Vec<String> {
        let mut lines = Vec::new();
        compare("spec", before, after, &mut lines);
        lines
    }

    #[test]
    fn each_member_that_would_change_has_a_line() {
        let before = json!({"to": {"agent": "a"}, "scopes": ["x:y", "x:z"], "deny": true});
        let after = json!({"to": {"agent": "b"}, "scopes": ["x:y", "x:w"], "expires_at": "2030-01-01T00:00:00Z"});
        assert_eq!(
            lines(&before, &after),
            [
                "- spec.deny: true",
                "+ spec.expires_at: \"2030-01-01T00:00:00Z\"",
                "~ spec.scopes[1]: \"x:z\" -> \"x:w\"",
                "~ spec.to.agent: \"a\" -> \"b\"",
            ]
        );
        assert_eq!(lines(&json!({"a": [1]}), &json!({"a": [1, 2]})), ["~ spec.a: [1] -> [1,2]"]);
    }

    #[test]
    fn a_secret_is_neither_a_change_nor_printed() {
        let stored = json!({"credential": {"type": "header", "headers": [{"name": "a"}]}});
        let declared = json!({"credential": {"type": "header", "headers": [{"name": "a", "value_ref": "literal:x"}]}});
        assert!(lines(&stored, &declared).is_empty());
        let shown = lines(&json!({}), &declared).concat() + &lines(&json!({"credential": null}), &declared).concat();
        assert!(shown.contains("header") && !shown.contains("literal"), "{shown}");
    }
}
