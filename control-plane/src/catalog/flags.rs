//! What looks like deceit in a definition, found by rules that can be read: they are the tables of `flags/text.rs` and
//! `flags/names.rs`.
//!
//! Invariant: a flag decides nothing. It names a rule and a place, and shows what is there without any character that
//! could deceive whoever looks at it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::invisible;

mod names;
#[cfg(test)]
mod tests;
mod text;

pub(super) use names::Neighbours;

/// Of one rule in one definition, so that what one finds everywhere hides nothing of what another finds.
const RULE_FLAGS_MAX: usize = 16;
/// Characters of an excerpt, and of a place.
const SHOWN_CHARS_MAX: usize = 200;

/// Which rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Characters that nobody sees: zero width, bidirectional, tags, controls.
    InvisibleCharacters,
    /// A word with letters of several scripts that look alike.
    MixedScripts,
    /// A name with other characters than MCP recommends, or too long.
    UnusualName,
    /// A name that reads like that of another tool.
    LookalikeName,
    /// Text that gives orders to a model.
    InstructionLike,
}

/// Something that looks like deceit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Flag {
    /// By which rule.
    pub rule: Rule,
    /// JSON pointer (RFC 6901) into the definition.
    #[schema(example = "/inputSchema/properties/path/description")]
    pub place: String,
    /// What is there, cut, with invisible characters as `‹U+202E›`.
    pub excerpt: String,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Self; 5] =
        [Self::InvisibleCharacters, Self::MixedScripts, Self::UnusualName, Self::LookalikeName, Self::InstructionLike];

    /// As the API has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvisibleCharacters => "invisible_characters",
            Self::MixedScripts => "mixed_scripts",
            Self::UnusualName => "unusual_name",
            Self::LookalikeName => "lookalike_name",
            Self::InstructionLike => "instruction_like",
        }
    }

    /// What it finds, for people.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::InvisibleCharacters => "characters that nobody sees",
            Self::MixedScripts => "a word of several scripts",
            Self::UnusualName => "a name with unusual characters",
            Self::LookalikeName => "a name that reads like another tool's",
            Self::InstructionLike => "orders to a model",
        }
    }
}

impl Flag {
    fn new(rule: Rule, place: &str, excerpt: &str) -> Self {
        let shown = |text| invisible::visible(text, SHOWN_CHARS_MAX);
        Self { rule, place: shown(place), excerpt: shown(excerpt) }
    }
}

/// The flags of a definition that come from itself: of every text and every name in it, wherever. `name_member` is the
/// member that it is known by, when that is a name that MCP has rules for.
pub(super) fn of(definition: &Value, name_member: Option<&str>) -> Vec<Flag> {
    let mut flags = Vec::new();
    if let Some(member) = name_member
        && let Some(name) = definition[member].as_str()
        && !names::is_usual(name)
    {
        flags.push(Flag::new(Rule::UnusualName, &format!("/{member}"), name));
    }
    walk(definition, &mut String::new(), &mut flags);
    flags
}

/// The flag of a tool whose name reads like that of another.
pub(super) fn lookalike(name: &str, neighbours: &Neighbours) -> Option<Flag> {
    neighbours.like(name).map(|other| Flag::new(Rule::LookalikeName, "/name", &format!("{name}, like {other}")))
}

/// Definitions are not deeper than [`tollgate_proto::definition::DEFINITION_DEPTH_MAX`].
fn walk(value: &Value, place: &mut String, flags: &mut Vec<Flag>) {
    match value {
        Value::String(text) => look_at(text, place, flags),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                below(place, &index.to_string(), |place| walk(item, place, flags));
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                below(place, &name.replace('~', "~0").replace('/', "~1"), |place| {
                    look_at(name, place, flags);
                    walk(member, place, flags);
                });
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn below(place: &mut String, part: &str, look: impl FnOnce(&mut String)) {
    let len = place.len();
    place.push('/');
    place.push_str(part);
    look(place);
    place.truncate(len);
}

/// One flag a rule and place.
fn look_at(text: &str, place: &str, flags: &mut Vec<Flag>) {
    let found = [
        (Rule::InvisibleCharacters, text::invisible(text)),
        (Rule::MixedScripts, names::mixed(text)),
        (Rule::InstructionLike, text::instruction(text)),
    ];
    for (rule, excerpt) in found {
        if let Some(excerpt) = excerpt
            && flags.iter().filter(|flag| flag.rule == rule).count() < RULE_FLAGS_MAX
        {
            flags.push(Flag::new(rule, place, excerpt));
        }
    }
}
