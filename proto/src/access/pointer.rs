//! JSON Pointers (RFC 6901) into JSON that was validated before.
//!
//! Invariant: what is found is the one value that every reader finds there: the strict reader has refused objects with
//! a key twice.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Where a value is.
#[derive(Debug)]
pub(super) struct Pointer {
    written: Box<str>,
    tokens: Box<[Box<str>]>,
}

/// A text that is no JSON Pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PointerError {
    /// It is not empty, and does not start with a slash.
    #[error("a JSON Pointer starts with `/`")]
    Start,
    /// A tilde that is neither `~0` nor `~1`.
    #[error("`~` is written `~0`, and `/` inside of a name `~1`")]
    Escape,
}

impl Pointer {
    pub(super) fn parse(text: &str) -> Result<Self, PointerError> {
        let tokens = match text.strip_prefix('/') {
            None if text.is_empty() => Box::default(),
            None => return Err(PointerError::Start),
            Some(tokens) => tokens.split('/').map(unescaped).collect::<Result<_, _>>()?,
        };
        Ok(Self { written: text.into(), tokens })
    }

    pub(super) fn as_str(&self) -> &str {
        &self.written
    }

    /// The value that is there.
    pub(super) fn find<'a>(&self, document: &'a [u8]) -> Option<&'a RawValue> {
        let document = serde_json::from_slice(document).ok();
        self.tokens.iter().try_fold(document?, |value: &'a RawValue, token| {
            serde_json::Deserializer::from_str(value.get()).deserialize_any(Child(token)).ok().flatten()
        })
    }
}

fn unescaped(token: &str) -> Result<Box<str>, PointerError> {
    let mut parts = token.split('~');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (character, rest) = match part.as_bytes().first() {
            Some(b'0') => ('~', &part[1..]),
            Some(b'1') => ('/', &part[1..]),
            _ => return Err(PointerError::Escape),
        };
        text.push(character);
        text.push_str(rest);
    }
    Ok(text.into())
}

/// The member of an object, or the element of an array, that a reference token names.
struct Child<'t>(&'t str);

impl<'de> Visitor<'de> for Child<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(is_it) = members.next_key_seed(Is(self.0))? {
            if is_it {
                found = Some(members.next_value()?);
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let is_index = self.0 == "0" || (!self.0.starts_with('0') && self.0.bytes().all(|byte| byte.is_ascii_digit()));
        let index = is_index.then(|| self.0.parse::<usize>().ok()).flatten();
        for _ in 0..index.unwrap_or(usize::MAX) {
            if elements.next_element::<IgnoredAny>()?.is_none() {
                return Ok(None);
            }
        }
        let found = elements.next_element()?;
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }
}

/// Whether a key is this one.
struct Is<'t>(&'t str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find<'a>(pointer: &str, document: &'a str) -> Option<&'a str> {
        Pointer::parse(pointer).expect("a pointer").find(document.as_bytes()).map(RawValue::get)
    }

    #[test]
    fn the_examples_of_the_rfc_lead_where_it_says() {
        let document = r#"{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8}"#;
        for (pointer, found) in [
            ("", document),
            ("/foo", r#"["bar","baz"]"#),
            ("/foo/0", r#""bar""#),
            ("/", "0"),
            ("/a~1b", "1"),
            ("/c%d", "2"),
            ("/i\\j", "5"),
            ("/k\"l", "6"),
            ("/ ", "7"),
            ("/m~0n", "8"),
        ] {
            assert_eq!(find(pointer, document), Some(found), "{pointer}");
        }
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        for pointer in ["/b", "/a/-", "/a/00", "/a/01", "/a/+1", "/a/2", "/a/99999999999999999999999", "/a/", "/c/d"] {
            assert_eq!(find(pointer, r#"{"a":[1,2],"c":"d"}"#), None, "{pointer}");
        }
        for document in ["", "{", "null", "\"a\"", r#"{"b":1} x"#] {
            assert_eq!(find("/a", document), None, "{document}");
        }
    }

    #[test]
    fn broken_pointers_are_refused() {
        for (text, fault) in [
            ("a", PointerError::Start),
            ("#/a", PointerError::Start),
            ("/~", PointerError::Escape),
            ("/a~2", PointerError::Escape),
            ("/~~0", PointerError::Escape),
        ] {
            assert_eq!(Pointer::parse(text).map(|_| ()), Err(fault), "{text}");
        }
    }
}
