//! The spool in directories of its own, and shipping against a real gRPC server.

mod intake;
mod shipping;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tollgate_proto::{
    CallId, DataPlaneId,
    usage::v1::{Outcome, UsageRecord},
};
use uuid::Uuid;

use super::{
    entry::{self, Event},
    segment,
    spool::{Cursor, Intent, Settings, Spool, SpoolError},
};

/// A directory that goes with the test.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("tg-{}", Uuid::new_v4().simple()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn segments(&self) -> Vec<PathBuf> {
        segment::list(&self.0).unwrap().into_iter().map(|first| segment::path(&self.0, first)).collect()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

fn record() -> UsageRecord {
    UsageRecord { call_id: CallId::new().to_string(), tool: "echo".to_owned(), ..UsageRecord::default() }
}

fn done(intent: &UsageRecord) -> UsageRecord {
    UsageRecord { outcome: Outcome::Ok.into(), duration_us: 7, ..intent.clone() }
}

fn small_segments() -> Settings {
    Settings { segment_bytes_max: 1_000, ..Settings::default() }
}

/// Opens a spool that may still be held for a moment by a sync that is under way.
fn reopen(dir: &Path, settings: &Settings) -> (Spool, DataPlaneId) {
    let started = Instant::now();
    loop {
        match Spool::open_with(dir, settings.clone()) {
            Err(SpoolError::InUse) if started.elapsed() < Duration::from_secs(5) => {
                std::thread::sleep(Duration::from_millis(5));
            }
            opened => return opened.unwrap(),
        }
    }
}

fn read_all(spool: &Spool) -> Vec<(u64, UsageRecord)> {
    let mut cursor = Cursor::default();
    let mut records = Vec::new();
    loop {
        let batch = spool.read(&mut cursor, 10).unwrap();
        if batch.is_empty() {
            return records;
        }
        records.extend(batch);
    }
}

fn call_ids(records: &[(u64, UsageRecord)]) -> Vec<&str> {
    records.iter().map(|(_, record)| record.call_id.as_str()).collect()
}

#[test]
fn what_is_completed_is_read_in_the_order_of_completion() {
    let dir = Dir::new();
    let (spool, _) = Spool::open(&dir.0).unwrap();
    let (slow, fast, refused) = (record(), record(), record());
    let slow_intent = spool.intent(&slow).unwrap();
    let fast_intent = spool.intent(&fast).unwrap();
    spool.record(refused.clone()).unwrap();
    assert_eq!(call_ids(&read_all(&spool)), [&refused.call_id]);
    fast_intent.complete(done(&fast));
    slow_intent.complete(UsageRecord { call_id: "another".to_owned(), ..done(&slow) });
    let records = read_all(&spool);
    assert_eq!(call_ids(&records), [&refused.call_id, &fast.call_id, &slow.call_id]);
    assert_eq!(records[1].1, done(&fast));
    assert!(records.is_sorted_by(|(one, _), (two, _)| one < two));
    assert_eq!(spool.depth(), 3);
}

#[test]
fn a_call_that_a_crash_left_open_is_unknown_exactly_once() {
    let dir = Dir::new();
    let (spool, id) = Spool::open(&dir.0).unwrap();
    let (lost, finished) = (record(), record());
    drop(spool.intent(&lost).unwrap());
    spool.intent(&finished).unwrap().complete(done(&finished));
    let last_position = read_all(&spool)[0].0;
    drop(spool);
    for _ in 0..3 {
        let (spool, same_id) = reopen(&dir.0, &Settings::default());
        assert_eq!(same_id, id);
        let records = read_all(&spool);
        assert_eq!(call_ids(&records), [&finished.call_id, &lost.call_id]);
        let (position, unknown) = &records[1];
        assert!(*position > last_position);
        assert_eq!(unknown.outcome(), Outcome::Unknown);
        assert!(unknown.forwarded);
        assert_eq!((unknown.decision.as_str(), unknown.duration_us, spool.depth()), ("allowed", 0, 2));
    }
}

