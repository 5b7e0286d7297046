//! Writes JSON in its canonical form (RFC 8785 section 3.2).
//!
//! Invariant: it goes no deeper into a value than it was told to, whatever the value is.

use std::fmt::{self, Write as _};

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{DefinitionError, not_json, shown};

/// Members of an object in their canonical order, each with its value as it stands.
pub(super) fn members(object: &RawValue) -> Result<Vec<(String, &RawValue)>, DefinitionError> {
    let mut reader = serde_json::Deserializer::from_str(object.get());
    let mut members = reader.deserialize_map(Members).map_err(|error| not_json(&error))?;
    members.sort_by(|(one, _), (other, _)| one.encode_utf16().cmp(other.encode_utf16()));
    match members.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => Err(DefinitionError::DuplicateMember(shown(&pair[0].0))),
        None => Ok(members),
    }
}

/// Writes members that are in their order; `depth` levels may lie within.
pub(super) fn write_object(
    out: &mut String,
    members: &[(String, &RawValue)],
    depth: usize,
) -> Result<(), DefinitionError> {
    out.push('{');
    for (at, (key, value)) in members.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write_string(out, key);
        out.push(':');
        write_value(out, value, depth)?;
    }
    out.push('}');
    Ok(())
}

fn write_value(out: &mut String, value: &RawValue, depth: usize) -> Result<(), DefinitionError> {
    let text = value.get();
    let inside = || depth.checked_sub(1).ok_or(DefinitionError::TooDeep);
    match text.as_bytes().first() {
        Some(b'{') => write_object(out, &members(value)?, inside()?)?,
        Some(b'[') => write_array(out, value, inside()?)?,
        Some(b'"') => {
            let string: String = serde_json::from_str(text).map_err(|error| not_json(&error))?;
            write_string(out, &string);
        }
        Some(b'-' | b'0'..=b'9') => write_number(out, text)?,
        // `true`, `false` and `null` have one spelling each.
        _ => out.push_str(text),
    }
    Ok(())
}

fn write_array(out: &mut String, array: &RawValue, depth: usize) -> Result<(), DefinitionError> {
    let elements: Vec<&RawValue> = serde_json::from_str(array.get()).map_err(|error| not_json(&error))?;
    out.push('[');
    for (at, element) in elements.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write_value(out, element, depth)?;
    }
    out.push(']');
    Ok(())
}

/// Everything as it is but quotation marks, backslashes and control characters (RFC 8785 section 3.2.2.2).
fn write_string(out: &mut String, string: &str) {
    out.push('"');
    for character in string.chars() {
        match character {
            '"' => out.push_str(r#"\""#),
            '\\' => out.push_str(r"\\"),
            '\u{8}' => out.push_str(r"\b"),
            '\t' => out.push_str(r"\t"),
            '\n' => out.push_str(r"\n"),
            '\u{c}' => out.push_str(r"\f"),
            '\r' => out.push_str(r"\r"),
            '\0'..='\u{1f}' => push(out, format_args!("\\u{:04x}", u32::from(character))),
            _ => out.push(character),
        }
    }
    out.push('"');
}

/// As ECMAScript writes a double (RFC 8785 section 3.2.2.3), but for integers that no double is equal to.
fn write_number(out: &mut String, literal: &str) -> Result<(), DefinitionError> {
    let double: f64 =
        literal.parse().ok().filter(|double: &f64| double.is_finite()).ok_or(DefinitionError::NumberOutOfRange)?;
    let is_integer = !literal.contains(['.', 'e', 'E']);
    if is_integer && double.to_string() != literal {
        out.push_str(literal);
    } else {
        write_double(out, double);
    }
    Ok(())
}

/// `Number::toString` of ECMAScript, from the shortest digits that lead back to the double. The names are those of its
/// text: the value is `0.digits` times ten to the power of `n`, with `k` digits.
fn write_double(out: &mut String, double: f64) {
    if double == 0.0 {
        return out.push('0');
    }
    // As many digits as it takes, the last one rounded half to even: `{:e}` alone rounds it up.
    let shortest = format!("{:e}", double.abs());
    let count = shortest.bytes().take_while(|byte| *byte != b'e').filter(u8::is_ascii_digit).count();
    let scientific = format!("{:.*e}", count - 1, double.abs());
    let (mantissa, exponent) = scientific.split_once('e').expect("a double in scientific form has an exponent");
    let exponent: i32 = exponent.parse().expect("the exponent of a double is a small integer");
    let digits = mantissa.replace('.', "");
    let k = i32::try_from(digits.len()).expect("a double has at most 17 digits");
    let n = exponent + 1;
    if double < 0.0 {
        out.push('-');
    }
    if k <= n && n <= 21 {
        out.push_str(&digits);
        push(out, format_args!("{:0<1$}", "", usize::try_from(n - k).unwrap_or_default()));
    } else if 0 < n && n <= 21 {
        let (whole, fraction) = digits.split_at(usize::try_from(n).unwrap_or_default());
        push(out, format_args!("{whole}.{fraction}"));
    } else if -6 < n && n <= 0 {
        push(out, format_args!("0.{:0<1$}{digits}", "", usize::try_from(-n).unwrap_or_default()));
    } else {
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        push(out, format_args!("{first}{point}{rest}e{exponent:+}"));
    }
}

fn push(out: &mut String, text: fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a String takes everything");
}

/// Gathers all members, so that one that comes twice is seen.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}
