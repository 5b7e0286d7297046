//! Writing JSON: objects and arrays from validated slices and plain values.
//!
//! Invariant: what is written is one valid value that [`parse`](super::parse) accepts, as long as the caller does
//! not give one key twice and gives no U+0000.

use bytes::Bytes;

use super::view::Raw;

/// Writes the members of one object.
#[derive(Debug)]
pub struct ObjectWriter<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

/// Writes the elements of one array.
#[derive(Debug)]
pub struct ArrayWriter<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

/// An object with the members that `fill` writes.
pub fn object(fill: impl FnOnce(&mut ObjectWriter<'_>)) -> Raw {
    let mut out = Vec::with_capacity(256);
    write_object(&mut out, fill);
    Raw::validated(Bytes::from(out))
}

/// An array with the elements that `fill` writes.
pub fn array(fill: impl FnOnce(&mut ArrayWriter<'_>)) -> Raw {
    let mut out = Vec::with_capacity(256);
    write_array(&mut out, fill);
    Raw::validated(Bytes::from(out))
}

impl Raw {
    /// A string.
    #[must_use]
    pub fn text(text: &str) -> Self {
        let mut out = Vec::with_capacity(text.len() + 2);
        write_text(&mut out, text);
        Self::validated(Bytes::from(out))
    }

    /// A number.
    #[must_use]
    pub fn integer(value: i64) -> Self {
        Self::validated(Bytes::from(value.to_string()))
    }

    /// `{}`.
    #[must_use]
    pub fn empty_object() -> Self {
        Self::validated(Bytes::from_static(b"{}"))
    }
}

impl ObjectWriter<'_> {
    /// A member whose value stands as it was read.
    pub fn raw(&mut self, key: &str, value: &Raw) {
        self.key(key).extend_from_slice(value.as_bytes());
    }

    /// A string member.
    pub fn text(&mut self, key: &str, value: &str) {
        write_text(self.key(key), value);
    }

    /// A number member.
    pub fn integer(&mut self, key: &str, value: i64) {
        self.key(key).extend_from_slice(value.to_string().as_bytes());
    }

    /// A number member that is never negative.
    pub fn unsigned(&mut self, key: &str, value: u64) {
        self.key(key).extend_from_slice(value.to_string().as_bytes());
    }

    /// A `true` or `false` member.
    pub fn boolean(&mut self, key: &str, value: bool) {
        self.key(key).extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// A `null` member.
    pub fn null(&mut self, key: &str) {
        self.key(key).extend_from_slice(b"null");
    }

    /// A member that is an object.
    pub fn object(&mut self, key: &str, fill: impl FnOnce(&mut ObjectWriter<'_>)) {
        write_object(self.key(key), fill);
    }

    /// A member that is an array.
    pub fn array(&mut self, key: &str, fill: impl FnOnce(&mut ArrayWriter<'_>)) {
        write_array(self.key(key), fill);
    }

    fn key(&mut self, key: &str) -> &mut Vec<u8> {
        separate(self.out, &mut self.empty);
        write_text(self.out, key);
        self.out.push(b':');
        self.out
    }
}

impl ArrayWriter<'_> {
    /// An element that stands as it was read.
    pub fn raw(&mut self, value: &Raw) {
        self.element().extend_from_slice(value.as_bytes());
    }

    /// A string element.
    pub fn text(&mut self, value: &str) {
        write_text(self.element(), value);
    }

    /// An element that is an object.
    pub fn object(&mut self, fill: impl FnOnce(&mut ObjectWriter<'_>)) {
        write_object(self.element(), fill);
    }

    fn element(&mut self) -> &mut Vec<u8> {
        separate(self.out, &mut self.empty);
        self.out
    }
}

fn write_object(out: &mut Vec<u8>, fill: impl FnOnce(&mut ObjectWriter<'_>)) {
    out.push(b'{');
    fill(&mut ObjectWriter { out: &mut *out, empty: true });
    out.push(b'}');
}

fn write_array(out: &mut Vec<u8>, fill: impl FnOnce(&mut ArrayWriter<'_>)) {
    out.push(b'[');
    fill(&mut ArrayWriter { out: &mut *out, empty: true });
    out.push(b']');
}

fn separate(out: &mut Vec<u8>, empty: &mut bool) {
    if !std::mem::replace(empty, false) {
        out.push(b',');
    }
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'\n' => out.extend_from_slice(br"\n"),
            b'\r' => out.extend_from_slice(br"\r"),
            b'\t' => out.extend_from_slice(br"\t"),
            byte @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', byte]),
            byte => {
                out.extend_from_slice(br"\u00");
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}
