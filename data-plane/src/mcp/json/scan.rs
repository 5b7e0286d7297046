//! The scanner: one pass over the bytes that accepts or refuses a document.
//!
//! Invariant: it keeps its own stack, so no document can exhaust the thread's, and it holds the keys of open
//! objects only.

use std::{borrow::Cow, ops::Range};

use super::{
    Bounds, JsonError,
    error::JsonErrorKind,
    view::{is_space, unescape},
};

/// Validates `body` and returns where its value stands.
pub(super) fn scan(body: &[u8], bounds: &Bounds) -> Result<Range<usize>, JsonError> {
    let text = std::str::from_utf8(body).map_err(|error| JsonErrorKind::NotUtf8.at(error.valid_up_to()))?;
    if text.starts_with('\u{feff}') {
        return Err(JsonErrorKind::ByteOrderMark.at(0));
    }
    Scanner { text, bytes: body, at: 0, bounds, keys_seen: 0, open: Vec::new(), keys: Vec::new() }.document()
}

struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    bounds: &'a Bounds,
    keys_seen: usize,
    open: Vec<Open>,
    /// The keys of all open objects, innermost last, each with its offset.
    keys: Vec<(Cow<'a, str>, usize)>,
}

#[derive(Clone, Copy)]
enum Open {
    Array,
    Object {
        /// Where its keys begin in [`Scanner::keys`].
        first_key: usize,
    },
}

#[derive(Clone, Copy)]
enum Expect {
    Value,
    FirstElement,
    FirstKey,
    Key,
    AfterValue,
}

impl<'a> Scanner<'a> {
    fn document(mut self) -> Result<Range<usize>, JsonError> {
        self.skip_space();
        let start = self.at;
        let mut expect = Expect::Value;
        loop {
            expect = match expect {
                Expect::Value => self.value()?,
                Expect::FirstElement if self.peek() == Some(b']') => self.close()?,
                Expect::FirstElement => self.value()?,
                Expect::FirstKey if self.peek() == Some(b'}') => self.close()?,
                Expect::FirstKey | Expect::Key => self.key()?,
                Expect::AfterValue => match self.open.last() {
                    None => break,
                    Some(Open::Array) => self.after_member(b']', Expect::Value)?,
                    Some(Open::Object { .. }) => self.after_member(b'}', Expect::Key)?,
                },
            };
            if !self.open.is_empty() {
                self.skip_space();
            }
        }
        let end = self.at;
        self.skip_space();
        if self.at < self.bytes.len() { Err(JsonErrorKind::TrailingBytes.at(self.at)) } else { Ok(start..end) }
    }

    fn value(&mut self) -> Result<Expect, JsonError> {
        match self.peek() {
            Some(b'{') => {
                let first_key = self.keys.len();
                self.enter(Open::Object { first_key })?;
                return Ok(Expect::FirstKey);
            }
            Some(b'[') => {
                self.enter(Open::Array)?;
                return Ok(Expect::FirstElement);
            }
            Some(b'"') => {
                self.string()?;
            }
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.literal(b"true")?,
            Some(b'f') => self.literal(b"false")?,
            Some(b'n') => self.literal(b"null")?,
            _ => return Err(self.unexpected()),
        }
        Ok(Expect::AfterValue)
    }

    fn enter(&mut self, container: Open) -> Result<(), JsonError> {
        if self.open.len() == self.bounds.depth_max {
            return Err(JsonErrorKind::TooDeep.at(self.at));
        }
        self.open.push(container);
        self.at += 1;
        Ok(())
    }

