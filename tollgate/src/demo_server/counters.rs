//! Counters that outlive a request, each named by a handle.
//!
//! Invariant: a handle cannot be guessed, so that whoever holds it was given it; and at most [`KEPT`] counters are
//! kept, the oldest going first.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use uuid::Uuid;

const KEPT: usize = 1_000;

/// All counters of one server.
#[derive(Debug, Default)]
pub(crate) struct Counters(Mutex<Shelf>);

#[derive(Debug, Default)]
struct Shelf {
    values: HashMap<String, i64>,
    oldest_first: VecDeque<String>,
}

impl Counters {
    /// Makes a counter at zero and returns its handle.
    pub(crate) fn create(&self) -> String {
        let handle = format!("ctr_{}", Uuid::new_v4().simple());
        let mut shelf = self.lock();
        if shelf.values.len() == KEPT
            && let Some(oldest) = shelf.oldest_first.pop_front()
        {
            shelf.values.remove(&oldest);
        }
        shelf.values.insert(handle.clone(), 0);
        shelf.oldest_first.push_back(handle.clone());
        handle
    }

    /// The value, when there is such a counter.
    pub(crate) fn read(&self, handle: &str) -> Option<i64> {
        self.lock().values.get(handle).copied()
    }

    /// Adds (saturating) and returns the new value, when there is such a counter.
    pub(crate) fn add(&self, handle: &str, step: i64) -> Option<i64> {
        let mut shelf = self.lock();
        let value = shelf.values.get_mut(handle)?;
        *value = value.saturating_add(step);
        Some(*value)
    }

    /// Sets to zero and returns what the value was, when there is such a counter.
    pub(crate) fn reset(&self, handle: &str) -> Option<i64> {
        self.lock().values.get_mut(handle).map(std::mem::take)
    }

    /// Sets every counter to zero and returns how many there are.
    pub(crate) fn reset_all(&self) -> usize {
        let mut shelf = self.lock();
        shelf.values.values_mut().for_each(|value| *value = 0);
        shelf.values.len()
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_counts_until_it_is_reset() {
        let counters = Counters::default();
        let handle = counters.create();
        assert_eq!(counters.add(&handle, 2), Some(2));
        assert_eq!(counters.add(&handle, 3), Some(5));
        assert_eq!(counters.reset(&handle), Some(5));
        assert_eq!(counters.read(&handle), Some(0));
        assert_eq!(counters.read("ctr_of_someone_else"), None);
    }

    #[test]
    fn all_counters_are_reset_at_once() {
        let counters = Counters::default();
        let handles = [counters.create(), counters.create()];
        assert!(handles.iter().all(|handle| counters.add(handle, 1) == Some(1)));
        assert_eq!(counters.reset_all(), 2);
        assert!(handles.iter().all(|handle| counters.read(handle) == Some(0)));
    }

    #[test]
    fn the_oldest_counter_makes_room() {
        let counters = Counters::default();
        let first = counters.create();
        let others: Vec<_> = (0..KEPT).map(|_| counters.create()).collect();
        assert_eq!(counters.read(&first), None);
        assert!(others.iter().all(|handle| counters.read(handle).is_some()));
    }
}
