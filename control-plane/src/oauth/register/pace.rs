//! How fast strangers may change a tenant: every registration, replacement and deletion makes its policy anew.
//!
//! Invariant: a change is counted before it is made, and a request that changes nothing is never counted.

use std::time::Instant;

use tollgate_proto::TenantId;

use super::RegistrationRefusal;
use crate::oauth::attempts::{Failures, Guesser};

/// So many registrations may be made, replaced or deleted in one tenant within a minute.
const CHANGES_MAX: u32 = 120;

/// The changes of the last minute, per tenant and in this process. Not per address: clients that others host come from
/// few.
#[derive(Debug)]
pub struct Pace(Failures);

impl Default for Pace {
    fn default() -> Self {
        Self(Failures::at_most(CHANGES_MAX))
    }
}

impl Pace {
    /// Takes one change.
    ///
    /// # Errors
    /// [`RegistrationRefusal::TooFast`], when none is left.
    pub(super) fn take(&self, tenant: TenantId) -> Result<(), RegistrationRefusal> {
        let (everyone, now) = (Guesser::new(tenant, "", None), Instant::now());
        if let Some(retry_after) = self.0.wait(&everyone, now) {
            return Err(RegistrationRefusal::TooFast { retry_after });
        }
        self.0.note(everyone, now);
        Ok(())
    }
}
