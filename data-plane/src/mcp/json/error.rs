//! Why a document was turned away.
//!
//! Invariant: the text names a place and at most a short, escaped part of the document, never a value.

use std::fmt;

/// What is wrong with a document, and at which byte.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {offset}")]
pub struct JsonError {
    /// What is wrong.
    pub kind: JsonErrorKind,
    /// Bytes before the fault.
    pub offset: usize,
}

/// What can be wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JsonErrorKind {
    /// A byte sequence that is no UTF-8.
    NotUtf8,
    /// U+FEFF before the document.
    ByteOrderMark,
    /// The document ends too early.
    UnexpectedEnd,
    /// A byte that cannot stand here.
    UnexpectedByte,
    /// Something after the document.
    TrailingBytes,
    /// A key for the second time in one object; the first 64 characters of it.
    DuplicateKey(Box<str>),
    /// A control character that is not escaped.
    ControlCharacter,
    /// A backslash with something after it that is no escape.
    InvalidEscape,
    /// U+0000, which ends strings in some languages.
    NulCharacter,
    /// Half of a surrogate pair.
    UnpairedSurrogate,
    /// A number that the grammar does not know.
    InvalidNumber,
    /// A number with too many digits.
    NumberTooLong,
    /// A number that is infinite as a double.
    NumberNotFinite,
    /// Too many arrays and objects inside each other.
    TooDeep,
    /// Too many keys in the document.
    TooManyKeys,
    /// A string that is too long.
    StringTooLong,
}

impl JsonErrorKind {
    pub(super) fn duplicate(key: &str) -> Self {
        Self::DuplicateKey(key.chars().take(64).collect())
    }

    pub(super) fn at(self, offset: usize) -> JsonError {
        JsonError { kind: self, offset }
    }
}

impl fmt::Display for JsonErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DuplicateKey(key) => return write!(f, "duplicate key `{}`", key.escape_debug()),
            Self::NotUtf8 => "invalid UTF-8",
            Self::ByteOrderMark => "byte order mark",
            Self::UnexpectedEnd => "unexpected end",
            Self::UnexpectedByte => "unexpected character",
            Self::TrailingBytes => "trailing bytes after the document",
            Self::ControlCharacter => "unescaped control character",
            Self::InvalidEscape => "invalid escape",
            Self::NulCharacter => "U+0000 in a string",
            Self::UnpairedSurrogate => "unpaired surrogate",
            Self::InvalidNumber => "invalid number",
            Self::NumberTooLong => "number with too many digits",
            Self::NumberNotFinite => "number out of range",
            Self::TooDeep => "too many levels",
            Self::TooManyKeys => "too many keys",
            Self::StringTooLong => "string too long",
        })
    }
}
