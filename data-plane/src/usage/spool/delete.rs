//! Deletes what the control plane has.
//!
//! Invariant: a segment goes only after those before it, and only when its open intents are on disk elsewhere.

use std::{collections::HashMap, fs, ops::Range, path::Path};

use super::{Inner, SpoolError};
use crate::usage::{
    entry::{self, Entry, Event},
    segment,
};

impl Inner {
    /// Deletes the oldest segments as long as everything in them is acknowledged and they are closed.
    pub(super) fn delete_acknowledged(&self) -> Result<(), SpoolError> {
        loop {
            let (first, end, open) = {
                let state = self.lock();
                let mut segments = state.segments.iter();
                let (Some((&first, oldest)), Some((&end, _))) = (segments.next(), segments.next()) else {
                    return Ok(());
                };
                if oldest.last_completion > state.acknowledged {
                    return Ok(());
                }
                (first, end, state.open.values().filter(|position| (first..end).contains(position)).count() as u64)
            };
            if open > (end - first) / 2 {
                // Copying most of a segment would free nothing, and might never end: wait for the calls to.
                return Ok(());
            }
            let path = segment::path(&self.dir, first);
            if open > 0 {
                self.copy_open_intents(&path, first..end)?;
                self.sync();
            }
            self.lock().segments.remove(&first);
            fs::remove_file(path)?;
        }
    }

    /// Writes the intents of a segment that are still open again, at the end of the spool.
    fn copy_open_intents(&self, path: &Path, positions: Range<u64>) -> Result<(), SpoolError> {
        let open: HashMap<String, u64> = self.lock().open.clone();
        let mut intents = Vec::new();
        segment::scan(path, |Entry { position, event }| {
            if let Event::Intent(record) = event
                && open.get(&record.call_id) == Some(&position)
            {
                intents.push(record);
            }
        })?;
        for intent in intents {
            let call_id = intent.call_id.clone();
            let message = entry::message(Event::Intent(intent));
            let mut state = self.lock();
            // Completed since: nothing to keep.
            if state.open.get(&call_id).is_some_and(|position| positions.contains(position)) {
                let position = self.append(&mut state, &message)?;
                state.open.insert(call_id, position);
            }
        }
        Ok(())
    }
}
