//! What calls use: what is expected before they run, what they hold while they do, and what they came to.
//!
//! Invariant: what was charged for a call is settled or given back exactly once, however the call ends.

mod charged;
mod expected;
mod running;

use tollgate_proto::usage::v1::UsageRecord;

pub use charged::Charged;
pub use running::keep_places;

use expected::Expected;
use running::Running;

/// Bytes of one token, by which tokens are estimated.
const BYTES_PER_TOKEN: f64 = 3.5;

/// What this data plane knows of what calls use.
#[derive(Debug, Default)]
pub struct Meter {
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
    /// What a call comes to, by its bytes.
    #[must_use]
    pub fn estimate(&self, record: &UsageRecord) -> Usage {
        Usage { input: tokens_of(record.input_bytes), output: tokens_of(record.output_bytes) }
    }

    /// As many tokens as a call will come to that has been read and not run: its input, and an output that 95 of 100
    /// calls of its tool do not exceed.
    #[must_use]
    pub fn expect(&self, record: &UsageRecord) -> u64 {
        self.estimate(record).input.saturating_add(self.expected.output(&record.server_id, &record.tool))
    }

    /// Learns from a call that a server has answered.
    pub fn learn(&self, record: &UsageRecord) {
        self.expected.learn(&record.server_id, &record.tool, record.output_tokens);
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "an estimate of a size that memory bounds"
)]
fn tokens_of(bytes: u64) -> u64 {
    (bytes as f64 / BYTES_PER_TOKEN).ceil() as u64
}
