//! Stage 7, record: the intent is on disk before a server sees anything.
//!
//! Invariant: nothing is forwarded that the spool does not hold.

use crate::{
    call::Call,
    refusal::Refusal,
    stage::{admit::Admitted, route::Route},
    usage::Spool,
};

/// Evidence that the call is written down, or that it needs no writing because no server will see it.
#[derive(Debug)]
pub struct Recorded {
    admitted: Admitted,
}

impl Recorded {
    /// The evidence of the stage before.
    #[must_use]
    pub const fn admitted(&self) -> &Admitted {
        &self.admitted
    }
}

/// Writes the intent.
///
/// # Errors
/// [`Refusal::Overloaded`] when the spool takes no more.
pub fn record(call: &mut Call, spool: &Spool, route: &Route, admitted: Admitted) -> Result<Recorded, Refusal> {
    if route.leaves() {
        let intent = spool.intent(&call.record()).map_err(|error| {
            tracing::error!(call_id = %call.id(), %error, "the call cannot be recorded, so it is not made");
            Refusal::Overloaded
        })?;
        call.intend(intent);
    }
    Ok(Recorded { admitted })
}
