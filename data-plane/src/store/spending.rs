//! What calls take of budgets.
//!
//! A budget is counted in whole units of a power of ten of its currency. Of what data planes have counted together and what
//! the ledger has, the greater is what is spent: so a store that lost its counters goes on from the ledger, and calls that the
//! ledger does not have yet are counted all the same.
//!
//! Invariant: what is spent never goes below what the ledger was known to have.

use tollgate_proto::BudgetId;

use super::StoreError;

/// Neither what is spent nor a cost is counted beyond this: every sum of them is exact in Redis.
pub const SPENT_MAX: u64 = 1 << 51;

/// Which budget in which of its periods, and in which unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BudgetKey {
    /// The budget.
    pub budget: BudgetId,
    /// When the period began, in Unix seconds.
    pub period_start: i64,
    /// The unit: 10 to the power of minus this, of the currency. One that changes starts with what the ledger has.
    pub decimals: u32,
}

/// What one request would take of one budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spend {
    /// The budget.
    pub key: BudgetKey,
    /// What there is, at most [`SPENT_MAX`].
    pub amount: u64,
    /// What the ledger has, at most [`SPENT_MAX`]; `None`: nobody has said, and where nothing was counted either, nothing
    /// passes.
    pub known: Option<u64>,
    /// What this request is expected to cost, at most [`SPENT_MAX`].
    pub cost: u64,
    /// In how many seconds nobody asks any more.
    pub lasts_s: u64,
}

/// What is spent of one budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpendState {
    /// With this request, where it was admitted.
    pub spent: u64,
    /// Whether the request fits in.
    pub fit: Fit,
}

/// Whether a request fits into a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// It does.
    Fits,
    /// It costs more than is left.
    Over,
    /// Nobody knows what is spent.
    Unknown,
}

/// What a call came to, once that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// The budget.
    pub key: BudgetKey,
    /// What was charged.
    pub cost: u64,
    /// What it came to, at most [`SPENT_MAX`].
    pub actual: u64,
}

impl Spend {
    /// What is to be settled once it is known what it came to.
    #[must_use]
    pub const fn came_to(&self, actual: u64) -> Spent {
        Spent { key: self.key, cost: self.cost, actual }
    }

    /// What becomes of it where so much was counted; `None`: nothing was.
    pub(crate) fn judge(&self, counted: Option<u64>) -> SpendState {
        let spent = counted.max(self.known);
        let fit = match spent {
            None => Fit::Unknown,
            Some(spent) if spent.saturating_add(self.cost) > self.amount => Fit::Over,
            Some(_) => Fit::Fits,
        };
        SpendState { spent: spent.unwrap_or_default(), fit }
    }
}

impl Spent {
    /// How much more it came to than was charged.
    pub(super) const fn difference(&self) -> i64 {
        self.actual.cast_signed() - self.cost.cast_signed()
    }
}

/// That nobody knows what is spent is as if counters could not be reached.
pub(super) fn require_known(spent: &[SpendState]) -> Result<(), StoreError> {
    if spent.iter().any(|state| state.fit == Fit::Unknown) {
        return Err(StoreError::Unavailable("what is spent of a budget is not known here yet".to_owned()));
    }
    Ok(())
}
