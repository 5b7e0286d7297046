//! JSON Pointers (RFC 6901).
//!
//! Invariant: a pointer leads to one value at most.

use super::json::Json;

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
    pub(super) fn find<'d, 'a>(&self, document: &'d Json<'a>) -> Option<&'d Json<'a>> {
        self.tokens.iter().try_fold(document, |value, token| value.child(token))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn find<'a>(pointer: &str, document: &'a str) -> Option<&'a str> {
        Pointer::parse(pointer).expect("a pointer").find(&Json::new(document)).map(Json::text)
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
