//! Rules on names: which are usual, and which can be taken for each other.
//!
//! The table of letters is the part of Unicode's confusables (UTS #39) that names of programs can be forged with; what is
//! not in it is still told by its script, or by not being what MCP recommends for a name.
//!
//! Invariant: whoever offers a name first keeps it: only the later one reads like another.

use std::collections::HashMap;

use crate::invisible::is_deceptive;

/// Of a tool's name (MCP 2025-11-25, server/tools).
const USUAL_LEN_MAX: usize = 128;

/// Letters of other scripts, each before the Latin one that it looks like.
const LETTERS: [&str; 3] = [
    // Cyrillic.
    "аa еe оo рp сc уy хx іi јj ѕs һh ԁd ԛq ԝw ӏl вb кk мm нh тt гr пn АA ВB ЕE КK МM НH ОO РP СC ТT УY ХX ІI ЈJ ЅS",
    // Greek.
    "αa βb γy εe ιi κk νv οo ρp τt υu χx ωw ΑA ΒB ΕE ΖZ ΗH ΙI ΚK ΜM ΝN ΟO ΡP ΤT ΥY ΧX",
    // Armenian, and what is left of Latin.
    "օo սu ցg հh ոn ռn ɡg ɑa ıi",
];
/// Latin letters with marks, in the order of Unicode from U+00C0 and U+0100; a hyphen stands for what is no letter.
const LATIN_1: &str = "AAAAAAACEEEEIIIIDNOOOOO-OUUUUYPsaaaaaaaceeeeiiiidnooooo-ouuuuypy";
const LATIN_A: &str = "AaAaAaCcCcCcCcDdDdEeEeEeEeEeGgGgGgGgHhHhIiIiIiIiIiIiJjKkkLlLlLlL\
                       lLlNnNnNnnNnOoOoOoOoRrRrRrSsSsSsSsTtTtTtUuUuUuUuUuUuWwYyYZzZzZzs";

/// Tools by what their names read like.
#[derive(Debug, Default)]
pub(in crate::catalog) struct Neighbours {
    /// Of all servers.
    skeletons: HashMap<String, Vec<Neighbour>>,
    /// Of the same server, where a name in other case can be taken for it as well.
    folded: HashMap<String, Vec<Neighbour>>,
}

#[derive(Debug, Clone)]
struct Neighbour {
    server: String,
    name: String,
}

impl Neighbours {
    /// Adds a tool; `own` is whether it is of the server that is looked at.
    pub(in crate::catalog) fn add(&mut self, server: &str, name: &str, own: bool) {
        let neighbour = Neighbour { server: server.to_owned(), name: name.to_owned() };
        if own {
            self.folded.entry(name.to_lowercase()).or_default().push(neighbour.clone());
            self.folded.entry(skeleton(name).to_lowercase()).or_default().push(neighbour.clone());
        }
        self.skeletons.entry(skeleton(name)).or_default().push(neighbour);
    }

    /// A tool that has another name which reads like this one, as `server:name`.
    pub(in crate::catalog) fn like(&self, name: &str) -> Option<String> {
        let skeleton = skeleton(name);
        let keys = [
            (&self.skeletons, skeleton.clone()),
            (&self.folded, name.to_lowercase()),
            (&self.folded, skeleton.to_lowercase()),
        ];
        let others = keys.iter().filter_map(|(map, key)| map.get(key)).flatten();
        let other = others.into_iter().find(|other| other.name != name)?;
        Some(format!("{}:{}", other.server, other.name))
    }
}

/// Whether MCP recommends such a name.
pub(super) fn is_usual(name: &str) -> bool {
    let is_usual = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte);
    (1..=USUAL_LEN_MAX).contains(&name.len()) && name.bytes().all(is_usual) && !name.ends_with('.')
}

/// The first word with letters of several scripts that are drawn alike. Scripts that are not, as Latin and Han, stand
/// together in honest words.
pub(super) fn mixed(text: &str) -> Option<&str> {
    text.split(|char: char| !char.is_alphanumeric()).find(|word| {
        let mut scripts = word.chars().filter_map(Script::of);
        scripts.next().is_some_and(|first| scripts.any(|script| script != first))
    })
}

/// A letter as the Latin one that it looks like.
pub(super) fn letter(char: char) -> char {
    let table = |letters: &'static str, first: char| {
        let at = usize::try_from(u32::from(char) - u32::from(first)).ok()?;
        letters.as_bytes().get(at).map(|byte| char::from(*byte)).filter(|letter| *letter != '-')
    };
    let looks = match char {
        '\0'..='\u{BF}' => None,
        '\u{C0}'..='\u{FF}' => table(LATIN_1, '\u{C0}'),
        '\u{100}'..='\u{17F}' => table(LATIN_A, '\u{100}'),
        // Full width.
        '\u{FF01}'..='\u{FF5E}' => char::from_u32(u32::from(char) - 0xFEE0),
        _ => LETTERS.iter().flat_map(|pairs| pairs.split(' ')).find_map(|pair| pair.strip_prefix(char)?.chars().next()),
    };
    looks.unwrap_or(char)
}

/// What a name reads like: two names with the same one can be taken for each other.
fn skeleton(name: &str) -> String {
    let seen = name.chars().filter(|char| !is_deceptive(*char) && !is_mark(*char));
    let read = seen.map(|char| match letter(char) {
        'I' | '1' | '|' => 'l',
        '0' => 'O',
        other => other,
    });
    let read: String = read.collect();
    read.trim_matches(|char: char| char.is_whitespace() || char == '.').to_owned()
}

/// Marks that are put on the letter before.
const fn is_mark(char: char) -> bool {
    matches!(char, '\u{300}'..='\u{36F}' | '\u{1AB0}'..='\u{1AFF}' | '\u{20D0}'..='\u{20FF}')
}

/// Scripts with letters that look alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Script {
    Latin,
    Greek,
    Cyrillic,
    Armenian,
    Cherokee,
    FullWidth,
    Mathematical,
}

impl Script {
    const fn of(char: char) -> Option<Self> {
        Some(match char {
            'A'..='Z' | 'a'..='z' | '\u{C0}'..='\u{D6}' | '\u{D8}'..='\u{F6}' | '\u{F8}'..='\u{24F}' => Self::Latin,
            '\u{1E00}'..='\u{1EFF}' => Self::Latin,
            '\u{370}'..='\u{3FF}' | '\u{1F00}'..='\u{1FFF}' => Self::Greek,
            '\u{400}'..='\u{52F}' => Self::Cyrillic,
            '\u{530}'..='\u{58F}' => Self::Armenian,
            '\u{13A0}'..='\u{13FF}' => Self::Cherokee,
            '\u{FF21}'..='\u{FF3A}' | '\u{FF41}'..='\u{FF5A}' => Self::FullWidth,
            '\u{1D400}'..='\u{1D7FF}' => Self::Mathematical,
            _ => return None,
        })
    }
}
