//! Patterns of names and URIs: literal text and stars, each of which stands for any text, none included.
//!
//! Invariant: no two stars stand side by side, so that a pattern is written in one way only.

use std::{fmt, str::FromStr};

/// What names are compared with.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern {
    /// What stands before, between and behind the stars: one more than there are stars, and only the first and the last
    /// may be empty.
    pub(super) parts: Box<[Box<str>]>,
}

/// A text that is no pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// There is nothing.
    #[error("it is empty")]
    Empty,
    /// Two stars side by side.
    #[error("one `*` is enough: it stands for any text")]
    Stars,
    /// A broken percent sequence, or a byte that must be encoded.
    #[error("percent-encode what is outside the scope alphabet, and nothing else by halves")]
    Encoding,
}

impl Pattern {
    /// What one name alone matches.
    #[must_use]
    pub fn literal(name: &str) -> Self {
        Self { parts: Box::new([name.into()]) }
    }

    /// Whether it matches one name alone.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        self.parts.len() == 1
    }

    /// The name that alone matches, or the pattern back where it has stars.
    pub(super) fn into_literal(self) -> Result<Box<str>, Self> {
        if self.is_literal() { Ok(self.parts.into_vec().swap_remove(0)) } else { Err(self) }
    }

    /// Whether it matches every name.
    #[must_use]
    pub fn is_anything(&self) -> bool {
        matches!(&*self.parts, [first, last] if first.is_empty() && last.is_empty())
    }

    /// Whether a name is called so.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.fits(std::iter::once(name))
    }

    /// Whether everything that `other` matches is matched by `self` too.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.fits(other.parts.iter().map(AsRef::as_ref))
    }

    /// Whether any text is matched by both.
    #[must_use]
    pub fn meets(&self, other: &Self) -> bool {
        let starts_alike = |one: &str, two: &str| one.starts_with(two) || two.starts_with(one);
        let ends_alike = |one: &str, two: &str| one.ends_with(two) || two.ends_with(one);
        match (&*self.parts, &*other.parts) {
            ([name], _) => other.matches(name),
            (_, [name]) => self.matches(name),
            // What is between the ends can be put one behind the other.
            ([first, .., last], [head, .., tail]) => starts_alike(first, head) && ends_alike(last, tail),
            _ => false,
        }
    }

    /// Whether the parts are found, in this order, in pieces with stars between them.
    fn fits<'a>(&self, pieces: impl ExactSizeIterator<Item = &'a str>) -> bool {
        let end = pieces.len() - 1;
        let [first, between @ .., last] = &*self.parts else {
            return end == 0 && self.parts.iter().map(AsRef::as_ref).eq(pieces);
        };
        let mut between = between.iter().peekable();
        for (index, mut piece) in pieces.enumerate() {
            if index == 0 {
                let Some(rest) = piece.strip_prefix(&**first) else { return false };
                piece = rest;
            }
            if index == end {
                let Some(rest) = piece.strip_suffix(&**last) else { return false };
                piece = rest;
            }
            while let Some(rest) = between.peek().and_then(|part| piece.split_once(&***part)) {
                piece = rest.1;
                between.next();
            }
        }
        between.peek().is_none()
    }

    /// Writes it where a label could stand in its place.
    pub(super) fn write_unlabelled(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, rest) = self.parts.split_first().expect("a pattern has a part");
        write_unlabelled(f, first)?;
        rest.iter().try_for_each(|part| {
            f.write_str("*")?;
            write_literal(f, part)
        })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.parts.iter().enumerate() {
            if index > 0 {
                f.write_str("*")?;
            }
            write_literal(f, part)?;
        }
        Ok(())
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.contains("**") {
            return Err(PatternError::Stars);
        }
        let parts = text.split('*').map(|part| decode(part).ok_or(PatternError::Encoding));
        Ok(Self { parts: parts.collect::<Result<_, _>>()? })
    }
}

/// Writes a name so that it reads neither as a pattern nor, from its start, as a label.
pub(super) fn write_unlabelled(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    match name.strip_prefix('@') {
        Some(rest) => {
            f.write_str("%40")?;
            write_literal(f, rest)
        }
        None => write_literal(f, name),
    }
}

fn write_literal(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    text.bytes().try_for_each(|byte| match byte {
        _ if plain(byte) => write!(f, "{}", char::from(byte)),
        _ => write!(f, "%{byte:02X}"),
    })
}

/// RFC 6749's scope-token alphabet without the percent sign, which introduces an encoded byte, and the star.
const fn plain(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x5B | 0x5D..=0x7E) && !matches!(byte, b'%' | b'*')
}

fn decode(text: &str) -> Option<Box<str>> {
    if text.bytes().all(plain) {
        return Some(text.into());
    }
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            let value = 16 * digit(bytes.next()?)? + digit(bytes.next()?)?;
            decoded.push(u8::try_from(value).ok()?);
        } else if plain(byte) {
            decoded.push(byte);
        } else {
            return None;
        }
    }
    String::from_utf8(decoded).ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_pattern() -> impl Strategy<Value = Pattern> {
        "[ab*]{1,6}".prop_filter_map("two stars", |text| text.parse().ok())
    }

    #[test]
    fn stars_stand_for_any_text() {
        for (pattern, name, fits) in [
            ("get_*", "get_", true),
            ("get_*", "get_issue", true),
            ("get_*", "forget_issue", false),
            ("*_issue", "get_issue", true),
            ("*issue*", "list_issues", true),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*a", "aba", true),
            ("a*b*b*a", "aba", false),
            ("get", "get", true),
            ("get", "gets", false),
            ("*", "", true),
        ] {
            assert_eq!(pattern.parse::<Pattern>().expect("a pattern").matches(name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn what_is_broken_is_no_pattern() {
        for (text, fault) in [
            ("", PatternError::Empty),
            ("a**", PatternError::Stars),
            ("%", PatternError::Encoding),
            ("%4", PatternError::Encoding),
            ("%+4", PatternError::Encoding),
            ("%zz", PatternError::Encoding),
            ("%ff", PatternError::Encoding),
            ("%C3*%A4", PatternError::Encoding),
            ("a b", PatternError::Encoding),
            ("ä", PatternError::Encoding),
        ] {
            assert_eq!(text.parse::<Pattern>(), Err(fault), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_covers_matches_whatever_is_matched(wide in any_pattern(), narrow in any_pattern(), name in "[ab]{0,6}") {
            prop_assert!(wide.covers(&wide));
            prop_assert_eq!(wide.matches(&name), wide.covers(&Pattern::literal(&name)));
            if wide.covers(&narrow) && narrow.matches(&name) {
                prop_assert!(wide.matches(&name), "{} {} {}", wide, narrow, name);
            }
            if wide.covers(&narrow) && narrow.covers(&wide) {
                prop_assert_eq!(&wide, &narrow);
            }
        }

        #[test]
        fn two_meet_where_a_name_is_matched_by_both(one in any_pattern(), two in any_pattern(), name in "[ab]{0,6}") {
            prop_assert_eq!(one.meets(&two), two.meets(&one));
            if one.matches(&name) && two.matches(&name) {
                prop_assert!(one.meets(&two), "{} {} {}", one, two, name);
            }
        }
    }
}
