//! What budgets allow for some days, for reports to stand beside what these days cost.
//!
//! Invariant: a budget is compared with days only that are exactly one of its periods, and what is spent of it is what the
//! budget itself says.

use chrono::NaiveDate;
use rust_decimal::Decimal;

use super::{Period, Span, Target, spending, sql};
use crate::db::TenantTx;

/// What a budget allows for a period, and what of it is spent.
#[derive(Debug, Clone)]
pub(crate) struct Allotted {
    pub(crate) name: String,
    pub(crate) on: Subject<String>,
    pub(crate) currency: String,
    pub(crate) amount: Decimal,
    pub(crate) spent: Decimal,
}

/// What a budget is on, by what it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject<Name> {
    Agent(Name),
    Team(Name),
    Tenant,
}

impl Subject<String> {
    /// The same, for comparing.
    pub(crate) const fn as_named(&self) -> Subject<&str> {
        match self {
            Self::Agent(name) => Subject::Agent(name.as_str()),
            Self::Team(name) => Subject::Team(name.as_str()),
            Self::Tenant => Subject::Tenant,
        }
    }
}

/// The budgets for which these days, the last one not included, are a period; the smallest first.
///
/// # Errors
/// When Postgres is away.
pub(crate) async fn allotted(tx: &mut TenantTx, from: NaiveDate, to: NaiveDate) -> Result<Vec<Allotted>, sqlx::Error> {
    let span = Span { from, to };
    let Some(period) = Period::ALL.into_iter().find(|period| period.around(from) == span) else {
        return Ok(Vec::new());
    };
    let tenant = tx.tenant();
    let rows = sql::allotments(tx, tenant, period).await?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let sums = spending::sums(tx, tenant, &[span]).await?;
    let allotted = rows.into_iter().map(|row| Allotted {
        spent: sums.cost(0, Target::of(row.agent_id, row.team_id), &row.currency),
        on: row.on(),
        name: row.name,
        currency: row.currency,
        amount: row.amount,
    });
    Ok(allotted.collect())
}
