//! The decoder: pieces of a stream in, events out.
//!
//! Invariant: a line ends at CR, LF or CRLF, also when a piece ends between the two.

use std::collections::VecDeque;

use bytes::BytesMut;

use super::{Bounds, Event};

/// A stream that is not followed any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// A line is longer than the bounds allow.
    #[error("a line of the event stream is longer than {0} bytes")]
    LineTooLong(usize),
    /// An event is larger than the bounds allow.
    #[error("an event of the stream is larger than {0} bytes")]
    EventTooLarge(usize),
    /// An event's type or id is no UTF-8.
    #[error("the event stream is not UTF-8")]
    NotUtf8,
}

/// Takes a stream in pieces and hands out its events.
#[derive(Debug)]
pub struct Decoder {
    bounds: Bounds,
    /// The beginning of a line whose end has not come.
    line: BytesMut,
    /// The last piece ended with CR; a line feed now belongs to it.
    after_return: bool,
    at_start: bool,
    unfinished: Unfinished,
    finished: VecDeque<Event>,
}

#[derive(Debug, Default)]
struct Unfinished {
    event: Option<Box<str>>,
    id: Option<Box<str>>,
    retry: Option<u64>,
    data: Option<BytesMut>,
    bytes: usize,
}

impl Decoder {
    /// A decoder at the start of a stream.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            line: BytesMut::new(),
            after_return: false,
            at_start: true,
            unfinished: Unfinished::default(),
            finished: VecDeque::new(),
        }
    }

    /// Takes the next piece. Its events are to be fetched with [`Self::next_event`]; those that were complete
    /// before an error are still there.
    ///
    /// # Errors
    /// When the stream exceeds its bounds or is no text. It cannot be followed any further then.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), SseError> {
        let mut rest = piece;
        if std::mem::take(&mut self.after_return) {
            if rest.is_empty() {
                self.after_return = true;
            }
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
            self.end_line(&rest[..end])?;
            let (ending, after) = rest[end..].split_at(1);
            rest = match (ending, after) {
                (b"\r", []) => {
                    self.after_return = true;
                    after
                }
                (b"\r", [b'\n', after @ ..]) => after,
                _ => after,
            };
        }
        self.keep(rest)
    }

    /// The oldest event that has not been fetched.
    pub fn next_event(&mut self) -> Option<Event> {
        self.finished.pop_front()
    }

    /// Whether the stream stands between two events: when it ends elsewhere, an event was cut off and is lost.
    #[must_use]
    pub fn is_between_events(&self) -> bool {
        self.line.is_empty() && self.unfinished.is_empty()
    }

    fn keep(&mut self, part: &[u8]) -> Result<(), SseError> {
        if self.line.len() + part.len() > self.bounds.line_bytes_max {
            return Err(SseError::LineTooLong(self.bounds.line_bytes_max));
        }
        self.line.extend_from_slice(part);
        Ok(())
    }

    fn end_line(&mut self, part: &[u8]) -> Result<(), SseError> {
        if self.line.len() + part.len() > self.bounds.line_bytes_max {
            return Err(SseError::LineTooLong(self.bounds.line_bytes_max));
        }
        if self.line.is_empty() {
            return self.read_line(part);
        }
        let mut line = std::mem::take(&mut self.line);
        line.extend_from_slice(part);
        let read = self.read_line(&line);
        line.clear();
        self.line = line;
        read
    }

    fn read_line(&mut self, line: &[u8]) -> Result<(), SseError> {
        let line =
            if std::mem::take(&mut self.at_start) { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
        if line.is_empty() {
            self.finished.extend(std::mem::take(&mut self.unfinished).finish());
            return Ok(());
        }
        let (field, value) = match line.iter().position(|byte| *byte == b':') {
            // A comment.
            Some(0) => return Ok(()),
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        let event = &mut self.unfinished;
        match field {
            b"data" => event.add_data(value),
            b"event" => event.event = Some(text(value)?),
            b"id" if !value.contains(&0) => event.id = Some(text(value)?),
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                event.retry = text(value)?.parse().ok();
            }
            _ => return Ok(()),
        }
        event.bytes += line.len();
        let fits = event.bytes <= self.bounds.event_bytes_max;
        if fits { Ok(()) } else { Err(SseError::EventTooLarge(self.bounds.event_bytes_max)) }
    }
}

impl Unfinished {
    fn add_data(&mut self, value: &[u8]) {
        match &mut self.data {
            Some(data) => {
                data.extend_from_slice(b"\n");
                data.extend_from_slice(value);
            }
            None => self.data = Some(BytesMut::from(value)),
        }
    }

    fn is_empty(&self) -> bool {
        self.event.is_none() && self.id.is_none() && self.retry.is_none() && self.data.is_none()
    }

    fn finish(self) -> Option<Event> {
        let Self { event, id, retry, data, .. } = self;
        let is_event = id.is_some() || retry.is_some() || data.is_some();
        is_event.then(|| Event { event, id, retry, data: data.map(BytesMut::freeze) })
    }
}

fn text(value: &[u8]) -> Result<Box<str>, SseError> {
    std::str::from_utf8(value).map(Box::from).map_err(|_| SseError::NotUtf8)
}
