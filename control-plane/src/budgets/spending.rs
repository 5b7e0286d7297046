//! What was spent: sums of months and days, by whom and whoever pays.
//!
//! Invariant: one query, however many budgets ask; it reads the months of the spans that are asked for, the days that are left
//! of them, and no others.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use sqlx::PgConnection;
use tollgate_proto::TenantId;

use super::{Span, Target, sql};

/// What was spent in some spans, by their place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sums(BTreeMap<(usize, Target), Spent>);

/// What was spent of something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Spent {
    /// By currency.
    pub(crate) costs: BTreeMap<String, Decimal>,
    /// Calls that would be charged and have no price.
    pub(crate) unpriced_calls: i64,
}

/// What the tenant that the transaction has entered spent in each of the spans.
///
/// # Errors
/// When Postgres is away.
pub(crate) async fn sums(connection: &mut PgConnection, tenant: TenantId, spans: &[Span]) -> Result<Sums, sqlx::Error> {
    let mut sums = BTreeMap::<_, Spent>::new();
    for row in sql::sums(connection, tenant, spans).await? {
        for target in Target::counting(row.agent_id, row.team_id) {
            sums.entry((row.span, target)).or_default().add(&row.currency, row.cost, row.unpriced_calls);
        }
    }
    Ok(Sums(sums))
}

impl Sums {
    /// What was spent of this in the span at that place.
    pub(crate) fn of(&self, span: usize, target: Target) -> Spent {
        self.0.get(&(span, target)).cloned().unwrap_or_default()
    }

    /// The part of it that counts for a budget in this currency.
    pub(crate) fn cost(&self, span: usize, target: Target, currency: &str) -> Decimal {
        self.0.get(&(span, target)).map(|spent| spent.cost(currency)).unwrap_or_default()
    }
}

impl Spent {
    /// What of it is in this currency.
    pub(crate) fn cost(&self, currency: &str) -> Decimal {
        self.costs.get(currency).copied().unwrap_or_default()
    }

    fn add(&mut self, currency: &str, cost: Decimal, unpriced_calls: i64) {
        self.unpriced_calls = self.unpriced_calls.saturating_add(unpriced_calls);
        // What was free in some currency is nothing to speak of.
        if !cost.is_zero() {
            let sum = self.costs.entry(currency.to_owned()).or_default();
            *sum = sum.saturating_add(cost);
        }
    }
}
