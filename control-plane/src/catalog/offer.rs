//! One of a server's lists, as a data plane has read it: what of it is a definition, and what the others are not.
//!
//! Invariant: whatever a server says, reading it takes bounded time and memory, and every entry is either a definition or
//! refused with a reason.

use std::collections::HashSet;

use serde_json::Value;
use tollgate_proto::definition::{self, Definition};

use super::{Flag, ItemKind, Refusal, flags};
use crate::invisible;

/// Definitions of one list.
const OFFERED_MAX: usize = 5_000;
/// Bytes of a name: Postgres cannot look up longer ones.
const NAME_BYTES_MAX: usize = 2_000;
/// Refusals that are kept.
const REFUSALS_MAX: usize = 20;
const REASON_CHARS_MAX: usize = 200;

/// A list that was read.
#[derive(Debug)]
pub(super) struct Offer {
    /// In the server's order, each name once.
    pub(super) definitions: Vec<Definition>,
    /// How many entries are no definition.
    pub(super) refused: usize,
    /// The first of them.
    pub(super) refusals: Vec<Refusal>,
}

/// What a definition says beside its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    /// The server claims that it changes nothing.
    pub(super) read_only: bool,
    /// The server claims that it changes things and destroys nothing.
    pub(super) additive: bool,
    /// What looks like deceit in it, by itself.
    pub(super) flags: Vec<Flag>,
}

/// Reads a list.
pub(super) fn read(kind: ItemKind, entries: &[Vec<u8>]) -> Offer {
    let mut offer = Offer { definitions: Vec::new(), refused: 0, refusals: Vec::new() };
    let mut names = HashSet::new();
    for (position, entry) in entries.iter().enumerate() {
        let read = Definition::read(kind.wire(), entry).map_err(|error| error.to_string()).and_then(acceptable);
        let new = read.and_then(|definition| match names.insert(definition.name().to_owned()) {
            true if offer.definitions.len() < OFFERED_MAX => Ok(definition),
            true => Err(format!("more than {OFFERED_MAX} are offered")),
            false => Err("another one before it has the same name".to_owned()),
        });
        match new {
            Ok(definition) => offer.definitions.push(definition),
            Err(reason) => {
                offer.refused += 1;
                if offer.refusals.len() < REFUSALS_MAX {
                    offer.refusals.push(Refusal { position, reason: invisible::visible(&reason, REASON_CHARS_MAX) });
                }
            }
        }
    }
    offer
}

/// What the definition says.
pub(super) fn content(kind: ItemKind, definition: &Definition) -> Content {
    // Was read before; what could not be read a second time would claim nothing.
    let value: Value = serde_json::from_str(definition.canonical()).unwrap_or_default();
    let claims = |hint: &str, what: bool| kind == ItemKind::Tool && value["annotations"][hint] == what;
    let read_only = claims("readOnlyHint", true);
    let name_member = match kind {
        ItemKind::Tool | ItemKind::Prompt => Some(definition::name_member(kind.wire())),
        ItemKind::Resource | ItemKind::ResourceTemplate => None,
    };
    Content {
        read_only,
        additive: !read_only && claims("destructiveHint", false),
        flags: flags::of(&value, name_member),
    }
}

/// What Postgres can hold.
fn acceptable(definition: Definition) -> Result<Definition, String> {
    match definition.name() {
        name if name.len() > NAME_BYTES_MAX => Err(format!("its name has more than {NAME_BYTES_MAX} bytes")),
        name if name.contains('\0') => Err("its name holds the character U+0000".to_owned()),
        _ => Ok(definition),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn offer(entries: &[&str]) -> (Vec<String>, Vec<String>) {
        let entries: Vec<_> = entries.iter().map(|entry| entry.as_bytes().to_vec()).collect();
        let offer = read(ItemKind::Tool, &entries);
        let names = offer.definitions.iter().map(|definition| definition.name().to_owned()).collect();
        (names, offer.refusals.into_iter().map(|refusal| format!("{} {}", refusal.position, refusal.reason)).collect())
    }

    #[test]
    fn what_is_no_definition_is_refused_with_a_reason_and_the_others_are_read() {
        let long = json!({ "name": "x".repeat(NAME_BYTES_MAX + 1) }).to_string();
        let deep = format!("{}{}", r#"{"name":"deep","a":"#, "[".repeat(100_000));
        let large = json!({ "name": "large", "a": "x".repeat(definition::DEFINITION_BYTES_MAX) }).to_string();
        let (names, refused) = offer(&[
            r#"{"name":"echo"}"#,
            "",
            "[]",
            r#"{"name":""}"#,
            r#"{"name":"echo","title":"other"}"#,
            r#"{"name":"a\u0000b"}"#,
            &long,
            &deep,
            &large,
            r#"{"name":"add"}"#,
        ]);
        assert_eq!(names, ["echo", "add"]);
        let positions: Vec<_> =
            refused.iter().map(|refused| refused.split_once(' ').map_or("", |(at, _)| at)).collect();
        assert_eq!(positions, ["1", "2", "3", "4", "5", "6", "7", "8"], "{refused:?}");
        assert_eq!(refused[3], "4 another one before it has the same name");
    }

    #[test]
    fn a_list_without_end_is_cut_and_says_so() {
        let entries: Vec<_> =
            (0..OFFERED_MAX + 100).map(|name| format!(r#"{{"name":"t{name}"}}"#).into_bytes()).collect();
        let offer = read(ItemKind::Tool, &entries);
        assert_eq!((offer.definitions.len(), offer.refused, offer.refusals.len()), (OFFERED_MAX, 100, REFUSALS_MAX));
    }

    #[test]
    fn only_tools_claim_anything_and_what_changes_nothing_is_not_additive() {
        for (kind, annotations, expected) in [
            (ItemKind::Tool, json!({}), (false, false)),
            (ItemKind::Tool, json!({ "readOnlyHint": true, "destructiveHint": false }), (true, false)),
            (ItemKind::Tool, json!({ "destructiveHint": false }), (false, true)),
            (ItemKind::Tool, json!({ "readOnlyHint": "true", "destructiveHint": 0 }), (false, false)),
            (ItemKind::Prompt, json!({ "readOnlyHint": true }), (false, false)),
        ] {
            let json = json!({ "name": "x", "annotations": annotations }).to_string();
            let definition = Definition::read(kind.wire(), json.as_bytes()).expect("a definition");
            let content = content(kind, &definition);
            assert_eq!((content.read_only, content.additive), expected, "{json}");
        }
    }
}
