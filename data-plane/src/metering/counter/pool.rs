//! Who counts: a few threads of their own behind a queue that is bounded.
//!
//! Invariant: a queue that is full or a count that fails loses nothing and holds up nobody: it is told at once.

use std::{
    collections::VecDeque,
    fmt,
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use tokio::sync::oneshot;

use super::{
    super::counts::{COUNTED_BYTES_MAX, Counts, Text},
    Part,
};

#[cfg(test)]
mod tests;

/// Calls that may wait to be counted.
const WAITING_MAX: usize = 4_096;
/// Bytes of theirs that are kept for it.
const WAITING_BYTES_MAX: usize = 64 << 20;
/// One thread counts the tokens of some ten thousand calls a second.
const CPUS_PER_THREAD: usize = 8;
const THREADS_MAX: usize = 4;

/// The threads. They end when this is dropped.
#[derive(Debug)]
pub(super) struct Pool(Arc<Queue>);

struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    bytes: usize,
    is_closed: bool,
}

struct Job {
    parts: Vec<Part>,
    bytes: usize,
    counted: oneshot::Sender<Counts>,
}

/// As many as leave nearly all of the processor to calls.
pub(super) fn threads() -> usize {
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    (cpus / CPUS_PER_THREAD).clamp(1, THREADS_MAX)
}

impl Pool {
    /// With a system that has no thread left nothing is counted, and everything estimated.
    pub(super) fn start(count: fn(&str) -> u64, threads: usize) -> Option<Self> {
        let pool = Self(Arc::new(Queue { waiting: Mutex::default(), arrived: Condvar::new() }));
        for number in 0..threads {
            let queue = Arc::clone(&pool.0);
            let started = thread::Builder::new().name(format!("token-count-{number}")).spawn(move || queue.work(count));
            if let Err(error) = started {
                tracing::error!(%error, "tokens are estimated: no thread counts them");
                return None;
            }
        }
        Some(pool)
    }

    /// Has these counted; `None` when there is no room.
    pub(super) fn count(&self, parts: &[Part]) -> Option<oneshot::Receiver<Counts>> {
        let bytes = parts.iter().map(Part::bytes).sum();
        let (counted, counts) = oneshot::channel();
        let mut waiting = self.0.waiting();
        // One that is larger than all the room is counted when nothing else waits.
        let is_full = !waiting.jobs.is_empty() && waiting.bytes + bytes > WAITING_BYTES_MAX;
        if is_full || waiting.jobs.len() >= WAITING_MAX {
            return None;
        }
        waiting.bytes += bytes;
        waiting.jobs.push_back(Job { parts: parts.to_vec(), bytes, counted });
        drop(waiting);
        self.0.arrived.notify_one();
        Some(counts)
    }

    /// Calls that wait.
    pub(super) fn waiting(&self) -> usize {
        self.0.waiting().jobs.len()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.0.waiting().is_closed = true;
        self.0.arrived.notify_all();
    }
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while it is held.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, count: fn(&str) -> u64) {
        while let Some(job) = self.next() {
            // Nobody waits any more: it was estimated.
            if job.counted.is_closed() {
                continue;
            }
            let counts = panic::catch_unwind(AssertUnwindSafe(|| {
                let mut counts = Counts::default();
                job.parts.iter().for_each(|part| counts.add(&part.counts(&mut bounded(count))));
                counts
            }));
            match counts {
                Ok(counts) => drop(job.counted.send(counts)),
                Err(_panic) => tracing::error!("a call's tokens are estimated: counting them failed"),
            }
        }
    }

    fn next(&self) -> Option<Job> {
        let waiting = self.waiting();
        let is_idle = |waiting: &mut Waiting| waiting.jobs.is_empty() && !waiting.is_closed;
        let mut waiting = self.arrived.wait_while(waiting, is_idle).unwrap_or_else(PoisonError::into_inner);
        let job = waiting.jobs.pop_front()?;
        waiting.bytes -= job.bytes;
        Some(job)
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("waiting", &self.waiting().jobs.len()).finish_non_exhaustive()
    }
}

impl Part {
    fn bytes(&self) -> usize {
        match self {
            Self::Input(raw) | Self::Output(_, raw) => raw.as_bytes().len(),
        }
    }
}

/// Counts the texts of one part, up to as many bytes as are counted.
fn bounded(count: fn(&str) -> u64) -> impl FnMut(&str) -> Text {
    let mut left = COUNTED_BYTES_MAX;
    move |text| {
        let within = text.floor_char_boundary(usize::try_from(left).unwrap_or(usize::MAX));
        let (counted, rest) = text.split_at(within);
        left -= counted.len() as u64;
        Text { counted_bytes: counted.len() as u64, counted_tokens: count(counted), uncounted_bytes: rest.len() as u64 }
    }
}
