//! An append-only log of intents and completions in a directory of its own.
//!
//! A completion can always be written: the quota refuses new calls before the disk is full, and a completion that the
//! disk refuses waits in memory until it takes it.
//!
//! Invariant: segments are deleted oldest first, and an intent that is still open is copied to the end before its
//! segment goes. So a restart never finds an intent whose completion was deleted, nor loses one that is open.

mod delete;
mod read;
mod recover;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Receiver, SyncSender},
    },
    thread,
    time::Duration,
};

use tokio::sync::Notify;
use tollgate_proto::{DataPlaneId, usage::v1::UsageRecord};

pub(super) use self::read::Cursor;
use super::{
    entry::{self, Event},
    identity, segment,
};

const LOCK_FILE: &str = "lock";

/// How large the spool may grow and how often it is made durable.
#[derive(Debug, Clone)]
pub struct Settings {
    /// New calls are refused when the segments take so many bytes.
    pub bytes_max: u64,
    /// A segment that would grow beyond this is closed.
    pub segment_bytes_max: u64,
    /// Longest time between a write and its `fdatasync`: what the loss of the host may cost.
    pub sync_every: Duration,
}

/// Why the spool did not take a record. The call must not go on.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The quota or the disk is used up: the control plane has been away for long.
    #[error("the usage spool is full")]
    Full,
    /// One record is too large, because the request named something very long.
    #[error("the usage record takes {0} bytes")]
    TooLarge(usize),
    /// Another process uses the directory.
    #[error("the usage spool is in use by another process")]
    InUse,
    /// The file `data-plane-id` holds no id.
    #[error("the file `data-plane-id` of the usage spool holds no data plane id")]
    Identity,
    /// The directory or a file in it cannot be used.
    #[error("the usage spool cannot be used: {0}")]
    Io(io::Error),
}

/// The spool of this data plane. Clones share it.
#[derive(Debug, Clone)]
pub struct Spool(Arc<Inner>);

/// A call that is about to be forwarded and must be completed. One that is dropped instead stays open until the next
/// start, which completes it as `OUTCOME_UNKNOWN`.
#[derive(Debug)]
#[must_use = "an intent is closed by its completion"]
pub struct Intent {
    spool: Spool,
    call_id: String,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    settings: Settings,
    state: Mutex<State>,
    completed: Notify,
    /// Wakes the thread that syncs; the thread ends when this is dropped.
    written: SyncSender<()>,
    /// Held while the spool is open.
    _lock: File,
}

#[derive(Debug)]
struct State {
    /// By first position. The last one is being written, by `tail`.
    segments: BTreeMap<u64, Segment>,
    tail: Arc<File>,
    /// The tail ends in bytes that are no entry and could not be cut off.
    tail_is_torn: bool,
    next_position: u64,
    /// Position of the intent of every call that is not completed.
    open: HashMap<String, u64>,
    /// Completions that the disk did not take.
    parked: VecDeque<UsageRecord>,
    acknowledged: u64,
    /// Completions on disk that are not acknowledged.
    unacknowledged: u64,
    /// Closed segments and directories that were written since the last sync.
    unsynced: Vec<Arc<File>>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Segment {
    bytes: u64,
    last_completion: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { bytes_max: 1 << 30, segment_bytes_max: 8 << 20, sync_every: Duration::from_millis(50) }
    }
}

impl Spool {
    /// Opens the spool in `dir`, or makes it; completes what a crash left open. A directory belongs to one data plane
    /// for good: it must be neither shared, copied nor restored from a copy.
    ///
    /// # Errors
    /// When the directory cannot be used or another process uses it.
    pub fn open(dir: &Path) -> Result<(Self, DataPlaneId), SpoolError> {
        Self::open_with(dir, Settings::default())
    }

