//! What data planes are told of budgets: those that turn calls away, when their periods begin, and what calls cost.
//!
//! Invariant: it depends on the database alone, and not on the time, so that every control plane says the same of a revision.

use chrono::TimeDelta;
use tollgate_proto::{
    AgentId, BudgetId, TeamId, TenantId,
    policy::v1::{Budget, Calendar, OnStoreOutage, PriceBook, budget::On},
};

use super::{
    Period,
    sql::{self, HardRow},
};
use crate::{db::TenantTx, price_books};

/// For how long data planes know prices that have ended: calls of before may still be rated, by clocks that differ.
const ENDED_WITHIN: TimeDelta = TimeDelta::days(1);

/// What a policy has of budgets; nothing at all where none turns calls away.
#[derive(Debug, Default)]
pub(crate) struct InPolicy {
    pub(crate) budgets: Vec<Budget>,
    pub(crate) calendars: Vec<Calendar>,
    pub(crate) price_books: Vec<PriceBook>,
}

/// What the policy of the transaction's tenant has of budgets.
///
/// # Errors
/// When Postgres is away, or a row is damaged.
pub(crate) async fn in_policy(tx: &mut TenantTx, tenant: TenantId) -> Result<InPolicy, sqlx::Error> {
    let rows = sql::hard(tx, tenant).await?;
    if rows.is_empty() {
        return Ok(InPolicy::default());
    }
    let frame = sql::frame(tx, tenant).await?;
    let zone = sql::zone(&frame.time_zone)?;
    let is_used = |period: &Period| rows.iter().any(|row| row.period == period.as_str());
    let calendar =
        |period: Period| Calendar { period: period.wire().into(), starts: period.starts(zone, frame.budget_year) };
    let calendars = Period::ALL.into_iter().filter(is_used).map(calendar).collect();
    let price_books = price_books::in_policy(tx, tenant, frame.policy_revised_at - ENDED_WITHIN).await?;
    let budgets = rows.into_iter().map(HardRow::into_message).collect::<Result<_, _>>()?;
    Ok(InPolicy { budgets, calendars, price_books })
}

impl HardRow {
    fn into_message(self) -> Result<Budget, sqlx::Error> {
        let period = Period::read(&self.period)
            .ok_or_else(|| sqlx::Error::Decode(format!("a budget is for no `{}`", self.period).into()))?;
        let on = match (self.agent_id, self.team_id) {
            (Some(agent), _) => On::AgentId(AgentId::from(agent).to_string()),
            (None, Some(team)) => On::TeamId(TeamId::from(team).to_string()),
            (None, None) => On::Tenant(true),
        };
        let on_store_outage = match self.on_store_outage.as_str() {
            "deny" => OnStoreOutage::Deny,
            "open" => OnStoreOutage::Open,
            _ => OnStoreOutage::Unspecified,
        };
        Ok(Budget {
            id: BudgetId::from(self.id).to_string(),
            name: self.name,
            on: Some(on),
            currency: self.currency,
            amount: self.amount.normalize().to_string(),
            period: period.wire().into(),
            on_store_outage: on_store_outage.into(),
        })
    }
}
