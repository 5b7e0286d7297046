//! Scopes: the unit of least privilege, as grants, tokens and challenges write them.
//!
//! Invariant: a scope's text is a valid OAuth scope-token (RFC 6749 section 3.3), whatever a server calls its
//! tools: bytes outside the alphabet, and the percent sign, are percent-encoded.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Name;

/// What a toolset's scope begins with. No server's name has a slash, so that nothing else does.
const TOOLSET: &str = "toolset/";

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
    /// The part after the colon is empty, has a broken percent sequence or a byte that must be encoded.
    #[error("the tool of scope `{0}` is not valid: percent-encode what is outside the scope alphabet")]
    Tool(String),
    /// `server:@label`, a form that this version does not evaluate.
    #[error("`{0}` selects tools by a label, which this version does not evaluate: name the tools, or use `server:*`")]
    Label(String),
}

impl Scope {
    /// The scope of one tool.
    #[must_use]
    pub fn tool(server: &Name, tool: &str) -> Self {
        Self::Tool { server: server.clone(), tool: tool.into() }
    }

    /// The one server whose tools this scope speaks of; a toolset's scope speaks of the tools of several.
    #[must_use]
    pub const fn server(&self) -> Option<&Name> {
        match self {
            Self::Tool { server, .. } | Self::Server { server } => Some(server),
            Self::Toolset { .. } => None,
        }
    }

    /// The toolset that this scope speaks of.
    #[must_use]
    pub const fn toolset(&self) -> Option<&Name> {
        match self {
            Self::Toolset { name } => Some(name),
            Self::Tool { .. } | Self::Server { .. } => None,
        }
    }

    /// Whether holding `self` suffices where `other` is asked for, whatever the tenant's toolsets hold: which tools
    /// a toolset's scope stands for is known to those who have the policy.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match self {
            Self::Server { server } => other.server() == Some(server),
            Self::Tool { .. } | Self::Toolset { .. } => self == other,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server { server } => write!(f, "{server}:*"),
            Self::Toolset { name } => write!(f, "{TOOLSET}{name}"),
            Self::Tool { server, tool } => {
                write!(f, "{server}:")?;
                // A tool called `*` or `@x` must not read as a wildcard or a label.
                let reserved_start = tool.as_ref() == "*" || tool.starts_with('@');
                for (index, byte) in tool.bytes().enumerate() {
                    if plain(byte) && !(index == 0 && reserved_start) {
                        write!(f, "{}", char::from(byte))?;
                    } else {
                        write!(f, "%{byte:02X}")?;
                    }
                }
                Ok(())
            }
        }
    }
}

/// RFC 6749's scope-token alphabet without the percent sign, which introduces an encoded byte.
const fn plain(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x5B | 0x5D..=0x7E) && byte != b'%'
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let shown = || text.chars().take(160).collect::<String>();
        if let Some(name) = text.strip_prefix(TOOLSET) {
            let name = name.parse().map_err(|source| ScopeError::Toolset { scope: shown(), source })?;
            return Ok(Self::Toolset { name });
        }
        let (server, tool) = text.split_once(':').ok_or_else(|| ScopeError::Shape(shown()))?;
        let server = server.parse().map_err(|source| ScopeError::Server { scope: shown(), source })?;
        match tool {
            "*" => Ok(Self::Server { server }),
            _ if tool.starts_with('@') => Err(ScopeError::Label(shown())),
            _ => {
                let tool = decode(tool).ok_or_else(|| ScopeError::Tool(shown()))?;
                Ok(Self::Tool { server, tool })
            }
        }
    }
}

fn decode(tool: &str) -> Option<Box<str>> {
    let mut bytes = tool.bytes();
    let mut decoded = Vec::with_capacity(tool.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            let digits = std::str::from_utf8(&digits).ok()?;
            decoded.push(u8::from_str_radix(digits, 16).ok()?);
        } else if plain(byte) {
            decoded.push(byte);
        } else {
            return None;
        }
    }
    let decoded = String::from_utf8(decoded).ok()?;
    (!decoded.is_empty()).then(|| decoded.into())
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_name() -> impl Strategy<Value = Name> {
        "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?".prop_map(|name| name.parse().expect("a name"))
    }

    /// Often about a server that is called like the prefix of a toolset's scope.
    fn any_scope() -> impl Strategy<Value = Scope> {
        let server = || prop_oneof![any_name(), Just("toolset".parse().expect("a name"))];
        prop_oneof![
            (server(), prop_oneof!["[*@a-z/:% ]{1,6}", ".{1,40}"])
                .prop_map(|(server, tool)| Scope::Tool { server, tool: tool.into() }),
            server().prop_map(|server| Scope::Server { server }),
            any_name().prop_map(|name| Scope::Toolset { name }),
        ]
    }

    fn scope(text: &str) -> Scope {
        text.parse().expect("a scope")
    }

    #[test]
    fn a_wildcard_covers_the_tools_of_its_server_only() {
        assert!(scope("demo:*").covers(&scope("demo:echo")));
        assert!(scope("demo:*").covers(&scope("demo:*")));
        assert!(!scope("demo:*").covers(&scope("other:echo")));
        assert!(!scope("demo:echo").covers(&scope("demo:*")));
    }

    #[test]
    fn any_tool_name_survives_the_round_trip() {
        let server: Name = "demo".parse().expect("a name");
        for tool in ["echo", "*", "@read", "a b", "ä", "100%", "a:b", "\"", "\\", "%2A"] {
            let scope = Scope::tool(&server, tool);
            let text = scope.to_string();
            assert!(text.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5B | 0x5D..=0x7E)), "{text}");
            assert_eq!(text.parse(), Ok(scope), "{text}");
        }
    }

    #[test]
    fn broken_scopes_are_refused() {
        for text in ["", "demo", ":echo", "demo:", "Demo:echo", "demo:a b", "demo:%4", "demo:%zz", "demo:@read"] {
            assert!(text.parse::<Scope>().is_err(), "{text}");
        }
        for text in ["toolset/", "toolset/A", "toolset/a/b", "toolset/a:b", "toolset/*", "toolset", "tools/a", "/a"] {
            assert!(text.parse::<Scope>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_toolsets_scope_covers_itself_alone_and_is_covered_by_no_servers() {
        assert!(scope("toolset/triage").covers(&scope("toolset/triage")));
        for other in ["toolset/other", "triage:*", "triage:echo", "toolset:*"] {
            assert!(!scope("toolset/triage").covers(&scope(other)), "{other}");
            assert!(!scope(other).covers(&scope("toolset/triage")), "{other}");
        }
    }

    proptest! {
        #[test]
        fn every_scope_is_a_scope_token_and_survives_the_round_trip(scope in any_scope()) {
            let text = scope.to_string();
            prop_assert!(text.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5B | 0x5D..=0x7E)), "{}", text);
            prop_assert_eq!(text.parse(), Ok(scope));
        }

        #[test]
        fn a_text_that_is_read_as_a_scope_is_one_scope_only(one in any_scope(), two in any_scope()) {
            prop_assert_eq!(one == two, one.to_string() == two.to_string());
        }

        #[test]
        fn no_text_is_too_strange_to_be_read(text in any::<String>(), shaped in "(toolset/)?[a-z0-9:*@%/ -]{0,20}") {
            for text in [text, shaped] {
                if let Ok(scope) = text.parse::<Scope>() {
                    prop_assert_eq!(scope.to_string().parse(), Ok(scope));
                }
            }
        }
    }
}
