//! The strict JSON reader, and slices of what it has read.
//!
//! Owns every decision about what JSON passes: one document in UTF-8 without byte order mark, no key twice in one
//! object after unescaping, no U+0000, no unpaired surrogate, no number beyond a finite double, everything within
//! [`Bounds`]. Parsers disagree about each of these, and what they read differently could be used to have one call
//! authorized and another one executed.
//!
//! Invariant: a [`Raw`] comes from [`parse`] or from the writer in here, so its bytes are one valid JSON value to
//! the last byte and may be forwarded as they stand.

mod error;
mod scan;
mod view;
mod write;

#[cfg(test)]
pub(super) mod tests;

use bytes::Bytes;

pub use error::{JsonError, JsonErrorKind};
pub use view::{Key, Kind, Object, Raw};
pub use write::{ArrayWriter, ObjectWriter, array, object};

/// How large a document may be. The size of the body is bounded before it gets here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Arrays and objects open at one time.
    pub depth_max: usize,
    /// Keys in the whole document.
    pub keys_max: usize,
    /// Bytes of one string or key between its quotes, as written.
    pub string_bytes_max: usize,
    /// Digits of one number, exponent included.
    pub number_digits_max: usize,
}

impl Bounds {
    /// For what an agent sends.
    pub const AGENT: Self = Self { depth_max: 64, keys_max: 10_000, string_bytes_max: 1 << 20, number_digits_max: 32 };

    /// For what a server sends: lists of hundreds of tools with their schemas, and images in strings.
    pub const UPSTREAM: Self =
        Self { depth_max: 128, keys_max: 250_000, string_bytes_max: 16 << 20, number_digits_max: 64 };
}

/// Validates a whole body and returns its value without the white space around it.
///
/// Takes time in proportion to the body (times the logarithm of the keys of one object), and no stack per level.
///
/// # Errors
/// The first thing found that is not allowed, and where.
pub fn parse(body: &Bytes, bounds: &Bounds) -> Result<Raw, JsonError> {
    let value = scan::scan(body, bounds)?;
    Ok(Raw::validated(body.slice(value)))
}
