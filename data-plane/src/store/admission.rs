//! What an admission asks and answers.
//!
//! Invariant: the answer holds one [`RingState`] per charge, in the order asked, unless the session is missing.

use tollgate_proto::{BudgetId, CallId, LimitId};

use super::{
    ring::Ring,
    session::Session,
    spending::{Fit, Spend, SpendState, Spent},
};

/// What kind of request a ring counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Requests that make a server do something, such as `tools/call`.
    Executing,
    /// Requests that only look, such as `tools/list`.
    Discovery,
}

/// What a ring counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Meter {
    /// Requests of a class.
    Requests(Class),
    /// Tokens of what goes to servers and comes back.
    Tokens,
}

/// Which ring: one per limit and what it counts, within the tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RingKey {
    /// The limit that the ring enforces.
    pub limit: LimitId,
    /// What it counts.
    pub meter: Meter,
}

/// What one request takes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Demand {
    /// From rings. Each is named once.
    pub charges: Vec<Charge>,
    /// Among the calls that run at once. Each limit is named once.
    pub places: Vec<Place>,
    /// Of budgets. Each is named once.
    pub spends: Vec<Spend>,
}

/// A place among the calls that run at once under a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The limit.
    pub limit: LimitId,
    /// How many places there are.
    pub places: u32,
    /// Who takes it.
    pub call: CallId,
}

/// What one request would take from one ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charge {
    /// The ring.
    pub key: RingKey,
    /// What may pass in any window.
    pub limit: u32,
    /// Length of the window in seconds, at least 1. Up to 64 s it is counted in slots of one second, above in
    /// slots of `ceil(window / 64)` seconds. A ring whose window changes its slots starts empty.
    pub window_s: u32,
    /// What this request counts for. A cost above the limit never passes, however long the caller waits.
    pub cost: u32,
}

/// What became of a charge, once that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settlement {
    /// What was charged.
    pub charge: Charge,
    /// In which slot of its ring.
    pub slot: u64,
    /// What it came to: that much is charged now, and what was charged then is given back.
    pub actual: u32,
}

/// What became of what requests took, once that is known.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settled<'a> {
    /// Of rings.
    pub charges: &'a [Settlement],
    /// Among the calls that run: they are given back.
    pub places: &'a [Place],
    /// Of budgets.
    pub spends: &'a [Spent],
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
    /// How many calls run under each limit after the verdict, in the order of the places; empty when the session is
    /// missing.
    pub running: Vec<u32>,
    /// What is spent of each budget after the verdict, in the order of the spends; empty when the session is missing.
    pub spent: Vec<SpendState>,
    /// What a settlement needs.
    pub charged_at: ChargedAt,
    /// What the refusal is by, where the store shows that.
    pub shown: Option<Shown>,
}

/// What a store shows when it refuses, so that nobody has to ask it again at once.
#[derive(Debug, Clone)]
pub struct Shown {
    /// When that was by its clock, in microseconds since the Unix epoch.
    pub at_us: u64,
    /// The rings, in the order of the charges.
    pub rings: Vec<Ring>,
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
    /// Everything had room and is charged.
    Admitted,
    /// Something had no room; nothing is charged.
    Refused {
        /// Each ring that had no room, in the order of the charges.
        by: Vec<RingKey>,
        /// Each limit under which no place was free, in the order of the places.
        full: Vec<LimitId>,
        /// Each budget that the request does not fit into, in the order of the spends.
        over: Vec<BudgetId>,
        /// Whole seconds after which all rings have room, if nobody else takes it. One second less does not do. When a
        /// place gets free nobody can tell: without a ring that refuses, a second.
        retry_after_s: u32,
    },
    /// The session is missing: no ring was tested, none is charged.
    NotTested,
}

/// What is left in one ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingState {
    /// How much would still pass now.
    pub remaining: u32,
    /// Seconds until there is room for one; zero while there is.
    pub reset_s: u32,
    /// Seconds until this ring has room for the cost; zero when it had.
    pub retry_after_s: u32,
}

/// In which slot of each ring an admission was charged, in the order of the charges.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChargedAt(pub(super) Vec<u64>);

impl Demand {
    /// Whether nothing is taken.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.charges.is_empty() && self.places.is_empty() && self.spends.is_empty()
    }
}

impl Charge {
    /// So that what was charged in this slot is given back.
    #[must_use]
    pub const fn refund(self, slot: u64) -> Settlement {
        Settlement { charge: self, slot, actual: 0 }
    }
}

impl ChargedAt {
    pub(crate) const fn from_slots(slots: Vec<u64>) -> Self {
        Self(slots)
    }

    /// The slots, in the order of the charges; none where nothing was charged.
    pub fn slots(&self) -> impl Iterator<Item = u64> {
        self.0.iter().copied()
    }
}

impl Verdict {
    /// The verdict that follows from what each ring says, from under which limits no place was free, and from what is spent.
    pub(crate) fn of(demand: &Demand, rings: &[RingState], full: Vec<LimitId>, spent: &[SpendState]) -> Self {
        let refusing = || demand.charges.iter().zip(rings).filter(|(_, ring)| ring.retry_after_s > 0);
        let over = demand.spends.iter().zip(spent).filter(|(_, state)| state.fit == Fit::Over);
        let over: Vec<_> = over.map(|(spend, _)| spend.key.budget).collect();
        match refusing().map(|(_, ring)| ring.retry_after_s).max() {
            None if full.is_empty() && over.is_empty() => Self::Admitted,
            longest => {
                let by = refusing().map(|(charge, _)| charge.key).collect();
                Self::Refused { by, full, over, retry_after_s: longest.unwrap_or(1) }
            }
        }
    }
}

impl<'a> Settled<'a> {
    /// Of rings alone.
    #[must_use]
    pub const fn of(charges: &'a [Settlement]) -> Self {
        Self { charges, places: &[], spends: &[] }
    }
}

impl Admission {
    /// Of a request that asks for nothing.
    pub(crate) fn of_nothing() -> Self {
        Self { session: Loaded::NotAsked, verdict: Verdict::Admitted, ..Self::without_session() }
    }

    pub(super) const fn without_session() -> Self {
        Self {
            session: Loaded::Missing,
            verdict: Verdict::NotTested,
            rings: Vec::new(),
            running: Vec::new(),
            spent: Vec::new(),
            charged_at: ChargedAt(Vec::new()),
            shown: None,
        }
    }
}
