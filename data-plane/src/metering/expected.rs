//! How many tokens the answers of each tool have, so that as many can be reserved before it is called.
//!
//! Invariant: what is learnt fades, so that a tool which changes is known anew after some hundred calls.

use super::per_tool::PerTool;

/// Of a tool that has answered nothing yet.
const UNKNOWN: u64 = 500;
/// Answers after which those of before count half.
const HALVED_AFTER: u32 = 512;
/// Each bucket ends at two to the power of a third more than the one before.
const BUCKETS: usize = 72;
const BUCKETS_PER_OCTAVE: f64 = 3.0;
/// The share of answers that are not larger than what is expected.
const COVERED: f64 = 0.95;

/// How large the answers of every tool were.
#[derive(Debug, Default)]
pub(super) struct Expected(PerTool<Sizes>);

/// How large answers were.
#[derive(Debug)]
struct Sizes {
    counts: [u32; BUCKETS],
    total: u32,
}

impl Expected {
    /// What 95 of 100 answers do not exceed, in tokens.
    pub(super) fn output(&self, server: &str, tool: &str) -> u64 {
        self.0.of(server, tool, Sizes::covering).unwrap_or(UNKNOWN)
    }

    pub(super) fn learn(&self, server: &str, tool: &str, tokens: u64) {
        self.0.learn(server, tool, |sizes| sizes.add(tokens));
    }
}

impl Default for Sizes {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], total: 0 }
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