#[test]
fn a_torn_segment_loses_its_torn_entry_only() {
    let whole = Dir::new();
    let (spool, _) = Spool::open(&whole.0).unwrap();
    let records: Vec<UsageRecord> = (0..4).map(|_| record()).collect();
    let mut ends = Vec::new();
    for record in &records {
        spool.record(record.clone()).unwrap();
        ends.push(spool.bytes());
    }
    let bytes = fs::read(&whole.segments()[0]).unwrap();
    assert_eq!(bytes.len() as u64, spool.bytes());
    for torn_at in 0..=bytes.len() {
        let torn = Dir::new();
        fs::write(segment::path(&torn.0, 1), &bytes[..torn_at]).unwrap();
        let (spool, _) = Spool::open(&torn.0).unwrap();
        let sound = ends.iter().filter(|&&end| end <= torn_at as u64).count();
        let found = read_all(&spool);
        assert_eq!(found.len(), sound, "torn at {torn_at}");
        assert!(found.iter().map(|(_, found)| found).eq(&records[..sound]));
        // What comes after is found behind it.
        spool.record(records[3].clone()).unwrap();
        assert_eq!(read_all(&spool).len(), sound + 1);
    }
}

/// What is found again of calls of which some ended and some did not, wherever the segment was torn.
#[test]
fn torn_anywhere_a_segment_yields_each_call_once_as_far_as_it_had_come() {
    let whole = Dir::new();
    let (spool, _) = Spool::open(&whole.0).unwrap();
    let known = |server: &str| UsageRecord {
        agent: "bot".to_owned(),
        team: "platform".to_owned(),
        server: server.to_owned(),
        input_bytes: 21,
        labels: [("stage".to_owned(), "prod".to_owned())].into(),
        ..record()
    };
    // Of each call where its intent and its completion end in the file.
    let mut calls: Vec<(UsageRecord, u64, Option<u64>)> = Vec::new();
    let mut open: Vec<(usize, Intent)> = Vec::new();
    for name in ["first", "second", "third", "fourth"] {
        let call = known(name);
        let intent = spool.intent(&call).unwrap();
        open.push((calls.len(), intent));
        calls.push((call, spool.bytes(), None));
        // The second and the fourth arrival end the call before them; two never end.
        if calls.len().is_multiple_of(2) {
            let (index, intent) = open.remove(0);
            intent.complete(done(&calls[index].0));
            calls[index].2 = Some(spool.bytes());
        }
    }
    let bytes = fs::read(&whole.segments()[0]).unwrap();
    for torn_at in 0..=bytes.len() {
        let torn = Dir::new();
        fs::write(segment::path(&torn.0, 1), &bytes[..torn_at]).unwrap();
        let reached = |end: u64| end <= torn_at as u64;
        let ended = calls.iter().filter(|(.., end)| end.is_some_and(reached)).map(|(call, ..)| done(call));
        let unknown = calls.iter().filter(|(_, begun, end)| reached(*begun) && !end.is_some_and(reached));
        // An unknown call says all that its intent said.
        let unknown = unknown.map(|(call, ..)| UsageRecord {
            outcome: Outcome::Unknown.into(),
            decision: "allowed".to_owned(),
            forwarded: true,
            ..call.clone()
        });
        let expected: Vec<UsageRecord> = ended.chain(unknown).collect();
        // The second start finds what the first one wrote.
        for _ in 0..2 {
            let (spool, _) = reopen(&torn.0, &Settings::default());
            let found: Vec<UsageRecord> = read_all(&spool).into_iter().map(|(_, record)| record).collect();
            assert_eq!(found, expected, "torn at {torn_at}");
        }
    }
}

