//! Reads completions back, in order, while others append.
//!
//! Invariant: nothing beyond the bytes that were written whole is looked at, so that a read never meets half an entry.

use std::{fs::File, io, ops::Bound, os::unix::fs::FileExt as _};

use tollgate_proto::usage::v1::UsageRecord;

use super::Inner;
use crate::usage::{
    entry::{self, Entry, Event, HEADER_BYTES, MESSAGE_BYTES_MAX},
    segment,
};

/// Bytes read at once: several entries of any length, and a batch stays well below what gRPC takes.
const CHUNK_BYTES: usize = 1 << 20;
const _: () = assert!(CHUNK_BYTES > HEADER_BYTES + MESSAGE_BYTES_MAX, "a chunk holds any entry");

/// Up to where the spool was read.
#[derive(Debug, Default)]
pub(in crate::usage) struct Cursor {
    segment: u64,
    offset: u64,
    file: Option<File>,
}

/// The next completions that are not acknowledged, from one chunk; none when all were read.
pub(super) fn read(inner: &Inner, cursor: &mut Cursor, records_max: usize) -> io::Result<Vec<(u64, UsageRecord)>> {
    loop {
        let (bytes_written, acknowledged, is_tail) = {
            let state = inner.lock();
            let known = state.segments.get(&cursor.segment).map(|segment| segment.bytes);
            let is_tail = state.segments.keys().next_back() == Some(&cursor.segment);
            (known, state.acknowledged, is_tail)
        };
        match bytes_written {
            Some(end) if cursor.offset < end => {
                let chunk = cursor.chunk(inner, end)?;
                let records = cursor.take(&chunk, end, acknowledged, records_max);
                if !records.is_empty() {
                    return Ok(records);
                }
            }
            Some(_) if is_tail => return Ok(Vec::new()),
            _ => cursor.next_segment(inner),
        }
    }
}

impl Cursor {
    fn next_segment(&mut self, inner: &Inner) {
        let after = (Bound::Excluded(self.segment), Bound::Unbounded);
        if let Some((&first, _)) = inner.lock().segments.range(after).next() {
            *self = Self { segment: first, offset: 0, file: None };
        }
    }

    fn chunk(&mut self, inner: &Inner, end: u64) -> io::Result<Vec<u8>> {
        let file = match self.file.take() {
            Some(file) => file,
            None => File::open(segment::path(&inner.dir, self.segment))?,
        };
        let mut chunk = vec![0; CHUNK_BYTES.min((end - self.offset) as usize)];
        file.read_exact_at(&mut chunk, self.offset)?;
        self.file = Some(file);
        Ok(chunk)
    }

    /// Takes entries off the chunk until it ends or there are enough records.
    fn take(&mut self, chunk: &[u8], end: u64, acknowledged: u64, records_max: usize) -> Vec<(u64, UsageRecord)> {
        let mut records = Vec::new();
        let mut taken = 0;
        while records.len() < records_max
            && let Some((Entry { position, event }, length)) = entry::read(&chunk[taken..])
        {
            taken += length;
            if let Event::Completion(record) = event
                && position > acknowledged
            {
                records.push((position, record));
            }
        }
        if taken == 0 {
            // A chunk holds any entry: these bytes were whole when they were written.
            tracing::error!(
                segment = self.segment,
                offset = self.offset,
                "the usage spool was damaged; records are lost"
            );
            self.offset = end;
        }
        self.offset += taken as u64;
        records
    }
}
