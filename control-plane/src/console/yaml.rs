//! Objects as the YAML that `tollgate apply` reads.
//!
//! Invariant: a text that YAML might read as anything but itself is quoted.

use serde::Serialize;
use serde_json::Value;

use crate::resource::{Kind, Object};

/// Words that YAML 1.1 or 1.2 reads as something else than text.
const NOT_TEXT: [&str; 9] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];

/// The manifest of `object`.
pub(super) fn manifest<K: Kind>(kind: &str, tenant: &str, object: &Object<K>) -> String {
    let mut text = format!("apiVersion: tollgate/v1\nkind: {kind}\nmetadata:\n");
    write_field(&mut text, 1, "tenant", &Value::from(tenant));
    write_field(&mut text, 1, "name", &Value::from(object.name.as_str()));
    if !object.labels.is_empty() {
        write_field(&mut text, 1, "labels", &value_of(&object.labels));
    }
    write_field(&mut text, 0, "spec", &value_of(&object.spec));
    text
}

fn value_of(part: &impl Serialize) -> Value {
    // Specs and labels came from JSON.
    serde_json::to_value(part).unwrap_or_default()
}

fn write_field(text: &mut String, depth: usize, key: &str, value: &Value) {
    text.push_str(&"  ".repeat(depth));
    text.push_str(&scalar(&Value::from(key)));
    text.push(':');
    write_value(text, depth + 1, value);
}

/// What stands behind `key:` or `-`.
fn write_value(text: &mut String, depth: usize, value: &Value) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            text.push('\n');
            for (key, value) in fields {
                write_field(text, depth, key, value);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            text.push('\n');
            for item in items {
                write_item(text, depth, item);
            }
        }
        other => {
            text.push(' ');
            text.push_str(&scalar(other));
            text.push('\n');
        }
    }
}

fn write_item(text: &mut String, depth: usize, item: &Value) {
    text.push_str(&"  ".repeat(depth));
    text.push('-');
    match item {
        Value::Object(fields) if !fields.is_empty() => {
            // The first field stands on the line of the dash.
            let mut block = String::new();
            for (key, value) in fields {
                write_field(&mut block, depth + 1, key, value);
            }
            text.push(' ');
            text.push_str(block.trim_start());
        }
        other => write_value(text, depth + 1, other),
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) if reads_as_text(text) => text.clone(),
        // JSON's quoted strings, empty lists and numbers are YAML too.
        other => other.to_string(),
    }
}

fn reads_as_text(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|char| char.is_ascii_alphanumeric() || "-_./:@*+ ".contains(char))
        && !text.contains(": ")
        && !text.ends_with([':', ' '])
        && !NOT_TEXT.contains(&text.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nested_values_become_blocks() {
        let mut text = String::new();
        let spec = json!({ "instances": [{ "url": "http://127.0.0.1:3001/mcp", "weight": 2 }], "scopes": ["demo:*"], "none": [] });
        write_field(&mut text, 0, "spec", &spec);
        assert_eq!(
            text,
            "spec:\n  instances:\n    - url: http://127.0.0.1:3001/mcp\n      weight: 2\n  none: []\n  scopes:\n    - demo:*\n"
        );
    }

    #[test]
    fn what_is_not_plainly_text_is_quoted() {
        for quoted in ["", "true", "No", "12", "a: b", "- a", "*x", "a #b", "ends:", "\u{202E}", "a\nb"] {
            let value = Value::from(quoted);
            assert_eq!(scalar(&value), value.to_string(), "{quoted:?}");
        }
        assert_eq!(scalar(&Value::from("ci-bot")), "ci-bot");
    }
}