#[test]
fn no_changed_byte_is_believed() {
    let frame = entry::frame(9, &entry::message(Event::Completion(record())));
    assert!(entry::read(&frame).is_some());
    for index in 0..frame.len() {
        for flip in [1, 0x80, 0xff] {
            let mut changed = frame.clone();
            changed[index] ^= flip;
            assert!(entry::read(&changed).is_none(), "byte {index}");
        }
    }
    assert!(entry::read(&[0; 64]).is_none(), "a hole in the file is no entry");
}

#[test]
fn positions_ascend_over_restarts_even_when_the_end_was_lost() {
    let dir = Dir::new();
    let mut highest = 0;
    for _ in 0..4 {
        let (spool, _) = reopen(&dir.0, &Settings::default());
        for _ in 0..5 {
            spool.record(record()).unwrap();
        }
        let positions: Vec<u64> = read_all(&spool).into_iter().map(|(position, _)| position).collect();
        assert!(positions.is_sorted_by(|one, two| one < two));
        let last = *positions.last().unwrap();
        assert!(last > highest);
        highest = last;
        drop(spool);
        // The host dies: the last segment comes back empty.
        fs::write(dir.segments().last().unwrap(), b"").unwrap();
    }
}

#[test]
fn acknowledged_segments_go_and_an_open_intent_holds_none() {
    let dir = Dir::new();
    let (spool, _) = Spool::open_with(&dir.0, small_segments()).unwrap();
    let long = record();
    let long_intent = spool.intent(&long).unwrap();
    for _ in 0..100 {
        let call = record();
        spool.intent(&call).unwrap().complete(done(&call));
    }
    assert!(dir.segments().len() > 5);
    let records = read_all(&spool);
    spool.acknowledge(records[49].0, 50).unwrap();
    assert_eq!(spool.depth(), 50);
    assert_eq!(read_all(&spool), records[50..]);
    spool.acknowledge(records[99].0, 50).unwrap();
    assert_eq!((spool.depth(), dir.segments().len()), (0, 1));
    assert!(spool.bytes() < 2_000);
    // The open intent moved on: a crash now would still find it.
    let tail = fs::read(&dir.segments()[0]).unwrap();
    let crashed = Dir::new();
    fs::write(segment::path(&crashed.0, segment::list(&dir.0).unwrap()[0]), tail).unwrap();
    let (found, _) = Spool::open(&crashed.0).unwrap();
    assert!(call_ids(&read_all(&found)).contains(&long.call_id.as_str()));
    long_intent.complete(done(&long));
    assert_eq!(call_ids(&read_all(&spool)), [&long.call_id]);
}

#[test]
fn calls_that_are_all_open_are_not_copied_for_ever() {
    let dir = Dir::new();
    let (spool, _) = Spool::open_with(&dir.0, small_segments()).unwrap();
    let calls: Vec<UsageRecord> = (0..100).map(|_| record()).collect();
    let intents: Vec<Intent> = calls.iter().map(|call| spool.intent(call).unwrap()).collect();
    spool.record(record()).unwrap();
    let bytes = spool.bytes();
    spool.acknowledge(read_all(&spool)[0].0, 1).unwrap();
    assert_eq!(spool.bytes(), bytes);
    for (intent, call) in intents.into_iter().zip(&calls) {
        intent.complete(done(call));
    }
    let records = read_all(&spool);
    spool.acknowledge(records.last().unwrap().0, 100).unwrap();
    assert_eq!((records.len(), dir.segments().len()), (100, 1));
}

#[test]
fn an_entry_whose_position_does_not_ascend_ends_its_segment() {
    let dir = Dir::new();
    let messages = [record(), record()].map(|record| entry::message(Event::Completion(record)));
    let frames = messages.map(|message| entry::frame(1, &message)).concat();
    fs::write(segment::path(&dir.0, 1), frames).unwrap();
    let (spool, _) = Spool::open(&dir.0).unwrap();
    assert_eq!(read_all(&spool).len(), 1);
}

