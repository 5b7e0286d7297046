//! What an admission asks and answers.
//!
//! Invariant: the answer holds one [`RingState`] per charge, in the order asked, unless the session is missing.

use tollgate_proto::LimitId;

use super::session::Session;

/// What kind of request a ring counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Requests that make a server do something, such as `tools/call`.
    Executing,
    /// Requests that only look, such as `tools/list`.
    Discovery,
}

/// Which ring: one per limit and class, within the tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RingKey {
    /// The limit that the ring enforces.
    pub limit: LimitId,
    /// What it counts.
    pub class: Class,
}

/// What one request would take from one ring. A request names each ring once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charge {
    /// The ring.
    pub key: RingKey,
    /// Requests that may pass in any window.
    pub limit: u32,
    /// Length of the window in seconds, at least 1. Up to 60 s it is counted in slots of one second, above in
    /// slots of `ceil(window / 60)` seconds. A ring whose window changes its slots starts empty.
    pub window_s: u32,
    /// Requests that this one counts for. A cost above the limit never passes, however long the caller waits.
    pub cost: u32,
}

/// What became of a request.
#[derive(Debug, Clone)]
pub struct Admission {
    /// The session, if one was asked for.
    pub session: Loaded,
    /// Whether the request may go on.
    pub verdict: Verdict,
    /// The rings after the verdict, in the order of the charges; empty when the session is missing.
    pub rings: Vec<RingState>,
    /// What a refund needs.
    pub charged_at: ChargedAt,
}

/// The session of a request.
#[derive(Debug, Clone)]
pub enum Loaded {
    /// The request named none.
    NotAsked,
    /// Unknown, expired, terminated or another owner's.
    Missing,
    /// The owner's live session.
    Found(Box<Session>),
}

/// The rings' answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every ring had room and is charged.
    Admitted,
    /// Some ring had no room; none is charged.
    Refused {
        /// Each ring that had no room, in the order of the charges.
        by: Vec<RingKey>,
        /// Whole seconds after which all of them have room, if nobody else takes it. One second less does not do.
        retry_after_s: u32,
    },
    /// The session is missing: no ring was tested, none is charged.
    NotTested,
}

/// What is left in one ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingState {
    /// Requests that would still pass now.
    pub remaining: u32,
    /// Seconds until the oldest charge leaves the window; zero when the ring is empty.
    pub reset_s: u32,
    /// Seconds until this ring has room for the cost; zero when it had.
    pub retry_after_s: u32,
}

/// In which slot of each ring an admission was charged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChargedAt(pub(super) Vec<u64>);

impl Verdict {
    /// The verdict that follows from what each ring says.
    pub(super) fn from_rings(charges: &[Charge], rings: &[RingState]) -> Self {
        let refusing = || charges.iter().zip(rings).filter(|(_, ring)| ring.retry_after_s > 0);
        match refusing().map(|(_, ring)| ring.retry_after_s).max() {
            None => Self::Admitted,
            Some(retry_after_s) => {
                Self::Refused { by: refusing().map(|(charge, _)| charge.key).collect(), retry_after_s }
            }
        }
    }
}

impl Admission {
    pub(super) const fn without_session() -> Self {
        Self {
            session: Loaded::Missing,
            verdict: Verdict::NotTested,
            rings: Vec::new(),
            charged_at: ChargedAt(Vec::new()),
        }
    }
}
