//! What forms are made of: fields, what was entered into them, and what is wrong with it.
//!
//! Invariant: what was entered is kept as it came, so that a form that is shown again holds it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::tools::Tools;

/// What a form sends, or starts with.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(transparent)]
pub(in crate::console) struct Entries(BTreeMap<String, String>);

/// One field of a form.
#[derive(Debug)]
pub(in crate::console) struct Field {
    pub(in crate::console) name: &'static str,
    pub(in crate::console) label: &'static str,
    pub(in crate::console) hint: &'static str,
    pub(in crate::console) required: bool,
    /// The choice, of another field, that it belongs to; empty: it is always there.
    pub(in crate::console) only_for: &'static str,
    pub(in crate::console) control: Control,
    pub(in crate::console) value: String,
    pub(in crate::console) wrong: Option<String>,
}

/// What a value is entered with.
#[derive(Debug)]
pub(in crate::console) enum Control {
    /// One line of prose.
    Text,
    /// One line of a name or a number.
    Code,
    /// One line that is not shown, nor sent back.
    Secret,
    /// Several lines of names.
    Lines,
    /// Several lines of prose.
    Prose,
    /// Several lines of `name: secret`, of which only the names are sent back.
    SecretLines,
    /// One of some.
    Select(Vec<Choice>),
    /// Yes or no.
    Check,
    /// Tools of servers, a row each.
    Tools(Tools),
}

/// One of some values.
#[derive(Debug)]
pub(in crate::console) struct Choice {
    pub(in crate::console) value: String,
    pub(in crate::console) label: String,
}

/// Something wrong with what was entered.
#[derive(Debug)]
pub(in crate::console) struct Complaint {
    /// The field's name; empty when it is about no single field.
    pub(in crate::console) field: &'static str,
    pub(in crate::console) text: String,
}

impl Entries {
    /// What was entered under `name`, without surrounding space.
    pub(in crate::console) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", |value| value.trim())
    }

    /// The same as JSON, null when empty.
    pub(in crate::console) fn text(&self, name: &str) -> Value {
        Some(self.get(name)).filter(|text| !text.is_empty()).map_or(Value::Null, Value::from)
    }

    /// The lines that are not empty.
    pub(in crate::console) fn lines(&self, name: &str) -> Vec<&str> {
        self.get(name).lines().map(str::trim).filter(|line| !line.is_empty()).collect()
    }

    pub(in crate::console) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }
}

impl Field {
    pub(in crate::console) fn new(name: &'static str, label: &'static str, control: Control) -> Self {
        Self { name, label, hint: "", required: false, only_for: "", control, value: String::new(), wrong: None }
    }

    pub(in crate::console) const fn hint(mut self, hint: &'static str) -> Self {
        self.hint = hint;
        self
    }

    pub(in crate::console) const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Hides it unless `choice` is chosen somewhere in the form: the style sheet has a rule for each such choice.
    pub(in crate::console) const fn only_for(mut self, choice: &'static str) -> Self {
        self.only_for = choice;
        self
    }

    /// The names of lines of `name: secret`.
    pub(in crate::console) fn names(&self) -> String {
        let name = |line: &str| line.split_once(':').map_or(line, |(name, _)| name).trim().to_owned();
        self.value.lines().map(name).collect::<Vec<_>>().join("\n")
    }

    /// What the field's input refers to as its description.
    pub(in crate::console) fn described_by(&self) -> String {
        let hint = (!self.hint.is_empty()).then(|| format!("{}-hint", self.name));
        let wrong = self.wrong.is_some().then(|| format!("{}-wrong", self.name));
        hint.into_iter().chain(wrong).collect::<Vec<_>>().join(" ")
    }
}

impl Choice {
    /// An empty choice with this label, then the names.
    pub(in crate::console) fn none_or(label: &str, names: &[String]) -> Vec<Self> {
        let none = Self { value: String::new(), label: label.to_owned() };
        std::iter::once(none)
            .chain(names.iter().map(|name| Self { value: name.clone(), label: name.clone() }))
            .collect()
    }
}