#[test]
fn a_restart_does_not_resend_what_was_acknowledged() {
    let dir = Dir::new();
    let (spool, _) = Spool::open(&dir.0).unwrap();
    for _ in 0..10 {
        spool.record(record()).unwrap();
    }
    let records = read_all(&spool);
    spool.acknowledge(records[6].0, 7).unwrap();
    drop(spool);
    let (spool, _) = reopen(&dir.0, &Settings::default());
    assert_eq!((spool.depth(), read_all(&spool)), (3, records[7..].to_vec()));
    drop(spool);
    // Without the file everything is sent again, which the control plane recognises.
    fs::remove_file(dir.0.join("acknowledged")).unwrap();
    let (spool, _) = reopen(&dir.0, &Settings::default());
    assert_eq!((spool.depth(), read_all(&spool)), (10, records));
}

#[test]
fn a_full_spool_takes_completions_but_no_new_calls() {
    let dir = Dir::new();
    let settings = Settings { bytes_max: 5_000, ..small_segments() };
    let (spool, _) = Spool::open_with(&dir.0, settings).unwrap();
    let mut open = Vec::new();
    let refused = loop {
        let call = record();
        match spool.intent(&call) {
            Ok(intent) => open.push((intent, call)),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, SpoolError::Full), "{refused}");
    assert!(matches!(spool.record(record()), Err(SpoolError::Full)));
    assert!(spool.bytes() <= 5_000);
    let calls = open.len() as u64;
    for (intent, call) in open {
        intent.complete(done(&call));
    }
    let records = read_all(&spool);
    assert_eq!(records.len() as u64, calls);
    spool.acknowledge(records.last().unwrap().0, calls).unwrap();
    assert!(spool.intent(&record()).is_ok(), "what was acknowledged makes room");
}

#[test]
fn a_spool_belongs_to_one_process_and_one_data_plane() {
    let dir = Dir::new();
    let (_spool, _) = Spool::open(&dir.0).unwrap();
    assert!(matches!(Spool::open(&dir.0), Err(SpoolError::InUse)));
    let foreign = Dir::new();
    fs::write(foreign.0.join("data-plane-id"), "nonsense").unwrap();
    assert!(matches!(Spool::open(&foreign.0), Err(SpoolError::Identity)));
}

#[test]
fn a_record_that_could_not_be_read_back_is_refused() {
    let dir = Dir::new();
    let (spool, _) = Spool::open(&dir.0).unwrap();
    let huge = UsageRecord { tool: "x".repeat(70_000), ..record() };
    assert!(matches!(spool.intent(&huge), Err(SpoolError::TooLarge(_))));
    assert!(matches!(spool.record(huge), Err(SpoolError::TooLarge(_))));
    let grown = record();
    let intent = spool.intent(&grown).unwrap();
    intent.complete(UsageRecord { tool: "x".repeat(200_000), ..done(&grown) });
    assert_eq!(call_ids(&read_all(&spool)), [&grown.call_id]);
}

#[test]
fn a_completion_that_the_disk_refuses_waits_for_it() {
    let dir = Dir::new();
    let (spool, _) = Spool::open_with(&dir.0, Settings { segment_bytes_max: 1, ..Settings::default() }).unwrap();
    let call = record();
    let intent = spool.intent(&call).unwrap();
    // Every entry takes a new segment here, and there is a directory in the way of the next one.
    let next = segment::list(&dir.0).unwrap()[0] + 1;
    let obstacle = segment::path(&dir.0, next);
    fs::create_dir(&obstacle).unwrap();
    intent.complete(done(&call));
    assert!(matches!(spool.intent(&record()), Err(SpoolError::Io(_))), "no new call passes");
    assert_eq!((spool.depth(), read_all(&spool)), (1, vec![]));
    fs::remove_dir(&obstacle).unwrap();
    let started = Instant::now();
    while read_all(&spool).is_empty() {
        assert!(started.elapsed() < Duration::from_secs(5), "the completion stays parked");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!((spool.depth(), call_ids(&read_all(&spool))), (1, vec![call.call_id.as_str()]));
}
