//! Event streams as the HTML standard defines them (section 9.2, "Server-sent events"): read piece by piece, and
//! written.
//!
//! Invariant: however a stream is cut into pieces, the same events come out, and never more than one unfinished
//! event within its bounds is held.

mod decode;
mod encode;

#[cfg(test)]
mod tests;

use bytes::Bytes;

pub use decode::{Decoder, SseError};
pub use encode::{KEEP_ALIVE, message_event};

/// One event. Blocks without `data` are events too: servers prime a stream with an id alone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// The type; `message` when there is none.
    pub event: Option<Box<str>>,
    /// Where to go on after an interruption. An empty one takes back what was there before.
    pub id: Option<Box<str>>,
    /// Milliseconds to wait before connecting again.
    pub retry: Option<u64>,
    /// The data lines joined with line feeds, unchecked; `None` when there was no such line.
    pub data: Option<Bytes>,
}

/// How large the parts of a stream may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of the lines of one event together.
    pub event_bytes_max: usize,
    /// Bytes of one line.
    pub line_bytes_max: usize,
}

impl Bounds {
    /// For what a server sends: 4 MiB per event.
    pub const UPSTREAM: Self = Self { event_bytes_max: 4 << 20, line_bytes_max: 4 << 20 };
}
