//! What arguments must be like for a grant to count: as people write it, and as data planes are told.
//!
//! Invariant: what is stored can be evaluated. A pattern that does not compile, or a test that nothing could pass, is
//! refused when it is written.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Number, Value};
use tollgate_proto::{
    access::ConditionError,
    policy::v1::{self as wire, condition::Test},
};
use utoipa::ToSchema;

use crate::error::Faults;

const CONDITIONS_MAX: usize = 20;
const POINTER_BYTES_MAX: usize = 256;
const VALUES_MAX: usize = 100;
const TEXT_BYTES_MAX: usize = 1_024;

/// What one argument of a tool call or prompt must be like: exactly one test. An argument that is not there, or is of
/// another kind than the test speaks of, fails it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ArgumentCondition {
    /// Which argument: a JSON Pointer (RFC 6901) into the arguments.
    #[schema(example = "/path")]
    pub pointer: String,
    /// It is this value.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    pub equals: Option<Value>,
    /// It is one of these values, 1 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1, max_items = 100)]
    pub r#in: Option<Vec<Value>>,
    /// It is a text that begins so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "/srv/public/")]
    pub prefix: Option<String>,
    /// It is a text in which this regular expression matches somewhere; `^` and `$` tie it to the ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matches: Option<String>,
    /// It is a number in this range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<ArgumentRange>,
}

/// A range of numbers. Both ends are in it; one that is left out is open.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ArgumentRange {
    /// The least number.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub min: Option<Number>,
    /// The greatest number.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub max: Option<Number>,
}

/// Notes what is wrong with the conditions of a grant.
pub(super) fn check(conditions: &[ArgumentCondition], faults: &mut Faults) {
    if conditions.len() > CONDITIONS_MAX {
        faults.add("/spec/conditions", "too_many", format!("at most {CONDITIONS_MAX} conditions"));
        return;
    }
    for (index, condition) in conditions.iter().enumerate() {
        condition.check(&format!("/spec/conditions/{index}"), faults);
    }
}

impl ArgumentCondition {
    fn check(&self, at: &str, faults: &mut Faults) {
        if !is_pointer(&self.pointer) {
            let detail = "write a JSON pointer into the arguments, as in `/path` or `/filter/0/name`";
            faults.add(format!("{at}/pointer"), "json_pointer", detail);
        }
        let Some(test) = self.test() else {
            let detail = "name exactly one of `equals`, `in`, `prefix`, `matches` and `range`";
            faults.add(at, "exactly_one", detail);
            return;
        };
        self.check_numbers(at, faults);
        match test {
            Test::Equals(_) => {}
            Test::OneOf(values) if values.values.is_empty() => {
                faults.add(format!("{at}/in"), "required", "name at least one value");
            }
            Test::OneOf(values) if values.values.len() > VALUES_MAX => {
                faults.add(format!("{at}/in"), "too_many", format!("at most {VALUES_MAX} values"));
            }
            Test::OneOf(_) => {}
            Test::Prefix(text) => check_length(&format!("{at}/prefix"), &text, faults),
            Test::Matches(text) => {
                check_length(&format!("{at}/matches"), &text, faults);
                if let Err(ConditionError::Expression(_, why)) = wire::Condition::from(self).check() {
                    // Of several lines: the first ones point into the expression, the last one says what is wrong.
                    let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
                    faults.add(
                        format!("{at}/matches"),
                        "regex",
                        format!("no regular expression that can be used: {why}"),
                    );
                }
            }
            Test::Range(range) => check_range(&format!("{at}/range"), range, faults),
        }
    }

    /// Integers of arguments are compared as they are: one that was rounded when it was read would be another one.
    fn check_numbers(&self, at: &str, faults: &mut Faults) {
        let listed = self.r#in.iter().flatten().enumerate().map(|(index, value)| (format!("{at}/in/{index}"), value));
        let values = self.equals.iter().map(|value| (format!("{at}/equals"), value)).chain(listed);
        for (at, _) in values.filter(|(_, value)| !is_exact(value)) {
            let detail = "an integer is compared exactly from -9223372036854775808 to 18446744073709551615 only";
            faults.add(at, "number_inexact", detail);
        }
        let ends = self.range.iter().flat_map(|range| [("min", &range.min), ("max", &range.max)]);
        for (end, number) in ends.filter_map(|(end, number)| Some((end, number.as_ref()?))) {
            if !is_double(number) {
                let detail = format!("an end of a range is a double, which {number} is not: write one beside it");
                faults.add(format!("{at}/range/{end}"), "number_inexact", detail);
            }
        }
    }

    /// As data planes are told; nothing unless there is exactly one test.
    pub(crate) fn test(&self) -> Option<Test> {
        let json = |values: &Vec<Value>| wire::JsonValues { values: values.iter().map(Value::to_string).collect() };
        let number = |number: &Option<Number>| number.as_ref().and_then(Number::as_f64);
        let range = |range: &ArgumentRange| wire::NumberRange { min: number(&range.min), max: number(&range.max) };
        let tests = [
            self.equals.as_ref().map(|value| Test::Equals(value.to_string())),
            self.r#in.as_ref().map(|values| Test::OneOf(json(values))),
            self.prefix.clone().map(Test::Prefix),
            self.matches.clone().map(Test::Matches),
            self.range.as_ref().map(|given| Test::Range(range(given))),
        ];
        let mut given = tests.into_iter().flatten();
        given.next().filter(|_| given.next().is_none())
    }
}

/// One that has no test is sent without: data planes refuse the policy that it is in rather than guess.
impl From<&ArgumentCondition> for wire::Condition {
    fn from(condition: &ArgumentCondition) -> Self {
        Self { pointer: condition.pointer.clone(), test: condition.test() }
    }
}

fn check_length(at: &str, text: &str, faults: &mut Faults) {
    if text.is_empty() {
        faults.add(at, "required", "an empty text holds for every text: leave the condition out");
    } else if text.len() > TEXT_BYTES_MAX {
        faults.add(at, "too_long", format!("at most {TEXT_BYTES_MAX} bytes"));
    }
}

fn check_range(at: &str, range: wire::NumberRange, faults: &mut Faults) {
    match (range.min, range.max) {
        (None, None) => faults.add(at, "required", "name `min`, `max` or both"),
        (Some(min), Some(max)) if min > max => {
            faults.add(at, "range_empty", format!("no number is at least {min} and at most {max}"));
        }
        _ => {}
    }
}

/// Whether no number in it may have been an integer that was rounded.
fn is_exact(value: &Value) -> bool {
    match value {
        Value::Number(number) => !is_rounded(number),
        Value::Array(elements) => elements.iter().all(is_exact),
        Value::Object(members) => members.values().all(is_exact),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

/// Whether it may have been an integer beyond those of 64 bits, of which a double is left.
fn is_rounded(number: &Number) -> bool {
    number.as_i128().is_none() && number.as_f64().is_none_or(|double| double.abs() >= i64::MAX as f64)
}

/// Whether a double is this number and no other near it.
fn is_double(number: &Number) -> bool {
    match number.as_i128() {
        Some(integer) => integer as f64 as i128 == integer,
        None => !is_rounded(number),
    }
}

/// RFC 6901 section 3, to an argument: the arguments as a whole are none.
fn is_pointer(text: &str) -> bool {
    let whole_escapes = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    text.starts_with('/') && text.len() <= POINTER_BYTES_MAX && whole_escapes
}

/// Null is a value like any other.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}
