//! Scopes in words, for people who are asked about them.

use std::fmt;

use tollgate_proto::Scope;

/// What a scope gives of one server or of a toolset, in words that stand behind its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wording {
    /// What kind of thing; empty for one tool, and for everything.
    pub(crate) kind: &'static str,
    /// What it is called, as the scope writes it; none for everything of its kind.
    pub(crate) name: Option<String>,
}

impl Wording {
    /// That of a scope; none where it gives everything.
    pub(crate) fn of(scope: &Scope) -> Option<Self> {
        let named = |kind, name: &dyn fmt::Display| Some(Self { kind, name: Some(name.to_string()) });
        // A star that is part of a name is written otherwise.
        let either = |pattern: &dyn fmt::Display, one, several| {
            let text = pattern.to_string();
            Some(Self { kind: if text.contains('*') { several } else { one }, name: Some(text) })
        };
        match scope {
            Scope::Tool { tool, .. } => named("", tool),
            Scope::Tools { pattern, .. } => named("tools whose name fits", pattern),
            Scope::ReadOnly { .. } => Some(Self { kind: "tools approved as read-only", name: None }),
            Scope::Prompts { pattern, .. } => either(pattern, "the prompt", "prompts whose name fits"),
            Scope::Resources { pattern, .. } => either(pattern, "the resource", "resources whose address fits"),
            Scope::Server { .. } | Scope::Toolset { .. } => None,
        }
    }
}

impl fmt::Display for Wording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind)?;
        match &self.name {
            Some(name) if self.kind.is_empty() => f.write_str(name),
            Some(name) => write!(f, " {name}"),
            None => Ok(()),
        }
    }
}

/// A scope in words, where its server or toolset is called `title`.
pub(crate) fn in_words(scope: &Scope, title: &str) -> String {
    match Wording::of(scope) {
        Some(wording) => format!("{title}: {wording}"),
        None if scope.toolset().is_some() => format!("Everything in the toolset {title}"),
        None => format!("Everything that {title} offers"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_scope_has_words() {
        for (scope, words) in [
            ("demo:echo", "Demo: echo"),
            ("demo:get_*", "Demo: tools whose name fits get_*"),
            ("demo:get_%2A", "Demo: get_*"),
            ("demo:@read", "Demo: tools approved as read-only"),
            ("demo:@prompt/review", "Demo: the prompt review"),
            ("demo:@prompt/re*", "Demo: prompts whose name fits re*"),
            ("demo:@resource/file:///a", "Demo: the resource file:///a"),
            ("demo:@resource/file:///%2A", "Demo: the resource file:///%2A"),
            ("demo:@resource/*", "Demo: resources whose address fits *"),
            ("demo:*", "Everything that Demo offers"),
            ("toolset/demo", "Everything in the toolset Demo"),
        ] {
            assert_eq!(in_words(&scope.parse().expect("a scope"), "Demo"), words);
        }
    }
}