    /// [`Spool::open`] with other settings.
    ///
    /// # Errors
    /// As [`Spool::open`].
    pub fn open_with(dir: &Path, settings: Settings) -> Result<(Self, DataPlaneId), SpoolError> {
        fs::create_dir_all(dir)?;
        let lock = File::create(dir.join(LOCK_FILE))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => SpoolError::InUse,
            fs::TryLockError::Error(error) => SpoolError::Io(error),
        })?;
        let id = identity::data_plane_id(dir)?;
        let (state, left_open) = recover::recover(dir)?;
        let (written, wakes) = mpsc::sync_channel(1);
        let sync_every = settings.sync_every;
        let inner = Inner {
            dir: dir.to_owned(),
            settings,
            state: Mutex::new(state),
            completed: Notify::new(),
            written,
            _lock: lock,
        };
        let spool = Self(Arc::new(inner));
        let weak = Arc::downgrade(&spool.0);
        thread::Builder::new().name("usage-sync".to_owned()).spawn(move || {
            sync_when_written(&wakes, sync_every, || weak.upgrade().map(|inner| inner.sync()));
        })?;
        for intent in left_open {
            spool.complete(recover::unknown(intent));
        }
        spool.0.delete_acknowledged()?;
        Ok((spool, id))
    }

    /// Writes the intent with one `write(2)` before it returns.
    ///
    /// # Errors
    /// The call must not be forwarded: [`SpoolError::Full`] and the others alike.
    pub fn intent(&self, record: &UsageRecord) -> Result<Intent, SpoolError> {
        let message = checked_message(Event::Intent(record.clone()))?;
        let mut state = self.0.lock();
        self.0.check_quota(&state, message.len())?;
        let position = self.0.append(&mut state, &message)?;
        state.open.insert(record.call_id.clone(), position);
        drop(state);
        self.0.wake_sync();
        Ok(Intent { spool: self.clone(), call_id: record.call_id.clone() })
    }

    /// Writes the record of a call that was turned away and had no intent.
    ///
    /// # Errors
    /// When the record is not written: [`SpoolError::Full`] and the others alike.
    pub fn record(&self, record: UsageRecord) -> Result<(), SpoolError> {
        let message = checked_message(Event::Completion(record))?;
        let mut state = self.0.lock();
        self.0.check_quota(&state, message.len())?;
        self.0.append_completion(&mut state, &message)?;
        drop(state);
        self.0.announce_completion();
        Ok(())
    }

    /// Completions that the control plane has not acknowledged.
    #[must_use]
    pub fn depth(&self) -> u64 {
        let state = self.0.lock();
        state.unacknowledged + state.parked.len() as u64
    }

    /// Bytes that the segments take.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.lock().bytes()
    }

    /// Makes durable what was written so far. Blocks.
    pub fn sync(&self) {
        self.0.sync();
    }

    /// Resolves once a completion was written after the last call.
    pub(super) async fn completed(&self) {
        self.0.completed.notified().await;
    }

    /// The next completions after the cursor, at most `records_max`; moves the cursor behind them. Blocks.
    pub(super) fn read(&self, cursor: &mut Cursor, records_max: usize) -> io::Result<Vec<(u64, UsageRecord)>> {
        read::read(&self.0, cursor, records_max)
    }

    /// The control plane has the next `records` completions, up to `position`; deletes what is no longer needed. Blocks.
    pub(super) fn acknowledge(&self, position: u64, records: u64) -> Result<(), SpoolError> {
        {
            let mut state = self.0.lock();
            state.acknowledged = state.acknowledged.max(position);
            state.unacknowledged = state.unacknowledged.saturating_sub(records);
        }
        identity::set_acknowledged(&self.0.dir, position)?;
        self.0.delete_acknowledged()
    }

    fn complete(&self, record: UsageRecord) {
        let call_id = record.call_id.clone();
        let message = completion_message(record.clone());
        let mut state = self.0.lock();
        match self.0.append_completion(&mut state, &message) {
            Ok(()) => {
                state.open.remove(&call_id);
            }
            Err(error) => {
                tracing::error!(%error, call_id, "a usage record waits in memory until the disk takes it");
                state.parked.push_back(record);
            }
        }
        drop(state);
        self.0.announce_completion();
    }
}

