//! Characters that have no glyph of their own or change how their neighbours are shown.
//!
//! Invariant: what people are to judge is never shown with such a character in it, but with its number in its place.

use std::fmt::Write as _;

/// Whether a reader cannot see the character for what it is: controls, zero width, bidirectional, tags, fillers,
/// variation selectors.
#[must_use]
pub fn is_deceptive(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}' |
            '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' |
            '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF9}'..='\u{FFFB}' |
            '\u{E0000}'..='\u{E0FFF}')
}

/// The text with each such character as `‹U+202E›`, cut after `chars_max` characters.
#[must_use]
pub fn visible(text: &str, chars_max: usize) -> String {
    let mut shown = String::with_capacity(text.len());
    for (index, char) in text.chars().enumerate() {
        if index == chars_max {
            shown.push('…');
            break;
        }
        if is_deceptive(char) {
            write!(shown, "‹U+{:04X}›", u32::from(char)).expect("writing to a string cannot fail");
        } else {
            shown.push(char);
        }
    }
    shown
}
