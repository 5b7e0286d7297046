//! A sliding window of counts: one counter per slot of time, the window's slots and one more.
//!
//! Any real interval as long as the window lies inside that many consecutive slots, so no such interval ever sees
//! more admissions than the limit; the price is that a charge leaves up to one slot late. `ring.lua` is the same
//! algorithm for Redis.
//!
//! Invariant: `head` never goes back, whatever the clock does.

use super::admission::{Charge, RingKey, RingState};

/// Windows up to this many seconds have slots of one second: a minute, and what a lease adds to one.
const SLOTS_MAX: u64 = 64;

/// How a window is cut into slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// Width of a slot in seconds.
    pub slot_s: u64,
    /// How many slots the ring has.
    pub slots: u64,
}

impl Shape {
    pub(super) fn of(window_s: u32) -> Self {
        let window_s = u64::from(window_s.max(1));
        let slot_s = window_s.div_ceil(SLOTS_MAX);
        Self { slot_s, slots: window_s.div_ceil(slot_s) + 1 }
    }

    /// Seconds after which a charge has surely left the ring.
    pub(super) const fn life_s(self) -> u64 {
        self.slot_s * (self.slots + 1)
    }
}

/// Slot number `s` (seconds since the epoch, divided by the slot's width) lives at index `s mod slots`.
#[derive(Debug, Clone)]
pub struct Ring {
    window_s: u32,
    shape: Shape,
    head: u64,
    counts: Vec<u32>,
}

impl Ring {
    pub(crate) fn new(window_s: u32, now_s: u64) -> Self {
        let shape = Shape::of(window_s);
        let counts = (0..shape.slots).map(|_| 0).collect();
        Self { window_s, shape, head: now_s / shape.slot_s, counts }
    }

    /// One that a function in Redis has shown; none where it is of another window.
    pub(super) fn shown(window_s: u32, bytes: &[u8]) -> Option<Self> {
        let shape = Shape::of(window_s);
        let (head, counts) = bytes.split_first_chunk()?;
        let counts: Vec<u32> = counts.as_chunks().0.iter().map(|count| u32::from_be_bytes(*count)).collect();
        let is_whole = counts.len() as u64 == shape.slots;
        is_whole.then(|| Self { window_s, shape, head: u64::from_be_bytes(*head), counts })
    }

    /// Length of its window in seconds.
    pub(crate) const fn window_s(&self) -> u32 {
        self.window_s
    }

    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    /// Whether nothing that was charged can still be in the window.
    pub(super) fn is_over(&self, now_s: u64) -> bool {
        now_s >= self.head * self.shape.slot_s + self.shape.life_s()
    }

    /// Drops what has left the window.
    pub(crate) fn roll(&mut self, now_s: u64) {
        let now = (now_s / self.shape.slot_s).max(self.head);
        let expired = (now - self.head).min(self.shape.slots);
        for slot in now + 1 - expired..=now {
            *self.count_mut(slot) = 0;
        }
        self.head = now;
    }

    /// The ring, as this charge finds it. The ring must have been rolled to `now_s`.
    pub(crate) fn state(&self, charge: &Charge, now_s: u64) -> RingState {
        let sum = self.sum();
        let excess = (sum + u64::from(charge.cost)).saturating_sub(u64::from(charge.limit));
        let beyond = (sum + 1).saturating_sub(u64::from(charge.limit));
        RingState {
            remaining: u64::from(charge.limit).saturating_sub(sum) as u32,
            reset_s: if beyond == 0 { 0 } else { self.wait_s(beyond, now_s) },
            retry_after_s: if excess == 0 { 0 } else { self.wait_s(excess, now_s) },
        }
    }

    /// Charges the current slot and returns its number.
    pub(crate) fn charge(&mut self, cost: u32) -> u64 {
        let head = self.head;
        let count = self.count_mut(head);
        *count = count.saturating_add(cost);
        head
    }

    /// Gives back what was charged in a slot, at most what that holds and if it is still in the window; then charges
    /// what it came to.
    pub(super) fn settle(&mut self, slot: u64, cost: u32, actual: u32) {
        if slot <= self.head && slot + self.shape.slots > self.head {
            let count = self.count_mut(slot);
            *count = count.saturating_sub(cost);
        }
        self.charge(actual);
    }

    /// What is in the window at this time; nothing is dropped.
    pub(super) fn sum_at(&self, now_s: u64) -> u64 {
        let now = (now_s / self.shape.slot_s).max(self.head);
        let oldest = (now + 1).saturating_sub(self.shape.slots);
        (oldest..=self.head).map(|slot| u64::from(self.counts[(slot % self.shape.slots) as usize])).sum()
    }

    /// All that is in it, as one charge.
    pub(super) fn counted(&self, key: RingKey) -> Charge {
        let cost = u32::try_from(self.sum()).unwrap_or(u32::MAX);
        Charge { key, limit: u32::MAX, window_s: self.window_s, cost }
    }

    fn sum(&self) -> u64 {
        self.counts.iter().map(|&count| u64::from(count)).sum()
    }

    /// Seconds until `excess` charges have left: walks from the oldest slot, which leaves when the next one begins.
    fn wait_s(&self, excess: u64, now_s: u64) -> u32 {
        let mut left = 0;
        let steps = (1..self.shape.slots).find(|step| {
            left += u64::from(self.counts[((self.head + step) % self.shape.slots) as usize]);
            left >= excess
        });
        let steps = steps.unwrap_or(self.shape.slots);
        let wait_s = ((self.head + steps) * self.shape.slot_s).saturating_sub(now_s);
        // A clock that went back would make the wait longer than the ring.
        wait_s.min(self.shape.slots * self.shape.slot_s) as u32
    }

    fn count_mut(&mut self, slot: u64) -> &mut u32 {
        &mut self.counts[(slot % self.shape.slots) as usize]
    }
}
