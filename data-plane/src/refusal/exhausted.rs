//! What of a limit is used up.
//!
//! Invariant: what it says names the limit's own numbers, so that whoever reads it knows what to ask an administrator for.

use std::fmt;

use crate::policy::Rate;

/// What of a limit is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exhausted {
    /// Requests.
    Requests(Rate),
    /// Tokens.
    Tokens(Rate),
    /// Calls that may run at once.
    Places(u32),
}

/// What a limit counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Requests.
    Requests,
    /// Tokens.
    Tokens,
    /// Calls that run at once.
    Places,
}

impl Exhausted {
    /// What it counts in.
    #[must_use]
    pub const fn unit(self) -> Unit {
        match self {
            Self::Requests(_) => Unit::Requests,
            Self::Tokens(_) => Unit::Tokens,
            Self::Places(_) => Unit::Places,
        }
    }

    /// How much there is.
    #[must_use]
    pub const fn limit(self) -> u32 {
        match self {
            Self::Requests(rate) | Self::Tokens(rate) => rate.count,
            Self::Places(places) => places,
        }
    }

    /// In how many seconds; none: at any moment.
    #[must_use]
    pub const fn window_s(self) -> Option<u32> {
        match self {
            Self::Requests(rate) | Self::Tokens(rate) => Some(rate.window_s),
            Self::Places(_) => None,
        }
    }
}

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requests(Rate { count, window_s }) => write!(f, "{count} requests in {window_s} s"),
            Self::Tokens(Rate { count, window_s }) => write!(f, "{count} tokens in {window_s} s"),
            Self::Places(places) => write!(f, "{places} calls at once"),
        }
    }
}
