//! Rules on texts: what nobody sees, and what speaks to a model.
//!
//! Invariant: a phrase is found however it is spelt: in capitals, with other white space, with invisible characters
//! between its letters, or with letters of other scripts in it.

use super::names;
use crate::invisible::{is_deceptive, joins_pictures};

/// Characters shown on either side of what was found.
const AROUND: usize = 60;

/// Texts that give orders to a model, in lower case. What makes them suspicious stands above each group.
const PHRASES: &[&str] = &[
    // Marks that set an order apart from a description.
    "<important>",
    "</important>",
    "<system>",
    "<instructions>",
    "<secret>",
    "<|im_start|>",
    "<|system|>",
    "[system]",
    "[inst]",
    "<!--",
    "system prompt",
    // Taking the place of other orders.
    "ignore previous",
    "ignore all previous",
    "ignore any previous",
    "ignore prior",
    "ignore the above",
    "ignore your",
    "disregard previous",
    "disregard all",
    "disregard the above",
    "disregard your",
    "forget previous",
    "forget everything",
    "forget your instructions",
    "override previous",
    "new instructions:",
    // Keeping people from knowing.
    "do not tell the user",
    "don't tell the user",
    "never tell the user",
    "do not inform the user",
    "do not show the user",
    "do not mention",
    "don't mention",
    "without telling the user",
    "without informing the user",
    "keep this secret",
    // Reaching into what other tools do.
    "before using this tool",
    "before calling this tool",
    "before using any",
    "before calling any",
    "you must first",
    "you must call",
    "always call this",
    "always use this tool",
    "instead of calling",
    "do not use any other tool",
    // Things that no description needs.
    "~/.ssh",
    "id_rsa",
    ".aws/credentials",
    "/etc/passwd",
    "exfiltrate",
];

/// Where the first character that nobody sees is. Line breaks and tabs are none, and neither is what emoji are joined
/// with.
pub(super) fn invisible(text: &str) -> Option<&str> {
    let is_hidden = |&(at, char): &(usize, char)| {
        is_deceptive(char) && !matches!(char, '\n' | '\r' | '\t') && !joins_pictures(text, at)
    };
    text.char_indices().find(is_hidden).map(|(at, _)| around(text, at))
}

/// Where the first order to a model is.
pub(super) fn instruction(text: &str) -> Option<&str> {
    let (plain, places) = plain(text);
    let at = PHRASES.iter().filter_map(|phrase| plain.find(phrase)).min()?;
    Some(around(text, places[at]))
}

/// The text in lower case with single spaces and without what nobody sees, and for each of its bytes where that was.
fn plain(text: &str) -> (String, Vec<usize>) {
    let (mut plain, mut places) = (String::with_capacity(text.len()), Vec::with_capacity(text.len()));
    for (at, char) in text.char_indices() {
        if char.is_whitespace() {
            if !plain.ends_with(' ') {
                plain.push(' ');
            }
        } else if !is_deceptive(char) {
            let char = if char == '’' { '\'' } else { char };
            plain.extend(char.to_lowercase().map(names::letter));
        }
        places.resize(plain.len(), at);
    }
    (plain, places)
}

fn around(text: &str, at: usize) -> &str {
    let start = text[..at].char_indices().rev().nth(AROUND - 1).map_or(0, |(start, _)| start);
    let end = text[at..].char_indices().nth(AROUND).map_or(text.len(), |(end, _)| at + end);
    &text[start..end]
}
