//! How many bytes the tokens of each tool have, so that tokens can be told from bytes: before a call is made, and where
//! nobody counts.
//!
//! Invariant: an estimate is never further from the bytes than any text is: between 1.3 and 6 bytes a token.

use super::{
    counts::{Counts, Text},
    per_tool::PerTool,
};

/// Of a tool of which nothing was counted yet.
const UNKNOWN: f64 = 3.5;
const LEAST: f64 = 1.3;
const MOST: f64 = 6.0;
/// What a tool is taken for at first weighs as much as so many tokens that were counted.
const UNKNOWN_WEIGHS: f64 = 200.0;
/// What was counted before weighs half when so many tokens were.
const HALVED_AT: f64 = 65_536.0;

/// What was counted of every tool.
#[derive(Debug, Default)]
pub(super) struct Densities(PerTool<Density>);

/// Bytes per token of a tool's arguments and of its answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Density {
    pub(super) input: Ratio,
    pub(super) output: Ratio,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ratio {
    bytes: f64,
    tokens: f64,
}

impl Densities {
    pub(super) fn of(&self, server: &str, tool: &str) -> Density {
        self.0.of(server, tool, |density| *density).unwrap_or_default()
    }

    /// Learns from what was counted of one call.
    pub(super) fn learn(&self, server: &str, tool: &str, counts: &Counts) {
        self.0.learn(server, tool, |density| {
            density.input.learn(&counts.input);
            density.output.learn(&counts.output);
        });
    }
}

impl Default for Density {
    fn default() -> Self {
        let unknown = Ratio { bytes: UNKNOWN * UNKNOWN_WEIGHS, tokens: UNKNOWN_WEIGHS };
        Self { input: unknown, output: unknown }
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "sizes that memory bounds"
)]
impl Ratio {
    /// That of a text.
    pub(super) const fn of(bytes: u64, tokens: u64) -> Self {
        Self { bytes: bytes as f64, tokens: tokens as f64 }
    }

    /// How many tokens so many bytes are.
    pub(super) fn tokens(self, bytes: u64) -> u64 {
        let bytes_per_token = (self.bytes / self.tokens.max(1.0)).clamp(LEAST, MOST);
        (bytes as f64 / bytes_per_token).ceil() as u64
    }

    fn learn(&mut self, text: &Text) {
        self.bytes += text.counted_bytes as f64;
        self.tokens += text.counted_tokens as f64;
        if self.tokens > HALVED_AT {
            let kept = HALVED_AT / 2.0 / self.tokens;
            self.bytes *= kept;
            self.tokens *= kept;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(bytes: u64, tokens: u64) -> Counts {
        let output = Text { counted_bytes: bytes, counted_tokens: tokens, uncounted_bytes: 0 };
        Counts { output, ..Counts::default() }
    }

    #[test]
    fn what_was_counted_of_a_tool_tells_its_tokens_from_then_on() {
        let densities = Densities::default();
        assert_eq!(densities.of("s", "t").output.tokens(700), 200);
        for _ in 0..50 {
            densities.learn("s", "t", &counted(2_000, 1_000));
        }
        let tokens = densities.of("s", "t").output.tokens(2_000);
        assert!((990..=1_000).contains(&tokens), "{tokens}");
        assert_eq!(densities.of("s", "t").input.tokens(700), 200);
        assert_eq!(densities.of("s", "other").output.tokens(700), 200);
    }

    #[test]
    fn a_tool_that_changes_is_known_anew() {
        let densities = Densities::default();
        densities.learn("s", "t", &counted(5_000_000, 1_000_000));
        for _ in 0..20 {
            densities.learn("s", "t", &counted(32_000, 16_000));
        }
        let tokens = densities.of("s", "t").output.tokens(2_000);
        assert!((980..=1_000).contains(&tokens), "{tokens}");
    }

    #[test]
    fn no_text_makes_an_estimate_absurd() {
        let densities = Densities::default();
        densities.learn("s", "dense", &counted(1_000_000, 1_000_000));
        densities.learn("s", "sparse", &counted(u64::MAX, 1));
        assert_eq!(densities.of("s", "dense").output.tokens(1_300), 1_000);
        assert_eq!(densities.of("s", "sparse").output.tokens(6_000), 1_000);
        assert_eq!(densities.of("s", "sparse").output.tokens(0), 0);
    }
}
