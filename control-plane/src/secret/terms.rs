//! On which terms a token that lets somebody in is lent out: how long, and to how many.
//!
//! Invariant: such a token always ends.

use chrono::TimeDelta;

use crate::{
    duration,
    error::{ApiError, Faults},
};

const LIFE_S: std::ops::RangeInclusive<u64> = 60..=366 * 86_400;
const USES_DEFAULT: u32 = 1;
const USES: std::ops::RangeInclusive<u32> = 1..=10_000;

/// What was agreed.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// How long it may be used.
    pub life: TimeDelta,
    /// How often.
    pub uses: u32,
}

impl Terms {
    /// What the members `expires_in` (or else `life_default`) and `uses` of a request mean, beside what else is wrong
    /// with it.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] with every fault.
    pub fn check(
        expires_in: Option<&str>,
        life_default: &str,
        uses: Option<u32>,
        mut faults: Faults,
    ) -> Result<Self, ApiError> {
        let life_s = match duration::seconds(expires_in.unwrap_or(life_default)) {
            Ok(life_s) if LIFE_S.contains(&life_s) => life_s,
            Ok(_) => {
                faults.add("/expires_in", "out_of_range", "from `1m` to `366d`");
                0
            }
            Err(error) => {
                faults.add("/expires_in", "duration", error.to_string());
                0
            }
        };
        let uses = uses.unwrap_or(USES_DEFAULT);
        if !USES.contains(&uses) {
            faults.add("/uses", "out_of_range", "from 1 to 10000");
        }
        if !faults.is_empty() {
            return Err(ApiError::Invalid(faults));
        }
        Ok(Self { life: TimeDelta::seconds(life_s.cast_signed()), uses })
    }
}
