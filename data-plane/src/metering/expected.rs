//! How many tokens the answers of each tool have, so that as many can be reserved before it is called.
//!
//! Invariant: memory is bounded by the number of tools, whatever servers and agents do; what is learnt fades, so that a tool
//! which changes is known anew after some hundred calls.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Of a tool that has answered nothing yet.
const UNKNOWN: u64 = 500;
/// Tools that are remembered. The others are expected to be like one that has answered nothing yet.
const TOOLS_MAX: usize = 50_000;
/// Answers after which those of before count half.
const HALVED_AFTER: u32 = 512;
/// Each bucket ends at two to the power of a third more than the one before.
const BUCKETS: usize = 72;
const BUCKETS_PER_OCTAVE: f64 = 3.0;
/// The share of answers that are not larger than what is expected.
const COVERED: f64 = 0.95;

/// What was learnt of every tool, by server and name.
#[derive(Debug, Default)]
pub(super) struct Expected {
    servers: Mutex<Learnt>,
}

#[derive(Debug, Default)]
struct Learnt {
    tools: HashMap<Box<str>, HashMap<Box<str>, Sizes>>,
    count: usize,
}

/// How large answers were.
#[derive(Debug)]
struct Sizes {
    counts: [u32; BUCKETS],
    total: u32,
}

impl Expected {
    /// What 95 of 100 answers do not exceed, in tokens.
    pub(super) fn output(&self, server: &str, tool: &str) -> u64 {
        let learnt = self.learnt();
        learnt.tools.get(server).and_then(|tools| tools.get(tool)).map_or(UNKNOWN, Sizes::covering)
    }

    pub(super) fn learn(&self, server: &str, tool: &str, tokens: u64) {
        let mut learnt = self.learnt();
        if let Some(sizes) = learnt.tools.get_mut(server).and_then(|tools| tools.get_mut(tool)) {
            sizes.add(tokens);
        } else if learnt.count < TOOLS_MAX {
            learnt.count += 1;
            let mut sizes = Sizes { counts: [0; BUCKETS], total: 0 };
            sizes.add(tokens);
            learnt.tools.entry(server.into()).or_default().insert(tool.into(), sizes);
        }
    }

    fn learnt(&self) -> MutexGuard<'_, Learnt> {
        // What is learnt is a guess: a panic elsewhere makes it no worse.
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "sizes of answers, which memory bounds, and their number, which is bounded here"
)]
impl Sizes {
    fn add(&mut self, tokens: u64) {
        if self.total >= HALVED_AFTER {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.total = self.counts.iter().sum();
        }
        let bucket = ((tokens.max(1) as f64).log2() * BUCKETS_PER_OCTAVE).ceil() as usize;
        self.counts[bucket.min(BUCKETS - 1)] += 1;
        self.total += 1;
    }

    fn covering(&self) -> u64 {
        let wanted = (f64::from(self.total) * COVERED).ceil() as u32;
        let mut covered = 0;
        let bucket = self.counts.iter().position(|count| {
            covered += count;
            covered >= wanted
        });
        (bucket.unwrap_or(BUCKETS - 1) as f64 / BUCKETS_PER_OCTAVE).exp2().ceil() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_much_is_expected_as_nearly_all_answers_had() {
        let expected = Expected::default();
        assert_eq!(expected.output("s", "t"), UNKNOWN);
        for tokens in 1..=100 {
            expected.learn("s", "t", tokens * 10);
        }
        let output = expected.output("s", "t");
        assert!((950..=1_200).contains(&output), "{output}");
        assert_eq!(expected.output("s", "other"), UNKNOWN);
        assert_eq!(expected.output("other", "t"), UNKNOWN);
    }

    #[test]
    fn what_a_tool_was_like_fades() {
        let expected = Expected::default();
        for _ in 0..2_000 {
            expected.learn("s", "t", 20_000);
        }
        for _ in 0..4_000 {
            expected.learn("s", "t", 10);
        }
        let output = expected.output("s", "t");
        assert!((10..=13).contains(&output), "{output}");
    }

    #[test]
    fn any_size_has_its_bucket() {
        let expected = Expected::default();
        for (tool, tokens) in [("none", 0), ("one", 1), ("huge", u64::MAX)] {
            expected.learn("s", tool, tokens);
        }
        assert_eq!((expected.output("s", "none"), expected.output("s", "one")), (1, 1));
        assert!(expected.output("s", "huge") > 10_000_000);
    }
}
