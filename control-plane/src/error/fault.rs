//! What is wrong where in a body.

use std::fmt;

use serde::Serialize;
use utoipa::ToSchema;

const TEXT_LEN_MAX: usize = 120;

/// One thing wrong with a body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Fault {
    /// Where, as a JSON pointer (RFC 6901).
    #[schema(example = "/spec/instances/0/url")]
    pub pointer: String,
    /// What, for programs; stable.
    pub code: &'static str,
    /// What, in a sentence.
    pub detail: String,
}

/// Everything wrong with a body, in the order found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// Notes a fault.
    pub fn add(&mut self, pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) {
        self.0.push(Fault { pointer: pointer.into(), code, detail: detail.into() });
    }

    /// Notes all that `others` has.
    pub fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Notes that the contract knows a field or value which this version does not implement.
    pub fn not_available(&mut self, pointer: impl Into<String>, what: &str) {
        self.add(pointer, "not_available", format!("{what}: not in this version"));
    }

    /// Notes a text for people that is too long or does not print.
    pub fn check_text(&mut self, pointer: &str, text: &str) {
        if text.chars().count() > TEXT_LEN_MAX || text.chars().any(char::is_control) {
            self.add(pointer, "text", format!("up to {TEXT_LEN_MAX} printable characters"));
        }
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The faults, in the order found.
    #[must_use]
    pub fn to_vec(&self) -> Vec<Fault> {
        self.0.clone()
    }

    /// The code that all faults share, else `invalid`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self.0.split_first() {
            Some((first, rest)) if rest.iter().all(|fault| fault.code == first.code) => first.code,
            _ => "invalid",
        }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [only] => f.write_str(&only.detail),
            many => write!(f, "the body has {} faults", many.len()),
        }
    }
}
