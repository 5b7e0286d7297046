//! Server-sent events, as far as MCP needs them: the data of each event.
//!
//! Invariant: an event is handed out only when its closing empty line has arrived (WHATWG HTML, 9.2.6).

/// Collects bytes and hands out the data of complete events.
#[derive(Debug, Default)]
pub(super) struct Events {
    pending: Vec<u8>,
}

impl Events {
    /// Takes bytes and returns the data of every event that they completed; comments and empty events are left out.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        self.pending.extend_from_slice(bytes);
        let mut complete = Vec::new();
        while let Some(end) = end_of_event(&self.pending) {
            let event: Vec<u8> = self.pending.drain(..end).collect();
            complete.extend(data_of(&String::from_utf8_lossy(&event)));
        }
        complete
    }

    /// How many bytes wait for their event to end.
    pub(super) const fn pending_bytes(&self) -> usize {
        self.pending.len()
    }
}

/// The index behind the first empty line.
fn end_of_event(bytes: &[u8]) -> Option<usize> {
    let mut line_is_empty = false;
    for (index, byte) in bytes.iter().enumerate() {
        match byte {
            b'\n' if line_is_empty => return Some(index + 1),
            b'\n' => line_is_empty = true,
            b'\r' => {}
            _ => line_is_empty = false,
        }
    }
    None
}

fn data_of(event: &str) -> Option<String> {
    let lines: Vec<_> = event
        .lines()
        .filter_map(|line| line.strip_prefix("data:"))
        .map(|data| data.strip_prefix(' ').unwrap_or(data))
        .collect();
    let data = lines.join("\n");
    (!data.is_empty()).then_some(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_survive_any_cut() {
        let stream = b": hello\r\n\r\nid: 1\r\ndata: {\"a\":\r\ndata: 1}\r\n\r\ndata:\n\ndata:x\n\n";
        for cut in 0..stream.len() {
            let mut events = Events::default();
            let mut seen = events.push(&stream[..cut]);
            seen.extend(events.push(&stream[cut..]));
            assert_eq!(seen, ["{\"a\":\n1}", "x"], "cut at {cut}");
            assert_eq!(events.pending_bytes(), 0);
        }
    }

    #[test]
    fn an_event_without_its_end_is_not_handed_out() {
        assert!(Events::default().push(b"data: half\n").is_empty());
    }
}
