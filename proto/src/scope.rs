//! Scopes: the unit of least privilege, as grants, tokens and challenges write them.
//!
//! Invariant: a scope's text is a valid OAuth scope-token (RFC 6749 section 3.3), whatever a server calls its
//! tools: bytes outside the alphabet, the percent sign and a star that is none are percent-encoded. Two scopes that
//! are written differently are different.

mod pattern;
mod uri;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use self::{
    pattern::{Pattern, PatternError},
    uri::normal_uri,
};
use crate::Name;

/// What a toolset's scope begins with. No server's name has a slash, so that nothing else does.
const TOOLSET: &str = "toolset/";
/// Behind the colon: the tools that only read.
const READ: &str = "@read";
/// Behind the colon, before the name of a prompt.
const PROMPT: &str = "@prompt/";
/// Behind the colon, before the URI of a resource.
const RESOURCE: &str = "@resource/";

/// What a grant allows or a token carries.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// `server:tool`: one tool.
    Tool {
        /// The server's slug.
        server: Name,
        /// The tool as the server names it, not encoded.
        tool: Box<str>,
    },
    /// `server:get_*`: the tools of a server that are called so.
    Tools {
        /// The server's slug.
        server: Name,
        /// What they are called: at least one star, and something beside it.
        pattern: Pattern,
    },
    /// `server:@read`: the tools of a server that were approved as read-only.
    ReadOnly {
        /// The server's slug.
        server: Name,
    },
    /// `server:@prompt/name`, with stars or without: prompts of a server.
    Prompts {
        /// The server's slug.
        server: Name,
        /// What they are called.
        pattern: Pattern,
    },
    /// `server:@resource/uri`, with stars or without: resources of a server, and templates of such.
    Resources {
        /// The server's slug.
        server: Name,
        /// Their URIs, in the form of [`normal_uri`].
        pattern: Pattern,
    },
    /// `server:*`: everything that one server offers.
    Server {
        /// The server's slug.
        server: Name,
    },
    /// `toolset/name`: the tools that are in a toolset at the time of asking.
    Toolset {
        /// The toolset's slug.
        name: Name,
    },
}

/// A text that is no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// Neither a colon nor a toolset.
    #[error("`{0}` is no scope: write `server:tool`, `server:*` or `toolset/name`")]
    Shape(String),
    /// The part before the colon is no server's name.
    #[error("the server of scope `{scope}` is no name: {source}")]
    Server {
        /// The scope as given.
        scope: String,
        /// What is wrong with it.
        source: crate::NameError,
    },
    /// The part after the slash is no toolset's name.
    #[error("the toolset of scope `{scope}` is no name: {source}")]
    Toolset {
        /// The scope as given.
        scope: String,
        /// What is wrong with it.
        source: crate::NameError,
    },
    /// What follows the colon, `@prompt/` or `@resource/` cannot be read.
    #[error("the part of scope `{scope}` behind the server is not valid: {source}")]
    Pattern {
        /// The scope as given.
        scope: String,
        /// What is wrong with it.
        source: PatternError,
    },
    /// `server:@label` with a label that there is not.
    #[error("`{0}` has an unknown label: `@read`, `@prompt/name` and `@resource/uri` are known")]
    Label(String),
}

impl Scope {
    /// The scope of one tool.
    #[must_use]
    pub fn tool(server: &Name, tool: &str) -> Self {
        Self::Tool { server: server.clone(), tool: tool.into() }
    }

    /// The scope of one prompt.
    #[must_use]
    pub fn prompt(server: &Name, prompt: &str) -> Self {
        Self::Prompts { server: server.clone(), pattern: Pattern::literal(prompt) }
    }

    /// The scope of one resource.
    #[must_use]
    pub fn resource(server: &Name, uri: &str) -> Self {
        Self::Resources { server: server.clone(), pattern: Pattern::uri(uri) }
    }

