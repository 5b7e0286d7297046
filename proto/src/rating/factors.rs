//! How much of a price is charged, by how a call ended.
//!
//! Invariant: a call that was turned away is charged to nobody: there is no factor for it.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::Range;
use crate::usage::v1::Outcome;

/// What a factor may be: below 10, in hundredths.
pub const FACTOR: Range = Range { digits: 1, decimals: 2 };

/// How a call that a server saw ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// With a result.
    Ok,
    /// With a result that says that the tool failed.
    ToolError,
    /// With a JSON-RPC error.
    RpcError,
    /// Not in time.
    Timeout,
    /// With nothing that is MCP.
    UpstreamError,
    /// The agent went away before the answer was complete.
    Abandoned,
    /// The caller lost the right to it during the answer.
    CutOff,
    /// Nobody knows: the data plane stopped in between.
    Unknown,
    /// With a question to the agent: a round of a call that goes on.
    InputRequired,
    /// It was turned away, and no server saw it.
    Refused,
}

/// How much of a price is charged for each ending.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Factors(BTreeMap<Ending, Decimal>);

impl Ending {
    /// Those that a book may set a factor for, as it writes them.
    pub const CHARGEABLE: [(&'static str, Self); 9] = [
        ("ok", Self::Ok),
        ("tool_error", Self::ToolError),
        ("rpc_error", Self::RpcError),
        ("timeout", Self::Timeout),
        ("upstream_error", Self::UpstreamError),
        ("abandoned", Self::Abandoned),
        ("cut_off", Self::CutOff),
        ("unknown", Self::Unknown),
        ("input_required", Self::InputRequired),
    ];

    /// What the record of a call says as it travels.
    #[must_use]
    pub const fn of_outcome(outcome: Outcome, input_required: bool) -> Self {
        if input_required {
            return Self::InputRequired;
        }
        match outcome {
            Outcome::Ok => Self::Ok,
            Outcome::ToolError => Self::ToolError,
            Outcome::RpcError => Self::RpcError,
            Outcome::Timeout => Self::Timeout,
            Outcome::UpstreamError => Self::UpstreamError,
            Outcome::Abandoned => Self::Abandoned,
            Outcome::CutOff => Self::CutOff,
            Outcome::Unknown => Self::Unknown,
            Outcome::Refused | Outcome::Unspecified => Self::Refused,
        }
    }

    /// What a usage record's `outcome` says.
    #[must_use]
    pub fn of(outcome: &str) -> Self {
        Self::chargeable(outcome).unwrap_or(Self::Refused)
    }

    /// One that a book may set a factor for.
    #[must_use]
    pub fn chargeable(text: &str) -> Option<Self> {
        Self::CHARGEABLE.into_iter().find(|(name, _)| *name == text).map(|(_, ending)| ending)
    }
}

impl Factors {
    /// With these instead of the standard ones.
    #[must_use]
    pub const fn new(given: BTreeMap<Ending, Decimal>) -> Self {
        Self(given)
    }

    /// How much is charged for this ending.
    #[must_use]
    pub fn of(&self, ending: Ending) -> Decimal {
        self.0.get(&ending).copied().unwrap_or_else(|| Self::standard(ending))
    }

    /// How much is charged unless a book says otherwise: all of it once the server has worked, nothing where the agent
    /// has got nothing for it.
    #[must_use]
    pub const fn standard(ending: Ending) -> Decimal {
        match ending {
            Ending::Ok | Ending::ToolError | Ending::Abandoned | Ending::CutOff | Ending::Unknown => Decimal::ONE,
            Ending::RpcError | Ending::Timeout | Ending::UpstreamError | Ending::InputRequired | Ending::Refused => {
                Decimal::ZERO
            }
        }
    }
}