impl Intent {
    /// Closes the intent with what became of the call. The record's `call_id` is the intent's, whatever it says.
    pub fn complete(self, record: UsageRecord) {
        self.spool.complete(UsageRecord { call_id: self.call_id, ..record });
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is complete before anything could panic, so a poisoned lock is usable.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_quota(&self, state: &State, message_bytes: usize) -> Result<(), SpoolError> {
        let wanted = (entry::HEADER_BYTES + message_bytes) as u64;
        if state.bytes() + wanted > self.settings.bytes_max { Err(SpoolError::Full) } else { Ok(()) }
    }

    fn append_completion(&self, state: &mut State, message: &[u8]) -> Result<(), SpoolError> {
        let position = self.append(state, message)?;
        state.tail_mut().last_completion = position;
        state.unacknowledged += 1;
        Ok(())
    }

    fn append(&self, state: &mut State, message: &[u8]) -> Result<u64, SpoolError> {
        let position = state.next_position;
        let bytes = entry::frame(position, message);
        let before = state.tail_mut().bytes;
        if state.tail_is_torn || (before > 0 && before + bytes.len() as u64 > self.settings.segment_bytes_max) {
            self.start_segment(state)?;
        }
        let before = state.tail_mut().bytes;
        if let Err(error) = segment::append(&state.tail, &bytes, before) {
            state.tail_is_torn = error.kind() == io::ErrorKind::Other;
            return Err(error.into());
        }
        state.tail_mut().bytes += bytes.len() as u64;
        state.next_position += 1;
        Ok(position)
    }

    fn start_segment(&self, state: &mut State) -> io::Result<()> {
        let tail = segment::create(&self.dir, state.next_position)?;
        let closed = std::mem::replace(&mut state.tail, Arc::new(tail));
        state.segments.insert(state.next_position, Segment::default());
        state.tail_is_torn = false;
        state.unsynced.extend([closed, Arc::new(File::open(&self.dir)?)]);
        Ok(())
    }

    /// Writes what was parked, then syncs what was written; true when something is still parked.
    fn sync(&self) -> bool {
        let (files, parked) = {
            let mut state = self.lock();
            self.write_parked(&mut state);
            let mut files = std::mem::take(&mut state.unsynced);
            files.push(Arc::clone(&state.tail));
            (files, !state.parked.is_empty())
        };
        for file in files {
            if let Err(error) = file.sync_data() {
                tracing::error!(%error, "the usage spool cannot be synced: losing the host now may lose records");
            }
        }
        parked
    }

    fn write_parked(&self, state: &mut State) {
        while let Some(record) = state.parked.pop_front() {
            let message = completion_message(record.clone());
            if self.append_completion(state, &message).is_err() {
                state.parked.push_front(record);
                return;
            }
            state.open.remove(&record.call_id);
            self.completed.notify_one();
        }
    }

    fn announce_completion(&self) {
        self.completed.notify_one();
        self.wake_sync();
    }

    fn wake_sync(&self) {
        // Full means that a wake is pending already; the thread lives as long as this.
        let _pending = self.written.try_send(());
    }
}

impl State {
    fn bytes(&self) -> u64 {
        self.segments.values().map(|segment| segment.bytes).sum()
    }

    fn tail_mut(&mut self) -> &mut Segment {
        self.segments.values_mut().next_back().expect("recovery starts a segment and the last is never deleted")
    }
}

impl From<io::Error> for SpoolError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Io(error),
        }
    }
}

fn checked_message(event: Event) -> Result<Vec<u8>, SpoolError> {
    let message = entry::message(event);
    if message.len() > entry::OPENING_BYTES_MAX { Err(SpoolError::TooLarge(message.len())) } else { Ok(message) }
}

/// The message of a completion. One that grew beyond what can be read back loses the names that the agent chose.
fn completion_message(record: UsageRecord) -> Vec<u8> {
    let message = entry::message(Event::Completion(record.clone()));
    if message.len() <= entry::MESSAGE_BYTES_MAX {
        return message;
    }
    tracing::error!(call_id = record.call_id, bytes = message.len(), "a usage record is too large; it loses its names");
    entry::message(Event::Completion(UsageRecord { tool: String::new(), method: String::new(), ..record }))
}

/// Gathers the writes of one interval into one sync, on a thread of its own, until the spool is dropped. `sync`
/// answers whether it must be called again, `None` when the spool is gone.
fn sync_when_written(wakes: &Receiver<()>, every: Duration, sync: impl Fn() -> Option<bool>) {
    while wakes.recv().is_ok() {
        loop {
            thread::sleep(every);
            match sync() {
                None => return,
                Some(true) => {}
                Some(false) => break,
            }
        }
    }
}
