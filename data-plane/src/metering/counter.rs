//! How tokens are counted: exactly, by threads that take no time of any call, or by their bytes.
//!
//! Invariant: what is not counted has a size, so that there is always a figure.

#[cfg(feature = "exact-tokens")]
mod o200k;
#[cfg(feature = "exact-tokens")]
mod pool;

use std::{str::FromStr, time::Duration};

use tokio::sync::oneshot;

use super::{
    counts::{Counts, Text},
    payload,
};
use crate::mcp::{json::Raw, method::Method};

#[cfg(feature = "exact-tokens")]
use pool::Pool;

/// How long the end of a call waits for its count. The first one reads the vocabulary.
const COUNTED_WITHIN: Duration = Duration::from_secs(5);
/// How tokens are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenCount {
    /// Each text by the words of `o200k_base`, where there is time for it.
    Exact,
    /// Each text by its bytes.
    Estimate,
    /// Whole arguments and whole answers by their bytes: nobody looks what is in them.
    Off,
}

/// It is no way of counting that this binary has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenCountError {
    /// A word that means none.
    #[error("must be `exact`, `estimate` or `off`")]
    Unknown,
    /// The vocabulary was left out.
    #[error("this binary was built without exact counting (the feature `exact-tokens`): `estimate` or `off`")]
    NotBuiltIn,
}

/// Something of a call that is counted.
#[derive(Debug, Clone)]
pub(super) enum Part {
    /// What the model wrote.
    Input(Raw),
    /// A result, with the method that it answers, where that is known.
    Output(Option<Method>, Raw),
}

/// Who counts.
#[derive(Debug)]
pub struct Counter {
    mode: TokenCount,
    pool: Option<Pool>,
    counted_within: Duration,
}

/// Nobody counts: the vocabulary was left out.
#[cfg(not(feature = "exact-tokens"))]
#[derive(Debug)]
enum Pool {}

#[cfg(not(feature = "exact-tokens"))]
impl Pool {
    fn count(&self, _: &[Part]) -> Option<oneshot::Receiver<Counts>> {
        match *self {}
    }

    fn waiting(&self) -> usize {
        match *self {}
    }
}

impl TokenCount {
    /// What is meant where nothing is said: the most that this binary can.
    pub const DEFAULT: Self = if cfg!(feature = "exact-tokens") { Self::Exact } else { Self::Estimate };

    /// `exact`, `estimate` or `off`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Estimate => "estimate",
            Self::Off => "off",
        }
    }
}

impl FromStr for TokenCount {
    type Err = TokenCountError;

    fn from_str(text: &str) -> Result<Self, TokenCountError> {
        let all = [Self::Exact, Self::Estimate, Self::Off];
        match all.into_iter().find(|count| count.as_str() == text) {
            Some(Self::Exact) if !cfg!(feature = "exact-tokens") => Err(TokenCountError::NotBuiltIn),
            Some(count) => Ok(count),
            None => Err(TokenCountError::Unknown),
        }
    }
}

impl Counter {
    /// Counts so; has its threads begin.
    pub(super) fn new(mode: TokenCount) -> Self {
        #[cfg(feature = "exact-tokens")]
        if mode == TokenCount::Exact {
            return Self { mode, pool: Pool::start(o200k::count, pool::threads()), counted_within: COUNTED_WITHIN };
        }
        Self { mode, pool: None, counted_within: COUNTED_WITHIN }
    }

    /// One whose queue nobody empties, and that is waited for so long.
    #[cfg(all(test, feature = "exact-tokens"))]
    pub(super) fn that_never_counts(counted_within: Duration) -> Self {
        Self { mode: TokenCount::Exact, pool: Pool::start(|_| 0, 0), counted_within }
    }

    /// How long the end of a call waits for its count.
    pub(super) const fn counted_within(&self) -> Duration {
        self.counted_within
    }

    /// What counts exactly here, as records name it; empty when nothing does.
    pub(super) const fn tokenizer(&self) -> &'static str {
        #[cfg(feature = "exact-tokens")]
        if self.pool.is_some() {
            return o200k::NAME;
        }
        ""
    }

    /// Whether anything is counted exactly.
    pub(super) const fn is_exact(&self) -> bool {
        self.pool.is_some()
    }

    /// Calls that wait to be counted.
    pub(super) fn waiting(&self) -> usize {
        self.pool.as_ref().map_or(0, Pool::waiting)
    }

    /// Has these counted, some time later; `None` when there is no room, or nobody who counts. What comes of it is
    /// nothing when the counter failed.
    pub(super) fn count(&self, parts: &[Part]) -> Option<oneshot::Receiver<Counts>> {
        self.pool.as_ref()?.count(parts)
    }

    /// What is known of these without counting.
    pub(super) fn sizes(&self, parts: &[Part]) -> Counts {
        let mut sizes = Counts::default();
        for part in parts {
            match (part, self.mode) {
                (Part::Output(method, result), TokenCount::Off) if payload::is_counted(*method) => {
                    sizes.output.uncounted_bytes += result.as_bytes().len() as u64;
                }
                (Part::Output(..), TokenCount::Off) => {}
                _ => {
                    let size = &mut |text: &str| Text { uncounted_bytes: text.len() as u64, ..Text::default() };
                    sizes.add(&part.counts(size));
                }
            }
        }
        sizes
    }
}

impl Part {
    /// What its texts come to, each by `count`.
    fn counts(&self, count: &mut dyn FnMut(&str) -> Text) -> Counts {
        let mut counts = Counts::default();
        match self {
            Self::Input(input) => counts.input = count(&payload::input_text(input)),
            Self::Output(method, result) => {
                let output = &mut counts.output;
                counts.media = payload::output(*method, result, &mut |text| output.add(&count(text)));
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::mcp::json::{Bounds, parse};

    #[test]
    fn without_counting_sizes_are_those_of_the_text_or_of_the_whole() {
        let result = r#"{"content":[{"type":"text","text":"a text"}]}"#;
        let whole = result.len() as u64;
        let result = parse(&Bytes::from(result), &Bounds::UPSTREAM).expect("valid");
        let size = |mode, method| {
            let parts = [Part::Output(Some(method), result.clone())];
            Counter { mode, pool: None, counted_within: COUNTED_WITHIN }.sizes(&parts).output.uncounted_bytes
        };
        assert_eq!(size(TokenCount::Estimate, Method::ToolsCall), 6);
        assert_eq!(size(TokenCount::Off, Method::ToolsCall), whole);
        assert_eq!(size(TokenCount::Off, Method::ToolsList), 0);
    }

    #[test]
    fn a_way_of_counting_is_one_of_three_words() {
        for count in [TokenCount::DEFAULT, TokenCount::Estimate, TokenCount::Off] {
            assert_eq!(count.as_str().parse(), Ok(count));
        }
        assert_eq!("on".parse::<TokenCount>(), Err(TokenCountError::Unknown));
    }
}
