//! Views of validated JSON: slices, and the members of one object or array at a time.
//!
//! Invariant: the bytes of a [`Raw`] were validated, so a view only looks for where the parts end. Nothing is
//! unescaped before someone asks for the text.

use std::{borrow::Cow, fmt};

use bytes::Bytes;

/// One valid JSON value, as it was written. Cloning it copies no bytes. Equal when written alike.
#[derive(Clone, PartialEq, Eq)]
pub struct Raw(Bytes);

/// What a JSON value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `null`.
    Null,
    /// `true` or `false`.
    Boolean,
    /// A number.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

/// The members of one object in their order. No key is there twice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Object {
    members: Vec<(Key, Raw)>,
}

/// A member's key, unescaped.
#[derive(Clone)]
pub struct Key(KeyText);

#[derive(Clone)]
enum KeyText {
    /// A key that has no escapes is a slice of the body.
    Written(Bytes),
    Unescaped(Box<str>),
}

impl Raw {
    /// For bytes that the scanner has accepted or the writer has written.
    pub(super) fn validated(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// The bytes as they were written, without white space around them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as they were written, shared.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        self.0.clone()
    }

    /// What the value is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.0.first() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b't' | b'f') => Kind::Boolean,
            Some(b'n') | None => Kind::Null,
            Some(_) => Kind::Number,
        }
    }

    /// The text of a string, unescaped.
    #[must_use]
    pub fn as_str(&self) -> Option<Cow<'_, str>> {
        if self.kind() != Kind::String {
            return None;
        }
        let written = text(&self.0[1..self.0.len() - 1]);
        Some(if written.contains('\\') { Cow::Owned(unescape(written)) } else { Cow::Borrowed(written) })
    }

    /// The text of a number as it was written.
    #[must_use]
    pub fn as_number(&self) -> Option<&str> {
        (self.kind() == Kind::Number).then(|| text(&self.0))
    }

    /// An integer written without fraction and exponent that fits.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        self.as_number()?.parse().ok()
    }

    /// An integer written without fraction and exponent that fits.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        self.as_number()?.parse().ok()
    }

    /// `true` or `false`.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        (self.kind() == Kind::Boolean).then(|| self.0.first() == Some(&b't'))
    }

    /// The members of an object.
    #[must_use]
    pub fn object(&self) -> Option<Object> {
        if self.kind() != Kind::Object {
            return None;
        }
        let mut members = Vec::new();
        let mut at = next_part(&self.0, 1);
        while self.0[at] != b'}' {
            let key_end = end_of_value(&self.0, at);
            let key = Key::validated(self.0.slice(at + 1..key_end - 1));
            let start = next_part(&self.0, key_end);
            let end = end_of_value(&self.0, start);
            members.push((key, Self(self.0.slice(start..end))));
            at = next_part(&self.0, end);
        }
        Some(Object { members })
    }

    /// The text of an object's member with exactly this key.
    #[must_use]
    pub fn text_of(&self, key: &str) -> Option<Box<str>> {
        self.object()?.get(key)?.as_str().map(Into::into)
    }

    /// The elements of an array.
    #[must_use]
    pub fn array(&self) -> Option<Vec<Self>> {
        if self.kind() != Kind::Array {
            return None;
        }
        let mut elements = Vec::new();
        let mut at = next_part(&self.0, 1);
        while self.0[at] != b']' {
            let end = end_of_value(&self.0, at);
            elements.push(Self(self.0.slice(at..end)));
            at = next_part(&self.0, end);
        }
        Some(elements)
    }
}

impl AsRef<[u8]> for Raw {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Debug for Raw {
    /// Tells what it is and how large, never what it says: values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Raw({:?}, {} bytes)", self.kind(), self.0.len())
    }
}

impl Object {
    /// The value of the member with exactly this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Raw> {
        self.iter().find(|(own, _)| *own == key).map(|(_, value)| value)
    }

    /// The members in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Raw)> {
        self.members.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// How many members there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

impl Key {
    fn validated(written: Bytes) -> Self {
        if written.contains(&b'\\') {
            Self(KeyText::Unescaped(unescape(text(&written)).into()))
        } else {
            Self(KeyText::Written(written))
        }
    }

    /// The key, unescaped.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            KeyText::Written(bytes) => text(bytes),
            KeyText::Unescaped(text) => text,
        }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Key {}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// The four characters of white space that JSON knows.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// The text of a valid string that stands between its quotes.
pub(super) fn unescape(written: &str) -> String {
    let mut text = String::with_capacity(written.len());
    let mut rest = written;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let (character, length) = unescape_one(&rest[at..]);
        text.push(character);
        rest = &rest[at + length..];
    }
    text.push_str(rest);
    text
}

/// The character of the valid escape that `rest` begins with, and the bytes it takes.
fn unescape_one(rest: &str) -> (char, usize) {
    let unit = |at: usize| rest.get(at..at + 4).and_then(|digits| u16::from_str_radix(digits, 16).ok()).unwrap_or(0);
    match rest.as_bytes().get(1) {
        Some(b'b') => ('\u{8}', 2),
        Some(b'f') => ('\u{c}', 2),
        Some(b'n') => ('\n', 2),
        Some(b'r') => ('\r', 2),
        Some(b't') => ('\t', 2),
        Some(b'u') => {
            let decoded = char::decode_utf16([unit(2), unit(8)]).next().and_then(Result::ok);
            let character = decoded.expect("the scanner has refused unpaired surrogates");
            (character, 6 * character.len_utf16())
        }
        other => (other.map_or('\\', |byte| char::from(*byte)), 2),
    }
}

fn text(validated: &[u8]) -> &str {
    std::str::from_utf8(validated).expect("the scanner checks UTF-8, and parts end at ASCII characters")
}

/// Where the next key, value or closing bracket begins.
fn next_part(bytes: &[u8], mut at: usize) -> usize {
    while is_space(bytes[at]) || matches!(bytes[at], b',' | b':') {
        at += 1;
    }
    at
}

/// Where the value that begins at `at` ends.
fn end_of_value(bytes: &[u8], at: usize) -> usize {
    match bytes[at] {
        b'"' => end_of_string(bytes, at),
        b'{' | b'[' => end_of_container(bytes, at),
        _ => {
            let ends = |byte: &u8| is_space(*byte) || matches!(byte, b',' | b']' | b'}');
            bytes[at..].iter().position(ends).map_or(bytes.len(), |length| at + length)
        }
    }
}

fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

fn end_of_container(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = start;
    loop {
        match bytes[at] {
            b'"' => {
                at = end_of_string(bytes, at);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return at;
        }
    }
}
