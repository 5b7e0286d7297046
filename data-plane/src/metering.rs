//! What calls use: what is expected before they run, what they hold while they do, and what they came to.
//!
//! - Before: `expected` and `density`, learnt of every tool.
//! - While: `charged` is what limits hold for a call, `running` who holds a place.
//! - After: `payload`, `media` and `reported` say what counts, `counter` counts it, `tally` does so for one call.
//!
//! Invariant: what was charged for a call is settled or given back exactly once, however the call ends.

mod charged;
mod counter;
mod counts;
mod density;
mod expected;
mod media;
mod payload;
mod per_tool;
mod reported;
mod running;
mod tally;

use tollgate_proto::usage::v1::{Outcome, UsageRecord};

pub use charged::Charged;
pub use counter::{TokenCount, TokenCountError};
pub use running::keep_places;
pub use tally::Tally;

use counter::Counter;
use counts::Counts;
use density::Densities;
use expected::Expected;
use running::Running;

/// What this data plane knows of what calls use.
#[derive(Debug)]
pub struct Meter {
    counter: Counter,
    densities: Densities,
    expected: Expected,
    running: Running,
}

/// Tokens of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Of its arguments.
    pub input: u64,
    /// Of its answer.
    pub output: u64,
}

impl Meter {
    /// Of a data plane that counts so and knows nothing yet.
    #[must_use]
    pub fn new(count: TokenCount) -> Self {
        Self::with(Counter::new(count))
    }

    fn with(counter: Counter) -> Self {
        Self { counter, densities: Densities::default(), expected: Expected::default(), running: Running::default() }
    }

    /// One whose counts come too late.
    #[cfg(all(test, feature = "exact-tokens"))]
    pub(crate) fn that_never_counts() -> Self {
        Self::with(Counter::that_never_counts(std::time::Duration::ZERO))
    }

    /// One whose counts are waited for as long as anything runs.
    #[cfg(all(test, feature = "exact-tokens"))]
    pub(crate) fn that_counts_for_ever() -> Self {
        Self::with(Counter::that_never_counts(std::time::Duration::MAX))
    }

    /// As many tokens as the input of a call will come to that has been read.
    #[must_use]
    pub fn expected_input(&self, record: &UsageRecord) -> u64 {
        self.densities.of(&record.server_id, &record.tool).input.tokens(record.input_bytes)
    }

    /// As many tokens as a call will come to that has been read and not run: its input, and an output that 95 of 100
    /// calls of its tool do not exceed.
    #[must_use]
    pub fn expect(&self, record: &UsageRecord) -> u64 {
        let Usage { input, output } = self.expected_usage(record);
        input.saturating_add(output)
    }

    /// The same, each way.
    #[must_use]
    pub fn expected_usage(&self, record: &UsageRecord) -> Usage {
        let output = self.expected.output(&record.server_id, &record.tool);
        Usage { input: self.expected_input(record), output }
    }

    /// Calls that wait to be counted.
    #[must_use]
    pub fn counts_waiting(&self) -> usize {
        self.counter.waiting()
    }

    /// What these counts come to for a call, with what is not counted by the calls of its tool before.
    fn usage(&self, record: &UsageRecord, counts: &Counts) -> Usage {
        let (input, output) = counts.tokens(&self.densities.of(&record.server_id, &record.tool));
        Usage { input, output }
    }

    /// Learns from a call that a server has answered. `record`: with the tokens that were counted here.
    fn learn(&self, record: &UsageRecord, counts: &Counts) {
        if !matches!(record.outcome(), Outcome::Ok | Outcome::ToolError) || record.tool.is_empty() {
            return;
        }
        self.expected.learn(&record.server_id, &record.tool, record.output_tokens);
        self.densities.learn(&record.server_id, &record.tool, counts);
    }
}
