//! What a new process makes of the segments that an old one left.
//!
//! Invariant: the first new position lies so far above the last one found that it is new even when the host lost
//! entries that were already sent.

use std::{collections::HashMap, fs::OpenOptions, io, path::Path, sync::Arc};

use tollgate_proto::usage::v1::{Outcome, UsageRecord};

use super::{Segment, State};
use crate::usage::{
    entry::{Entry, Event},
    identity, segment,
};

/// More entries than a host can write between two syncs.
const RESTART_GAP: u64 = 1 << 20;
const FIRST_POSITION: u64 = 1;

/// Reads all segments and starts a new one; returns the intents without a completion too.
pub(super) fn recover(dir: &Path) -> io::Result<(State, Vec<UsageRecord>)> {
    let acknowledged = identity::acknowledged(dir);
    let mut open: HashMap<String, (u64, UsageRecord)> = HashMap::new();
    let (mut last_position, mut unacknowledged) = (acknowledged, 0);
    let mut segments = std::collections::BTreeMap::new();
    for first in segment::list(dir)? {
        let mut found = Segment::default();
        last_position = last_position.max(first);
        let path = segment::path(dir, first);
        let scanned = segment::scan(&path, |Entry { position, event }| {
            last_position = last_position.max(position);
            match event {
                Event::Intent(record) => {
                    open.insert(record.call_id.clone(), (position, record));
                }
                Event::Completion(record) => {
                    open.remove(&record.call_id);
                    found.last_completion = position;
                    unacknowledged += u64::from(position > acknowledged);
                }
            }
        })?;
        if scanned.torn_bytes > 0 {
            tracing::warn!(segment = %path.display(), bytes = scanned.torn_bytes, "cut off a torn end of the usage spool");
            OpenOptions::new().write(true).open(&path)?.set_len(scanned.sound_bytes)?;
        }
        found.bytes = scanned.sound_bytes;
        segments.insert(first, found);
    }
    let next_position = if last_position == 0 { FIRST_POSITION } else { last_position + RESTART_GAP };
    let tail = Arc::new(segment::create(dir, next_position)?);
    segments.insert(next_position, Segment::default());
    let mut left_open: Vec<(u64, UsageRecord)> = open.into_values().collect();
    left_open.sort_unstable_by_key(|(position, _)| *position);
    let state = State {
        segments,
        tail,
        tail_is_torn: false,
        next_position,
        open: left_open.iter().map(|(position, record)| (record.call_id.clone(), *position)).collect(),
        parked: std::collections::VecDeque::new(),
        acknowledged,
        unacknowledged,
        unsynced: vec![Arc::new(std::fs::File::open(dir)?)],
    };
    Ok((state, left_open.into_iter().map(|(_, record)| record).collect()))
}

/// The completion of a call that was forwarded, or was about to be, when the process died.
pub(super) fn unknown(intent: UsageRecord) -> UsageRecord {
    UsageRecord {
        outcome: Outcome::Unknown.into(),
        decision: "allowed".to_owned(),
        forwarded: true,
        duration_us: 0,
        upstream_us: 0,
        ..intent
    }
}
