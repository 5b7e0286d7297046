//! JSON that is read as far as somebody asks for it, and each part of it once.
//!
//! Invariant: what is found somewhere is the one value that every reader finds there: the strict reader has refused
//! objects with a key twice. No integer is rounded.

use std::{
    borrow::{Borrow, Cow},
    cell::OnceCell,
    cmp::Ordering,
    collections::BTreeMap,
};

use serde::{Deserialize, Deserializer};
use serde_json::{Value, value::RawValue};

/// From which on, either side of zero, a double is no [`Number::Integer`]: rounded up, 2 to the power of 127.
const DOUBLE_MIN: f64 = i128::MAX as f64;

/// A value of a document.
#[derive(Debug)]
pub(super) struct Json<'a> {
    text: &'a str,
    /// `None`: it is no JSON.
    content: OnceCell<Option<Box<Content<'a>>>>,
}

/// What a value is. The parts of it are read when somebody asks for them.
#[derive(Debug)]
pub(super) enum Content<'a> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'a, str>),
    Array(Vec<Json<'a>>),
    Object(BTreeMap<Text<'a>, Json<'a>>),
}

/// A string, copied only where it is written with escapes.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A number: an integer as it is, anything else as the double that its text stands for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Number {
    Integer(i128),
    /// With a fraction, or beyond all that the other has room for.
    Double(f64),
}

impl<'a> Json<'a> {
    /// A document, or a part of one, without white space before it.
    pub(super) const fn new(text: &'a str) -> Self {
        Self { text, content: OnceCell::new() }
    }

    /// What it is; `None`: no JSON.
    pub(super) fn content(&self) -> Option<&Content<'a>> {
        self.content.get_or_init(|| Content::read(self.text).map(Box::new)).as_deref()
    }

    /// The member of an object, or the element of an array, that a reference token names (RFC 6901 section 4).
    pub(super) fn child(&self, token: &str) -> Option<&Self> {
        match self.content()? {
            Content::Object(members) => members.get(token),
            Content::Array(elements) => {
                let is_index = token == "0" || token.starts_with(|first: char| matches!(first, '1'..='9'));
                elements.get(token.parse::<usize>().ok().filter(|_| is_index)?)
            }
            _ => None,
        }
    }

    /// Whether it means the same: numbers by value, objects whatever the order of their members.
    pub(super) fn is(&self, expected: &Value) -> bool {
        match (self.content(), expected) {
            (Some(Content::Null), Value::Null) => true,
            (Some(Content::Bool(it)), Value::Bool(expected)) => it == expected,
            (Some(Content::Number(it)), Value::Number(expected)) => Number::of(expected) == Some(*it),
            (Some(Content::Text(it)), Value::String(expected)) => it == expected,
            (Some(Content::Array(it)), Value::Array(expected)) => {
                it.len() == expected.len() && it.iter().zip(expected).all(|(it, expected)| it.is(expected))
            }
            (Some(Content::Object(it)), Value::Object(expected)) => {
                let is_same = |(key, it): (&Text<'_>, &Json<'_>)| expected.get(&*key.0).is_some_and(|same| it.is(same));
                it.len() == expected.len() && it.iter().all(is_same)
            }
            _ => false,
        }
    }

    #[cfg(test)]
    pub(super) const fn text(&self) -> &'a str {
        self.text
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Json<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(deserializer).map(|raw| Self::new(raw.get()))
    }
}

impl<'a> Content<'a> {
    fn read(text: &'a str) -> Option<Self> {
        match text.as_bytes().first()? {
            b'{' => serde_json::from_str(text).map(Self::Object).ok(),
            b'[' => serde_json::from_str(text).map(Self::Array).ok(),
            b'"' => serde_json::from_str(text).map(|Text(text)| Self::Text(text)).ok(),
            b'n' => serde_json::from_str(text).map(|()| Self::Null).ok(),
            b't' | b'f' => serde_json::from_str(text).map(Self::Bool).ok(),
            b'-' | b'0'..=b'9' => Number::read(text).map(Self::Number),
            _ => None,
        }
    }
}

impl Borrow<str> for Text<'_> {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Number {
    fn read(text: &str) -> Option<Self> {
        let integer = || text.parse().ok().map(Self::Integer);
        // As whatever it is compared with was read; what that finds too large for a double is infinite.
        let double = || serde_json::from_str(text).ok().or_else(|| text.parse().ok());
        integer().or_else(|| double().map(|double: f64| double.into()))
    }

    fn of(number: &serde_json::Number) -> Option<Self> {
        number.as_i128().map(Self::Integer).or_else(|| number.as_f64().map(f64::into))
    }
}

impl From<f64> for Number {
    fn from(double: f64) -> Self {
        let is_integer = double.fract() == 0.0 && double.abs() < DOUBLE_MIN;
        if is_integer { Self::Integer(double as i128) } else { Self::Double(double) }
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.partial_cmp(other) == Some(Ordering::Equal)
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        // An integer that is rounded as a double is far from every double that is no integer.
        match (*self, *other) {
            (Self::Integer(one), Self::Integer(two)) => Some(one.cmp(&two)),
            (Self::Double(one), Self::Double(two)) => one.partial_cmp(&two),
            (Self::Integer(one), Self::Double(two)) => (one as f64).partial_cmp(&two),
            (Self::Double(one), Self::Integer(two)) => one.partial_cmp(&(two as f64)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_not_read_again_and_what_nobody_asked_for_is_not_read() {
        let document = Json::new(r#"{"a":[1,"x"],"b":{"c":1}}"#);
        let element = || document.child("a").and_then(|a| a.child("1")).expect("an element");
        assert!(std::ptr::eq(element(), element()));
        let other = document.child("b").expect("a member");
        assert!(other.content.get().is_none() && document.content.get().is_some());
    }

    #[test]
    fn numbers_are_ordered_by_what_they_are() {
        let texts = [
            "-1e999",
            "-170141183460469231731687303715884105728",
            "-9223372036854775809",
            "-1.5",
            "0",
            "0.5",
            "1.0",
            "9007199254740993",
            "9007199254740994.0",
            "18446744073709551616",
            "18446744073709551617",
            "99999999999999999999999999999999",
            "1e38",
            "1e300",
        ];
        let numbers = texts.map(|text| Number::read(text).expect("a number"));
        assert!(numbers.is_sorted() && numbers.windows(2).all(|pair| pair[0] != pair[1]), "{numbers:?}");
    }
}
