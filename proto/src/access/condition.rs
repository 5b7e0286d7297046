//! Conditions on arguments, compiled once.
//!
//! Invariant: an argument that is not there, or is of another kind than the test, fails; and no expression takes more
//! than time in proportion to the text that it is tried on.

use std::{collections::HashMap, sync::Arc};

use regex::{Regex, RegexBuilder};
use serde_json::Value;

use super::{
    json::{Content, Json, Number},
    pointer::{Pointer, PointerError},
};
use crate::policy::v1::{self as wire, condition::Test as Sent};

/// What one compiled expression may take.
const REGEX_BYTES_MAX: usize = 1 << 20;
/// What one may take besides while it is tried, for each thread that does.
const REGEX_CACHE_BYTES_MAX: usize = 256 << 10;

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
    Matches(Arc<Regex>),
    Range { min: Number, max: Number },
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

/// Compiled expressions by their text.
pub(super) type Expressions = HashMap<String, Arc<Regex>>;

/// Compiles each expression once: many grants say the same, and so did the policy before.
#[derive(Debug)]
pub(super) struct Compiler<'b> {
    before: &'b Expressions,
    pub(super) compiled: Expressions,
}

impl wire::Condition {
    /// Whether it can be tested.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn check(&self) -> Result<(), ConditionError> {
        Condition::read(self, &mut Compiler::new(&Expressions::new())).map(drop)
    }
}

impl Condition {
    pub(super) fn read(sent: &wire::Condition, compiler: &mut Compiler<'_>) -> Result<Self, ConditionError> {
        let pointer =
            Pointer::parse(&sent.pointer).map_err(|fault| ConditionError::Pointer(sent.pointer.clone(), fault))?;
        let json = |text: &String| serde_json::from_str(text).map_err(|_| ConditionError::Json(text.clone()));
        let test = match sent.test.as_ref().ok_or(ConditionError::Unknown)? {
            Sent::Equals(value) => Test::OneOf(Box::new([json(value)?])),
            Sent::OneOf(list) if list.values.is_empty() => return Err(ConditionError::NoValue),
            Sent::OneOf(list) => Test::OneOf(list.values.iter().map(json).collect::<Result<_, _>>()?),
            Sent::Prefix(prefix) => Test::Prefix(prefix.as_str().into()),
            Sent::Matches(expression) => Test::Matches(compiler.compile(expression)?),
            Sent::Range(wire::NumberRange { min: None, max: None }) => return Err(ConditionError::Range),
            Sent::Range(wire::NumberRange { min, max }) => {
                let (min, max) = (min.unwrap_or(f64::NEG_INFINITY), max.unwrap_or(f64::INFINITY));
                // Not so with a NaN either.
                if min <= max {
                    Test::Range { min: min.into(), max: max.into() }
                } else {
                    return Err(ConditionError::Range);
                }
            }
        };
        Ok(Self { pointer, test })
    }

    /// Where the argument is.
    pub(super) fn pointer(&self) -> &str {
        self.pointer.as_str()
    }

    /// Whether the arguments pass.
    pub(super) fn holds(&self, arguments: &Json<'_>) -> bool {
        self.pointer.find(arguments).is_some_and(|value| self.test.passes(value))
    }
}

impl Test {
    fn passes(&self, value: &Json<'_>) -> bool {
        match (self, value.content()) {
            (Self::OneOf(values), _) => values.iter().any(|expected| value.is(expected)),
            (Self::Prefix(prefix), Some(Content::Text(text))) => text.starts_with(&**prefix),
            (Self::Matches(expression), Some(Content::Text(text))) => expression.is_match(text),
            (Self::Range { min, max }, Some(Content::Number(number))) => (*min..=*max).contains(number),
            _ => false,
        }
    }
}

impl<'b> Compiler<'b> {
    pub(super) fn new(before: &'b Expressions) -> Self {
        Self { before, compiled: Expressions::new() }
    }

    fn compile(&mut self, expression: &str) -> Result<Arc<Regex>, ConditionError> {
        let known = self.compiled.get(expression).or_else(|| self.before.get(expression)).cloned();
        let compile = || {
            let limited =
                RegexBuilder::new(expression).size_limit(REGEX_BYTES_MAX).dfa_size_limit(REGEX_CACHE_BYTES_MAX).build();
            limited.map(Arc::new).map_err(|error| ConditionError::Expression(expression.to_owned(), error.to_string()))
        };
        let compiled = known.map_or_else(compile, Ok)?;
        self.compiled.entry(expression.to_owned()).or_insert_with(|| Arc::clone(&compiled));
        Ok(compiled)
    }
}

#[cfg(test)]
mod tests;
