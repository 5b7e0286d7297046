//! Text that others wrote, as people see it: without a character that has no glyph of its own or changes how its
//! neighbours are shown. There is one way to write such text on one line, one for several lines, and one for JSON.
//!
//! Invariant: what people are to judge is never shown with such a character in it, but with its number in its place.

use std::fmt::Write as _;

/// Whether a reader cannot see the character for what it is. Controls; what Unicode 16 lists as
/// `Default_Ignorable_Code_Point` (zero width, bidirectional, tags, fillers, variation selectors); what else formats, and
/// what is drawn as nothing.
#[must_use]
pub fn is_deceptive(char: char) -> bool {
    let is_ignorable = matches!(char,
        '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}' | '\u{180B}'..='\u{180F}' |
        '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{3164}' |
        '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFF8}' | '\u{1BCA0}'..='\u{1BCA3}' |
        '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}');
    // Separators of lines, annotations and the place of an object; controls of hieroglyphs.
    let formats = matches!(char, '\u{2028}'..='\u{2029}' | '\u{FFF9}'..='\u{FFFC}' | '\u{13430}'..='\u{1343F}');
    // Blanks: of Braille, hieroglyphs, Khitan, music.
    let is_blank = matches!(char, '\u{2800}' | '\u{13441}'..='\u{13442}' | '\u{16FE4}' | '\u{1D159}');
    char.is_control() || is_ignorable || formats || is_blank
}

/// The text on one line, with each such character as `‹U+202E›`, cut after `chars_max` characters.
#[must_use]
pub fn visible(text: &str, chars_max: usize) -> String {
    let mut shown = String::with_capacity(text.len());
    for (index, char) in text.chars().enumerate() {
        if index == chars_max {
            shown.push('…');
            break;
        }
        push(&mut shown, char, is_deceptive(char));
    }
    shown
}

/// The same of a text whose line breaks and tabs are its own, and which may have pictures in it.
#[must_use]
pub fn visible_lines(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for (at, char) in text.char_indices() {
        // Half of a line break.
        if char == '\r' && text[at + 1..].starts_with('\n') {
            continue;
        }
        push(&mut shown, char, is_deceptive(char) && !matches!(char, '\n' | '\t') && !joins_pictures(text, at));
    }
    shown
}

/// JSON that says the same, with an escape (RFC 8259 section 7) for each such character in its strings.
#[must_use]
pub fn visible_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for char in json.chars() {
        // JSON has line breaks between its values alone.
        if char == '\n' { shown.push(char) } else { push_json(&mut shown, char) }
    }
    shown
}

/// A character of a JSON string, or the escape that stands for it.
pub(crate) fn push_json(shown: &mut String, char: char) {
    if is_deceptive(char) {
        for unit in char.encode_utf16(&mut [0; 2]) {
            write!(shown, "\\u{unit:04x}").expect("writing to a string cannot fail");
        }
    } else {
        shown.push(char);
    }
}

/// Whether the character at this place makes one picture of its neighbours, in which it is seen: what stands between two
/// pictures, or behind the one that it selects.
pub(crate) fn joins_pictures(text: &str, at: usize) -> bool {
    let mut rest = text[at..].chars();
    let (char, next) = (rest.next(), rest.next());
    let mut before = text[..at].chars().rev();
    match char {
        Some('\u{FE0F}') => before.next().is_some_and(|before| {
            is_picture(before) || matches!(before, '#' | '*' | '0'..='9') && next == Some('\u{20E3}')
        }),
        Some('\u{200D}') => {
            let before = before.find(|before| !matches!(before, '\u{FE0F}' | '\u{1F3FB}'..='\u{1F3FF}'));
            before.is_some_and(is_picture) && next.is_some_and(is_picture)
        }
        _ => false,
    }
}

const fn is_picture(char: char) -> bool {
    matches!(char,
        '\u{A9}' | '\u{AE}' | '\u{203C}' | '\u{2049}' | '\u{2122}' | '\u{2139}' | '\u{2194}'..='\u{21AA}' |
        '\u{231A}'..='\u{23FF}' | '\u{24C2}' | '\u{25AA}'..='\u{27BF}' | '\u{2934}'..='\u{2935}' |
        '\u{2B05}'..='\u{2B55}' | '\u{3030}' | '\u{303D}' | '\u{3297}' | '\u{3299}' | '\u{1F000}'..='\u{1FAFF}')
}

fn push(shown: &mut String, char: char, is_hidden: bool) {
    if is_hidden {
        write!(shown, "‹U+{:04X}›", u32::from(char)).expect("writing to a string cannot fail");
    } else {
        shown.push(char);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_as_nothing_is_told_from_letters_and_spaces() {
        for hidden in
            "\u{0}\u{9b}\u{ad}\u{115f}\u{2028}\u{202e}\u{2800}\u{3164}\u{fff0}\u{fffc}\u{1bca0}\u{1d159}\u{1d173}\
                       \u{13441}\u{16fe4}\u{e0041}\u{e0fff}"
                .chars()
        {
            assert!(is_deceptive(hidden), "U+{:04X}", u32::from(hidden));
        }
        for shown in " a\u{a0}é–東\u{3000}ㅎ\u{600}\u{2801}☎👩".chars() {
            assert!(!is_deceptive(shown), "U+{:04X}", u32::from(shown));
        }
    }

    #[test]
    fn a_name_stays_on_its_line_and_a_text_has_lines() {
        let said = "a\tb\r\nc\rd\u{9b}2J\u{202e}e ☎\u{FE0F} 👩🏽\u{200D}💻 a\u{200D}b 1\u{FE0F}\u{20E3}1\u{FE0F}";
        assert_eq!(
            visible(said, 12),
            "a‹U+0009›b‹U+000D›‹U+000A›c‹U+000D›d‹U+009B›2J‹U+202E›…",
            "cut after twelve characters"
        );
        assert_eq!(
            visible_lines(said),
            "a\tb\nc‹U+000D›d‹U+009B›2J‹U+202E›e ☎\u{FE0F} 👩🏽\u{200D}💻 a‹U+200D›b 1\u{FE0F}\u{20E3}1‹U+FE0F›"
        );
    }

    #[test]
    fn json_says_the_same_in_characters_that_are_seen() {
        let said = serde_json::json!({ "na\u{202e}me": "\u{9b}31m\u{7f}\u{e0041}\n", "list": [1] });
        let shown = visible_json(&format!("{said:#}"));
        assert!(shown.contains(r#""na\u202eme": "\u009b31m\u007f\udb40\udc41\n""#), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).expect("JSON"), said);
    }
}
