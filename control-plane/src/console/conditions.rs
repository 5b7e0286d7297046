//! Conditions on arguments as forms and tables write them: a line each, as `/amount range 0..100`.
//!
//! Invariant: a line that is no condition becomes one that the operation refuses, so that it is complained about like
//! any other fault.

use serde_json::{Map, Value, json};

use crate::grants::{ArgumentCondition, ArgumentRange, GrantSpec};

/// What stands between the ends of a range.
const TO: &str = "..";

/// The conditions as a form shows them.
pub(super) fn lines(conditions: &[ArgumentCondition]) -> Vec<String> {
    conditions.iter().map(line).collect()
}

/// What the lines of a form say, as the API takes it.
pub(super) fn read(lines: &[&str]) -> Value {
    lines.iter().map(|line| condition(line)).collect()
}

impl GrantSpec {
    /// Its conditions, a line each, and then the networks that it is for.
    pub(super) fn provisos(&self) -> Vec<String> {
        let networks = self.networks.as_deref().unwrap_or_default();
        let from = (!networks.is_empty()).then(|| format!("from {}", networks.join(", ")));
        lines(self.conditions.as_deref().unwrap_or_default()).into_iter().chain(from).collect()
    }
}

fn line(condition: &ArgumentCondition) -> String {
    let pointer = &condition.pointer;
    let number = |end: &Option<serde_json::Number>| end.as_ref().map(ToString::to_string).unwrap_or_default();
    match condition {
        ArgumentCondition { equals: Some(value), .. } => format!("{pointer} equals {value}"),
        ArgumentCondition { r#in: Some(values), .. } => format!("{pointer} in {}", json!(values)),
        ArgumentCondition { prefix: Some(text), .. } => format!("{pointer} prefix {text}"),
        ArgumentCondition { matches: Some(text), .. } => format!("{pointer} matches {text}"),
        ArgumentCondition { range: Some(ArgumentRange { min, max }), .. } => {
            format!("{pointer} range {}{TO}{}", number(min), number(max))
        }
        ArgumentCondition { .. } => pointer.clone(),
    }
}

fn condition(line: &str) -> Value {
    let (pointer, test) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let (test, value) = test.trim_start().split_once(char::is_whitespace).unwrap_or((test.trim_start(), ""));
    let value = value.trim();
    let value = match test {
        "equals" | "in" => json_or_text(value),
        "range" => range(value),
        _ => Value::from(value),
    };
    let mut condition = Map::from_iter([("pointer".to_owned(), Value::from(pointer))]);
    if !test.is_empty() {
        condition.insert(test.to_owned(), value);
    }
    Value::Object(condition)
}

/// What is no number goes on as text, for the operation to refuse.
fn range(text: &str) -> Value {
    let end = |text: &str| Some(text.trim()).filter(|text| !text.is_empty()).map(json_or_text);
    match text.split_once(TO) {
        Some((min, max)) => {
            let ends = [("min", end(min)), ("max", end(max))];
            ends.into_iter().filter_map(|(name, end)| Some((name.to_owned(), end?))).collect::<Map<_, _>>().into()
        }
        None => Value::from(text),
    }
}

fn json_or_text(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_form_shows_is_read_as_what_it_was() {
        let conditions = json!([
            { "pointer": "/dry_run", "equals": true },
            { "pointer": "/who", "equals": "ada" },
            { "pointer": "/repo", "in": ["a", 1, null] },
            { "pointer": "/path", "prefix": "/srv/a b/" },
            { "pointer": "/name", "matches": "^[a-z ]+$" },
            { "pointer": "/amount", "range": { "min": 0, "max": 99.5 } },
            { "pointer": "/amount", "range": { "min": -1 } },
        ]);
        let specs: Vec<ArgumentCondition> = serde_json::from_value(conditions.clone()).expect("conditions");
        let shown = lines(&specs);
        assert_eq!(shown[1], "/who equals \"ada\"");
        assert_eq!(shown[5], "/amount range 0..99.5");
        assert_eq!(read(&shown.iter().map(String::as_str).collect::<Vec<_>>()), conditions);
    }

    #[test]
    fn a_text_without_quotes_is_a_text() {
        assert_eq!(read(&["/who equals ada"]), json!([{ "pointer": "/who", "equals": "ada" }]));
    }

    #[test]
    fn a_line_that_is_no_condition_is_refused_later() {
        for (line, refused) in [
            ("/path", json!({ "pointer": "/path" })),
            ("/path like x", json!({ "pointer": "/path", "like": "x" })),
            ("/amount range 7", json!({ "pointer": "/amount", "range": "7" })),
            ("/amount range a..b", json!({ "pointer": "/amount", "range": { "min": "a", "max": "b" } })),
            ("/repo in a", json!({ "pointer": "/repo", "in": "a" })),
        ] {
            assert_eq!(read(&[line]), json!([refused]), "{line}");
            assert!(serde_json::from_value::<ArgumentCondition>(refused).map_or(true, |it| it.test().is_none()));
        }
    }
}