    /// The one server that this scope speaks of; a toolset's scope speaks of the tools of several.
    #[must_use]
    pub const fn server(&self) -> Option<&Name> {
        match self {
            Self::Tool { server, .. }
            | Self::Tools { server, .. }
            | Self::ReadOnly { server }
            | Self::Prompts { server, .. }
            | Self::Resources { server, .. }
            | Self::Server { server } => Some(server),
            Self::Toolset { .. } => None,
        }
    }

    /// The toolset that this scope speaks of.
    #[must_use]
    pub const fn toolset(&self) -> Option<&Name> {
        match self {
            Self::Toolset { name } => Some(name),
            _ => None,
        }
    }

    /// Whether it names what it speaks of one by one, so that nothing new is let in unless somebody writes it. Whoever
    /// puts a tool into a toolset has written that.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        match self {
            Self::Tool { .. } | Self::Toolset { .. } => true,
            Self::Tools { .. } | Self::ReadOnly { .. } | Self::Server { .. } => false,
            Self::Prompts { pattern, .. } | Self::Resources { pattern, .. } => pattern.is_literal(),
        }
    }

    /// Whether holding `self` suffices where `other` is asked for, whatever the tenant's toolsets hold and its tools
    /// are approved as: that is known to those who have the policy.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        if let Self::Server { server } = self {
            return other.server() == Some(server);
        }
        if self.server() != other.server() {
            return false;
        }
        match (self, other) {
            (Self::Tools { pattern, .. }, Self::Tool { tool, .. }) => pattern.matches(tool),
            (Self::Tools { pattern, .. }, Self::Tools { pattern: wanted, .. })
            | (Self::Prompts { pattern, .. }, Self::Prompts { pattern: wanted, .. })
            | (Self::Resources { pattern, .. }, Self::Resources { pattern: wanted, .. }) => pattern.covers(wanted),
            _ => self == other,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server { server } => write!(f, "{server}:*"),
            Self::Toolset { name } => write!(f, "{TOOLSET}{name}"),
            Self::ReadOnly { server } => write!(f, "{server}:{READ}"),
            Self::Prompts { server, pattern } => write!(f, "{server}:{PROMPT}{pattern}"),
            Self::Resources { server, pattern } => write!(f, "{server}:{RESOURCE}{pattern}"),
            Self::Tools { server, pattern } => {
                write!(f, "{server}:")?;
                pattern.write_unlabelled(f)
            }
            Self::Tool { server, tool } => {
                write!(f, "{server}:")?;
                pattern::write_unlabelled(f, tool)
            }
        }
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let shown = || text.chars().take(160).collect::<String>();
        if let Some(name) = text.strip_prefix(TOOLSET) {
            let name = name.parse().map_err(|source| ScopeError::Toolset { scope: shown(), source })?;
            return Ok(Self::Toolset { name });
        }
        let (server, what) = text.split_once(':').ok_or_else(|| ScopeError::Shape(shown()))?;
        let server = server.parse().map_err(|source| ScopeError::Server { scope: shown(), source })?;
        let pattern =
            |text: &str| text.parse::<Pattern>().map_err(|source| ScopeError::Pattern { scope: shown(), source });
        if what == "*" {
            Ok(Self::Server { server })
        } else if what == READ {
            Ok(Self::ReadOnly { server })
        } else if let Some(name) = what.strip_prefix(PROMPT) {
            Ok(Self::Prompts { server, pattern: pattern(name)? })
        } else if let Some(uri) = what.strip_prefix(RESOURCE) {
            Ok(Self::Resources { server, pattern: pattern(uri)?.of_uris() })
        } else if what.starts_with('@') {
            Err(ScopeError::Label(shown()))
        } else {
            Ok(match pattern(what)?.into_literal() {
                Ok(tool) => Self::Tool { server, tool },
                Err(pattern) => Self::Tools { server, pattern },
            })
        }
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
