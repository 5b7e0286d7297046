//! What holds for a tenant while its data planes hear of no control plane.
//!
//! Invariant: a tenant that says nothing has the columns' defaults.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{duration, error::Faults};

const MAX_STALE: &str = "/spec/staleness/max_stale";
const MAX_STALE_DEFAULT: &str = "60m";
/// A year.
const MAX_STALE_S_MAX: u64 = 31_536_000;
/// Without an end.
const NONE: &str = "none";
/// With the end of the lease.
const ZERO: [&str; 2] = ["0", "0s"];

/// What holds while data planes hear of no control plane.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Staleness {
    /// How long after the last heartbeat calls are served: up to `365d`, `0s` for the ten seconds of the lease, `none` for
    /// ever; `60m` unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "60m")]
    pub max_stale: Option<String>,
    /// What becomes of tools that may destroy something once the lease has run out: those that are not approved as
    /// read-only or as adding only. `deny` unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destructive: Option<Destructive>,
}

/// What becomes of tools that may destroy something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Destructive {
    /// They wait for the control plane.
    #[default]
    Deny,
    /// They are called like all others.
    Allow,
}

/// What a [`Staleness`] means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meaning {
    /// `None`: for ever.
    pub(super) max_stale_s: Option<i32>,
    pub(super) allows_destructive: bool,
}

impl Staleness {
    /// What it means; `None` when that is nothing, which `faults` says.
    pub(super) fn interpret(&self, faults: &mut Faults) -> Option<Meaning> {
        let max_stale_s = match self.max_stale() {
            NONE => None,
            zero if ZERO.contains(&zero) => Some(0),
            text => Some(seconds(text, faults)?),
        };
        Some(Meaning { max_stale_s, allows_destructive: self.destructive.unwrap_or_default() == Destructive::Allow })
    }

    /// Everything that applies, with nothing left out.
    #[must_use]
    pub fn effective(&self) -> Self {
        Self { max_stale: Some(self.max_stale().to_owned()), destructive: Some(self.destructive.unwrap_or_default()) }
    }

    /// How long calls are served, as people write it.
    #[must_use]
    pub fn max_stale(&self) -> &str {
        self.max_stale.as_deref().unwrap_or(MAX_STALE_DEFAULT)
    }
}

fn seconds(text: &str, faults: &mut Faults) -> Option<i32> {
    match duration::seconds(text) {
        Ok(seconds) if seconds <= MAX_STALE_S_MAX => i32::try_from(seconds).ok(),
        Ok(_) => {
            faults.add(MAX_STALE, "out_of_range", "up to `365d`; `none` for ever");
            None
        }
        Err(error) => {
            faults.add(MAX_STALE, "duration", format!("{error}; or `none`"));
            None
        }
    }
}
