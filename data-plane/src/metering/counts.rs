//! What was counted of a call: its text in both directions, and its media.
//!
//! Invariant: what nobody counted is kept apart from what somebody did, so that an estimate never passes for a count.

use super::{
    density::{Density, Ratio},
    media::Media,
};

/// The most text of one answer that is counted. The rest is taken to be like it.
pub(super) const COUNTED_BYTES_MAX: u64 = 256 * 1024;

/// What was counted of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// What the model wrote.
    pub(super) input: Text,
    /// What the model gets.
    pub(super) output: Text,
    /// What it gets beside text.
    pub(super) media: Media,
}

/// Text in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Text {
    pub(super) counted_bytes: u64,
    pub(super) counted_tokens: u64,
    pub(super) uncounted_bytes: u64,
}

impl Counts {
    /// Whether every text was counted to its end.
    pub(super) const fn is_exact(&self) -> bool {
        self.input.uncounted_bytes == 0 && self.output.uncounted_bytes == 0
    }

    pub(super) const fn add(&mut self, other: &Self) {
        self.input.add(&other.input);
        self.output.add(&other.output);
        self.media.add(&other.media);
    }

    /// Tokens in and out, with what is not counted by this density.
    pub(super) fn tokens(&self, density: &Density) -> (u64, u64) {
        let output = self.output.tokens(density.output).saturating_add(self.media.tokens);
        (self.input.tokens(density.input), output)
    }
}

impl Text {
    pub(super) const fn add(&mut self, other: &Self) {
        self.counted_bytes += other.counted_bytes;
        self.counted_tokens += other.counted_tokens;
        self.uncounted_bytes += other.uncounted_bytes;
    }

    fn tokens(&self, ratio: Ratio) -> u64 {
        let is_long = self.counted_bytes >= COUNTED_BYTES_MAX / 2;
        let ratio = if is_long { Ratio::of(self.counted_bytes, self.counted_tokens) } else { ratio };
        self.counted_tokens.saturating_add(ratio.tokens(self.uncounted_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_a_long_text_is_taken_to_be_like_what_was_counted_of_it() {
        let long = Text { counted_bytes: COUNTED_BYTES_MAX, counted_tokens: 131_072, uncounted_bytes: 2_000 };
        assert_eq!(long.tokens(Density::default().output), 132_072);
        let short = Text { counted_bytes: 10, counted_tokens: 5, uncounted_bytes: 700 };
        assert_eq!(short.tokens(Density::default().output), 205);
    }

    #[test]
    fn media_count_with_the_output() {
        let media = Media { images: 1, audio: 0, bytes: 9, tokens: 80 };
        let output = Text { counted_bytes: 4, counted_tokens: 1, uncounted_bytes: 0 };
        let counts = Counts { output, media, ..Counts::default() };
        assert_eq!((counts.tokens(&Density::default()), counts.is_exact()), ((0, 81), true));
    }
}
