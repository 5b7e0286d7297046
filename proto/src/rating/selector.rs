//! Which calls a price is for.
//!
//! Invariant: a selector is written as scopes are, so that what a grant and a price say of a tool reads alike.

use std::{fmt, str::FromStr};

use crate::Scope;

/// Which calls a price is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Selector {
    /// `*`: all that no other price of the book is for.
    Any,
    /// `server:*`, `server:get_*` or `server:tool`.
    At(Scope),
}

/// A text that selects nothing that has a price.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is nothing that has a price: write `*`, `server:*`, `server:get_*` or `server:tool`")]
pub struct SelectorError(String);

impl Selector {
    /// The server whose calls it selects; `None`: those of all.
    #[must_use]
    pub fn server(&self) -> Option<&str> {
        match self {
            Self::Any => None,
            Self::At(scope) => scope.server().map(|server| server.as_str()),
        }
    }

    /// Whether it selects calls of this tool of its server; empty: calls of no tool.
    #[must_use]
    pub fn selects(&self, tool: &str) -> bool {
        match self {
            Self::Any | Self::At(Scope::Server { .. }) => true,
            Self::At(Scope::Tool { tool: own, .. }) => **own == *tool,
            Self::At(Scope::Tools { pattern, .. }) => !tool.is_empty() && pattern.matches(tool),
            Self::At(_) => false,
        }
    }

    /// The more specific one has the greater: a tool, then patterns by how much of a name they give, then the server.
    pub(super) fn specificity(&self) -> impl Ord + use<> {
        match self {
            Self::At(Scope::Tool { .. }) => (3, 0),
            Self::At(Scope::Tools { pattern, .. }) => (2, pattern.to_string().replace('*', "").chars().count()),
            Self::At(_) => (1, 0),
            Self::Any => (0, 0),
        }
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        if text == "*" {
            return Ok(Self::Any);
        }
        match text.parse() {
            Ok(scope @ (Scope::Tool { .. } | Scope::Tools { .. } | Scope::Server { .. })) => Ok(Self::At(scope)),
            _ => Err(SelectorError(text.chars().take(160).collect())),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::At(scope) => scope.fmt(f),
        }
    }
}