    fn after_member(&mut self, end: u8, next: Expect) -> Result<Expect, JsonError> {
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(next)
            }
            Some(byte) if byte == end => self.close(),
            _ => Err(self.unexpected()),
        }
    }

    fn close(&mut self) -> Result<Expect, JsonError> {
        self.at += 1;
        if let Some(Open::Object { first_key }) = self.open.pop() {
            self.check_keys(first_key)?;
        }
        Ok(Expect::AfterValue)
    }

    /// Sorting finds duplicates in `n log n`, however many keys one object has.
    fn check_keys(&mut self, first: usize) -> Result<(), JsonError> {
        let keys = &mut self.keys[first..];
        keys.sort_unstable();
        let twice = keys.windows(2).filter(|pair| pair[0].0 == pair[1].0).map(|pair| &pair[1]);
        if let Some((key, offset)) = twice.min_by_key(|(_, offset)| *offset) {
            return Err(JsonErrorKind::duplicate(key).at(*offset));
        }
        self.keys.truncate(first);
        Ok(())
    }

    fn key(&mut self) -> Result<Expect, JsonError> {
        if self.peek() != Some(b'"') {
            return Err(self.unexpected());
        }
        self.keys_seen += 1;
        if self.keys_seen > self.bounds.keys_max {
            return Err(JsonErrorKind::TooManyKeys.at(self.at));
        }
        let offset = self.at;
        let escaped = self.string()?;
        let written = &self.text[offset + 1..self.at - 1];
        self.keys.push((if escaped { Cow::Owned(unescape(written)) } else { Cow::Borrowed(written) }, offset));
        self.skip_space();
        if self.peek() != Some(b':') {
            return Err(self.unexpected());
        }
        self.at += 1;
        Ok(Expect::Value)
    }

    /// Passes a string from quote to quote; whether it has escapes.
    fn string(&mut self) -> Result<bool, JsonError> {
        let start = self.at + 1;
        self.at = start;
        let mut escaped = false;
        loop {
            let rest = &self.bytes[self.at..];
            let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)).unwrap_or(rest.len());
            self.at += plain;
            if self.at - start > self.bounds.string_bytes_max {
                return Err(JsonErrorKind::StringTooLong.at(start - 1));
            }
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return Err(JsonErrorKind::ControlCharacter.at(self.at)),
                None => return Err(JsonErrorKind::UnexpectedEnd.at(self.at)),
            }
        }
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        self.at += 2;
        match self.bytes.get(start + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(()),
            Some(b'u') => match self.hex(start)? {
                0 => Err(JsonErrorKind::NulCharacter.at(start)),
                0xd800..=0xdbff => {
                    let low = self.at;
                    let is_escape = self.bytes.get(low..low + 2) == Some(br"\u");
                    self.at += 2;
                    if is_escape && matches!(self.hex(low)?, 0xdc00..=0xdfff) {
                        Ok(())
                    } else {
                        Err(JsonErrorKind::UnpairedSurrogate.at(start))
                    }
                }
                0xdc00..=0xdfff => Err(JsonErrorKind::UnpairedSurrogate.at(start)),
                _ => Ok(()),
            },
            Some(_) => Err(JsonErrorKind::InvalidEscape.at(start)),
            None => Err(JsonErrorKind::UnexpectedEnd.at(self.bytes.len())),
        }
    }

    /// The four digits of the escape that begins at `start`.
    fn hex(&mut self, start: usize) -> Result<u32, JsonError> {
        let digits = self.bytes.get(self.at..self.at + 4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.ok_or_else(|| JsonErrorKind::InvalidEscape.at(start))?;
        self.at += 4;
        Ok(digits.iter().fold(0, |value, digit| value * 16 + (*digit as char).to_digit(16).unwrap_or(0)))
    }

    fn number(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        let invalid = || JsonErrorKind::InvalidNumber.at(start);
        self.skip_if(b'-');
        let leading_zero = self.peek() == Some(b'0');
        let whole = self.digits();
        if whole == 0 || (leading_zero && whole > 1) {
            return Err(invalid());
        }
        let mut digits = whole;
        if self.skip_if(b'.') {
            let fraction = self.digits();
            if fraction == 0 {
                return Err(invalid());
            }
            digits += fraction;
        }
        let scaled = self.skip_if(b'e') || self.skip_if(b'E');
        if scaled {
            let _sign = self.skip_if(b'+') || self.skip_if(b'-');
            let exponent = self.digits();
            if exponent == 0 {
                return Err(invalid());
            }
            digits += exponent;
        }
        if digits > self.bounds.number_digits_max {
            return Err(JsonErrorKind::NumberTooLong.at(start));
        }
        let finite = self.text[start..self.at].parse::<f64>().is_ok_and(f64::is_finite);
        if finite { Ok(()) } else { Err(JsonErrorKind::NumberNotFinite.at(start)) }
    }

    fn digits(&mut self) -> usize {
        let rest = &self.bytes[self.at..];
        let count = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        self.at += count;
        count
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), JsonError> {
        if !self.bytes[self.at..].starts_with(word) {
            return Err(self.unexpected());
        }
        self.at += word.len();
        Ok(())
    }

    fn skip_if(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(is_space) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn unexpected(&self) -> JsonError {
        let kind =
            if self.at < self.bytes.len() { JsonErrorKind::UnexpectedByte } else { JsonErrorKind::UnexpectedEnd };
        kind.at(self.at)
    }
}
