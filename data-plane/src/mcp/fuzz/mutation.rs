//! How an input becomes another one.
//!
//! Invariant: a seed always gives the same mutations.

/// The longest input that is made, in bytes.
const LENGTH_MAX: usize = 4096;

/// Makes inputs from a seed.
pub(super) struct Mutator(u64);

impl Mutator {
    pub(super) fn new(seed: u64) -> Self {
        // Neighbouring seeds are to have nothing in common, and zero is where a xorshift stays.
        Self((seed ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9) | 1)
    }

    /// A text of the corpus, changed in one to six places.
    pub(super) fn mutate(&mut self, corpus: &[&[u8]], tokens: &[&str]) -> Vec<u8> {
        let mut input = corpus[self.below(corpus.len())].to_vec();
        for _ in 0..=self.below(6) {
            self.change(&mut input, corpus, tokens);
        }
        input.truncate(LENGTH_MAX);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, corpus: &[&[u8]], tokens: &[&str]) {
        let at = self.below(input.len() + 1);
        match self.below(8) {
            0 if !input.is_empty() => {
                let bit = self.below(8);
                let at = self.below(input.len());
                input[at] ^= 1 << bit;
            }
            1 => drop(input.splice(at..at, [self.byte()])),
            2 => {
                let range = self.range(input.len());
                input.drain(range);
            }
            3 => {
                let range = self.range(input.len());
                let copy = input[range].to_vec();
                drop(input.splice(at..at, copy));
            }
            4 => {
                let other = corpus[self.below(corpus.len())];
                let range = self.range(other.len());
                drop(input.splice(at..at, other[range].iter().copied()));
            }
            5 => input.truncate(at),
            _ if !tokens.is_empty() => {
                let token = tokens[self.below(tokens.len())];
                let end = at + self.below(input.len() - at + 1).min(token.len());
                let end = if self.below(2) == 0 { at } else { end };
                drop(input.splice(at..end, token.bytes()));
            }
            _ => {}
        }
    }

    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        start..start + self.below((length - start).min(32) + 1)
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).expect("it is below 256")
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap_or_default() % bound.max(1)
    }
}
