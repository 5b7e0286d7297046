//! Conditions on arguments, compiled once.
//!
//! Invariant: an argument that is not there, or is of another kind than the test, fails; and no expression takes more
//! than time in proportion to the text that it is tried on.

use std::{collections::HashMap, fmt};

use regex::{Regex, RegexBuilder};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::pointer::{Pointer, PointerError};
use crate::policy::v1::{self as wire, condition::Test as Sent};

/// What one compiled expression may take.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// What one argument must be.
#[derive(Debug)]
pub(super) struct Condition {
    pointer: Pointer,
    test: Test,
}

#[derive(Debug)]
enum Test {
    OneOf(Box<[Value]>),
    Prefix(Box<str>),
    Matches(Regex),
    Range { min: f64, max: f64 },
}

/// Why a condition cannot be tested.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// The pointer is none.
    #[error("pointer `{0}`: {1}")]
    Pointer(String, PointerError),
    /// What is compared with is no JSON.
    #[error("`{0}` is no JSON value")]
    Json(String),
    /// Nothing would pass.
    #[error("it lists no value")]
    NoValue,
    /// The expression is none, or too large.
    #[error("`{0}` is no regular expression that can be used: {1}")]
    Expression(String, String),
    /// The range has no end, or none that numbers could be between.
    #[error("its range is open at both ends, or empty")]
    Range,
    /// None, or one of a later version.
    #[error("its test is none that this version knows")]
    Unknown,
}

/// Expressions that were compiled already: many grants say the same.
#[derive(Debug, Default)]
pub(super) struct Expressions(HashMap<String, Regex>);

impl wire::Condition {
    /// Whether it can be tested.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn check(&self) -> Result<(), ConditionError> {
        Condition::read(self, &mut Expressions::default()).map(drop)
    }
}

impl Condition {
    pub(super) fn read(sent: &wire::Condition, expressions: &mut Expressions) -> Result<Self, ConditionError> {
        let pointer =
            Pointer::parse(&sent.pointer).map_err(|fault| ConditionError::Pointer(sent.pointer.clone(), fault))?;
        let json = |text: &String| serde_json::from_str(text).map_err(|_| ConditionError::Json(text.clone()));
        let test = match sent.test.as_ref().ok_or(ConditionError::Unknown)? {
            Sent::Equals(value) => Test::OneOf(Box::new([json(value)?])),
            Sent::OneOf(list) if list.values.is_empty() => return Err(ConditionError::NoValue),
            Sent::OneOf(list) => Test::OneOf(list.values.iter().map(json).collect::<Result<_, _>>()?),
            Sent::Prefix(prefix) => Test::Prefix(prefix.as_str().into()),
            Sent::Matches(expression) => Test::Matches(expressions.get(expression)?),
            Sent::Range(wire::NumberRange { min: None, max: None }) => return Err(ConditionError::Range),
            Sent::Range(wire::NumberRange { min, max }) => {
                let (min, max) = (min.unwrap_or(f64::NEG_INFINITY), max.unwrap_or(f64::INFINITY));
                // Not so with a NaN either.
                if min <= max { Test::Range { min, max } } else { return Err(ConditionError::Range) }
            }
        };
        Ok(Self { pointer, test })
    }

    /// Where the argument is.
    pub(super) fn pointer(&self) -> &str {
        self.pointer.as_str()
    }

    /// Whether the arguments, an object as JSON, pass.
    pub(super) fn holds(&self, arguments: &[u8]) -> bool {
        self.pointer.find(arguments).is_some_and(|value| self.test.passes(value.get()))
    }
}

impl Test {
    fn passes(&self, value: &str) -> bool {
        let read = |seed| read(value, seed);
        match self {
            Self::OneOf(values) => values.iter().any(|expected| read(Seed::Same(expected))),
            Self::Prefix(prefix) => read(Seed::Text(&|text| text.starts_with(&**prefix))),
            Self::Matches(expression) => read(Seed::Text(&|text| expression.is_match(text))),
            Self::Range { min, max } => {
                serde_json::from_str::<f64>(value).is_ok_and(|number| (*min..=*max).contains(&number))
            }
        }
    }
}

impl Expressions {
    fn get(&mut self, expression: &str) -> Result<Regex, ConditionError> {
        if let Some(compiled) = self.0.get(expression) {
            return Ok(compiled.clone());
        }
        let compiled = RegexBuilder::new(expression).size_limit(REGEX_BYTES_MAX).build();
        let compiled =
            compiled.map_err(|error| ConditionError::Expression(expression.to_owned(), error.to_string()))?;
        self.0.insert(expression.to_owned(), compiled.clone());
        Ok(compiled)
    }
}

fn read(value: &str, seed: Seed<'_>) -> bool {
    let mut value = serde_json::Deserializer::from_str(value);
    seed.deserialize(&mut value).unwrap_or(false)
}

/// What a value is read for, without keeping it.
#[derive(Clone, Copy)]
enum Seed<'t> {
    /// Whether it is the same: numbers by value, objects whatever the order of their members.
    Same(&'t Value),
    /// Whether it is a string that passes.
    Text(&'t dyn Fn(&str) -> bool),
}

impl Seed<'_> {
    fn number(self, is_same: impl Fn(&Number) -> bool) -> bool {
        matches!(self, Self::Same(Value::Number(expected)) if is_same(expected))
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

#[allow(clippy::cast_precision_loss, reason = "a number with a fraction is compared as what it is: a double")]
impl<'de> Visitor<'de> for Seed<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value that is expected")
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(matches!(self, Self::Same(Value::Null)))
    }

    fn visit_bool<E>(self, value: bool) -> Result<bool, E> {
        Ok(matches!(self, Self::Same(Value::Bool(expected)) if *expected == value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<bool, E> {
        Ok(self.number(|it| if it.is_f64() { it.as_f64() == Some(value as f64) } else { it.as_u64() == Some(value) }))
    }

    fn visit_i64<E>(self, value: i64) -> Result<bool, E> {
        Ok(self.number(|it| if it.is_f64() { it.as_f64() == Some(value as f64) } else { it.as_i64() == Some(value) }))
    }

    fn visit_f64<E>(self, value: f64) -> Result<bool, E> {
        Ok(self.number(|it| it.as_f64() == Some(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<bool, E> {
        Ok(match self {
            Self::Same(expected) => expected.as_str() == Some(value),
            Self::Text(passes) => passes(value),
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<bool, A::Error> {
        let Self::Same(Value::Array(expected)) = self else { return Ok(false) };
        for expected in expected {
            if elements.next_element_seed(Self::Same(expected))? != Some(true) {
                return Ok(false);
            }
        }
        Ok(elements.next_element_seed(Self::Same(&Value::Null))?.is_none())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<bool, A::Error> {
        let Self::Same(Value::Object(expected)) = self else { return Ok(false) };
        let mut found = 0;
        while let Some(value) = members.next_key_seed(MemberOf(expected))? {
            let Some(value) = value else { return Ok(false) };
            if !members.next_value_seed(Seed::Same(value))? {
                return Ok(false);
            }
            found += 1;
        }
        Ok(found == expected.len())
    }
}

/// What is expected under a key.
struct MemberOf<'t>(&'t Map<String, Value>);

impl<'de, 't> DeserializeSeed<'de> for MemberOf<'t> {
    type Value = Option<&'t Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'t> Visitor<'_> for MemberOf<'t> {
    type Value = Option<&'t Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.get(key))
    }
}

#[cfg(test)]
mod tests;
