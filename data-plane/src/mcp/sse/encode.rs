//! The encoder: events as bytes.
//!
//! Invariant: what was data stays data. A line break in an event begins another data line, and one in a type or an
//! id is left out, so that no text from elsewhere becomes a field.

use bytes::Bytes;

use super::Event;

/// A comment, which clients ignore and which keeps a quiet connection open.
pub const KEEP_ALIVE: Bytes = Bytes::from_static(b":\n\n");

/// The event for one message, which is JSON that was read or written here: on one data line.
#[must_use]
pub fn message_event(message: &impl AsRef<[u8]>, id: Option<&str>) -> Bytes {
    let message = message.as_ref();
    let mut out = Vec::with_capacity(message.len() + 64);
    write_field(&mut out, "event", "message");
    if let Some(id) = id {
        write_field(&mut out, "id", id);
    }
    out.extend_from_slice(b"data: ");
    // Line breaks in valid JSON are white space between its parts: inside strings they are escaped.
    out.extend(message.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }));
    out.extend_from_slice(b"\n\n");
    Bytes::from(out)
}

impl Event {
    /// The event as it stands in a stream, with the blank line that ends it.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.data.as_ref().map_or(0, Bytes::len) + 64);
        if let Some(event) = &self.event {
            write_field(&mut out, "event", event);
        }
        if let Some(id) = &self.id {
            write_field(&mut out, "id", id);
        }
        if let Some(retry) = self.retry {
            write_field(&mut out, "retry", &retry.to_string());
        }
        if let Some(data) = &self.data {
            write_data(&mut out, data);
        }
        out.push(b'\n');
        Bytes::from(out)
    }
}

fn write_field(out: &mut Vec<u8>, field: &str, value: &str) {
    out.extend_from_slice(field.as_bytes());
    out.extend_from_slice(b": ");
    out.extend(value.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n' | 0)));
    out.push(b'\n');
}

fn write_data(out: &mut Vec<u8>, data: &[u8]) {
    let mut rest = data;
    loop {
        let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&rest[..end.unwrap_or(rest.len())]);
        out.push(b'\n');
        let Some(end) = end else { return };
        rest = rest[end..].strip_prefix(b"\r\n").unwrap_or(&rest[end + 1..]);
    }
}
