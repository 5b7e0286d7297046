//! Names that people choose: RFC 1123 labels, unique per parent, immutable.
//!
//! Invariant: a [`Name`] holds no underscore, so that `{server}__{tool}` divides at its first `__`, and no colon
//! or slash, so that it stands unescaped in a scope and in a URL.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize};

/// A label as RFC 1123 section 2.1 has it: 1 to 63 of `a-z`, `0-9` and `-`, neither first nor last a hyphen.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Name(Box<str>);

/// A text that is no [`Name`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no name: use 1 to 63 lower-case letters, digits and hyphens, with a letter or digit at both ends")]
pub struct NameError(String);

impl Name {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let valid = (1..=63).contains(&text.len())
            && text.bytes().all(allowed)
            && !text.starts_with('-')
            && !text.ends_with('-');
        if valid { Ok(Self(text.into())) } else { Err(NameError(text.chars().take(80).collect())) }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_names() {
        for text in ["a", "demo", "ci-bot-2", "0"] {
            assert_eq!(text.parse::<Name>().map(|name| name.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn what_would_need_escaping_is_no_name() {
        let long = "a".repeat(64);
        for text in ["", "-a", "a-", "A", "a_b", "a:b", "a/b", "ä", long.as_str()] {
            assert!(text.parse::<Name>().is_err(), "{text}");
        }
    }
}
