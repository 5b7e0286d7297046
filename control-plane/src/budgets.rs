//! Budgets: how much an agent, a team or all of a tenant may spend in a calendar period.
//!
//! - `target.rs` is what a budget is on, `period.rs` for how long, `terms.rs` how much and what then.
//! - `spending.rs` adds up what was spent, `standing.rs` says what that means for a budget.
//! - `warnings.rs` raises alerts; `allotted.rs` is what reports show of budgets.
//! - `in_policy.rs` is what data planes are told of budgets, `year.rs` moves on the years whose periods they know.
//!
//! Invariant: what is spent is what the ledger's sums say, in the budget's currency alone; nothing is kept of it elsewhere, so
//! that what comes late and what is mended counts at once, and so does another amount.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tollgate_proto::{BudgetId, Name};
use utoipa::ToSchema;

use crate::{
    amount::Amount,
    app::App,
    caller::{Caller, Role},
    db::TenantTx,
    error::{ApiError, Faults},
    page::Page,
    price_books,
    resource::{Content, Draft, Kind, Object, Removable, Row, Version, Which},
};

mod allotted;
pub mod api;
mod in_policy;
mod period;
pub(crate) mod spending;
mod sql;
mod standing;
mod target;
mod terms;
#[cfg(test)]
mod tests;
mod warnings;
mod year;

pub(crate) use allotted::{Allotted, Subject, allotted};
pub(crate) use in_policy::{InPolicy, in_policy};
pub use period::Period;
pub(crate) use period::Span;
pub use standing::{NotCounted, Standing, State};
pub use target::BudgetTarget;
pub(crate) use target::Target;
pub use warnings::raise as raise_warnings;
pub use year::move_on;

use standing::Plan;
use terms::Terms;

/// How many periods the history of a budget has at most, the one now among them.
const PERIODS_MAX: usize = 12;

/// A budget as the API shows it.
pub type Budget = Object<BudgetSpec>;
/// One page of budgets.
pub type BudgetPage = Page<Budget>;
/// The body that creates a budget.
pub type NewBudget = Draft<BudgetSpec>;
/// The body that replaces a budget.
pub type BudgetContent = Content<BudgetSpec>;

/// What a client says about a budget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetSpec {
    /// What it is on.
    pub to: BudgetTarget,
    /// For how long, by the calendar of the tenant's time zone.
    pub period: Period,
    /// How much may be spent in a period: above zero and below 1,000,000,000,000, with up to 6 decimals.
    #[schema(example = "500.00")]
    pub amount: Amount,
    /// Its currency (ISO 4217), one that a price book has; that of the tenant's price books where they have one only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "EUR", pattern = "^[A-Z]{3}$")]
    pub currency: Option<String>,
    /// Shares of the amount at which an alert is raised: up to 10 in ascending order, above 0 and up to 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>, max_items = 10, example = json!(["0.5", "0.8", "1"]))]
    pub soft: Option<Vec<Amount>>,
    /// What happens when all of it is spent; left out, nothing but alerts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hard: Option<Hard>,
    /// What happens while data planes cannot reach their counters; only with `hard`, and `deny` where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_store_outage: Option<OnStoreOutage>,
}

/// What becomes of calls when a budget is spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Hard {
    /// They are refused until the next period.
    Deny,
}

/// What a budget does while data planes cannot reach their counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnStoreOutage {
    /// Each data plane counts what it spends itself, on top of what it knows of the others.
    Local,
    /// Calls that it is on are refused with 503.
    Deny,
    /// It lets everything pass.
    Open,
}

impl OnStoreOutage {
    /// `local`, `deny` or `open`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Deny => "deny",
            Self::Open => "open",
        }
    }
}

/// What the server says about a budget.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct BudgetStatus {
    /// The currency of all amounts here.
    pub currency: String,
    /// How it stands in the period now.
    #[serde(flatten)]
    pub now: Standing,
}

/// How a budget stood in periods, the newest first.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct BudgetPeriods {
    /// The currency of all amounts here.
    pub currency: String,
    /// Up to 12, measured by the amount of now.
    pub items: Vec<Standing>,
}

/// What a budget's spec means.
#[derive(Debug)]
pub struct Meaning {
    target: Target,
    period: Period,
    currency: String,
    terms: Terms,
}

impl Kind for BudgetSpec {
    const TITLE: &'static str = "Budget";
    const NOUN: &'static str = "budget";
    const COLLECTION: &'static str = "budgets";
    const WRITER: Role = Role::Finance;

    type Id = BudgetId;
    type Status = BudgetStatus;
    type Meaning = Meaning;

    async fn select(tx: &mut TenantTx, which: Which<'_>) -> Result<Vec<Row>, sqlx::Error> {
        let rows = sql::select(tx, which).await?;
        standing::of_now(tx, rows).await
    }

    async fn interpret(
        &self,
        name: &Name,
        current: Option<&Self>,
        tx: &mut TenantTx,
        faults: &mut Faults,
    ) -> Result<Option<Meaning>, sqlx::Error> {
        let terms = terms::read(self, faults);
        let target = self.to.look_up(tx, faults).await?;
        let currency = match current {
            // It keeps what it has, whatever price books there are by now.
            Some(current) if current.currency == self.currency => Some(sql::currency(tx, name).await?),
            _ => self.priced_currency(tx, faults).await?,
        };
        let (Some(terms), Some(target), Some(currency)) = (terms, target, currency) else { return Ok(None) };
        Ok(Some(Meaning { target, period: self.period, currency, terms }))
    }

    async fn save(tx: &mut TenantTx, version: &Version<'_>, meaning: Meaning) -> Result<(), sqlx::Error> {
        sql::save(tx, version, &meaning).await
    }

    fn status(&self, row: &Row, _: &App, _: &Caller) -> Result<BudgetStatus, ApiError> {
        BudgetStatus::deserialize(&row.facts).map_err(ApiError::internal)
    }
}

impl BudgetSpec {
    /// The currency that it names, or the only one there is; a fault where no price book has it.
    async fn priced_currency(&self, tx: &mut TenantTx, faults: &mut Faults) -> Result<Option<String>, sqlx::Error> {
        let priced = price_books::currencies(tx).await?;
        let fault = match (&self.currency, priced.first()) {
            (Some(currency), _) if priced.contains(currency) => return Ok(Some(currency.clone())),
            (None, Some(only)) if priced.len() == 1 => return Ok(Some(only.clone())),
            (_, None) => (
                "unpriced",
                "nothing has a price yet, so that nothing would ever be spent: publish a price book first".to_owned(),
            ),
            (Some(currency), _) => {
                let detail = format!(
                    "no price book is in `{currency}`, so that nothing would ever be spent of it: there are {}",
                    listed(&priced)
                );
                ("unpriced", detail)
            }
            (None, _) => ("required", format!("say which one, as price books are in {}", listed(&priced))),
        };
        faults.add("/spec/currency", fault.0, fault.1);
        Ok(None)
    }
}

impl Removable for BudgetSpec {
    async fn delete(tx: &mut TenantTx, id: BudgetId, _: &str) -> Result<(), ApiError> {
        Ok(sql::delete(tx, id).await?)
    }
}

/// How the budget with this id or name stood in its last periods.
///
/// # Errors
/// [`ApiError::NotFound`], [`ApiError::Forbidden`]; or when Postgres is away.
pub async fn periods(app: &App, caller: &Caller, key: &str) -> Result<BudgetPeriods, ApiError> {
    caller.require(Role::Viewer)?;
    let not_found = || ApiError::NotFound { noun: BudgetSpec::NOUN, key: key.to_owned() };
    let mut tx = app.db.tenant_snapshot(caller.tenant).await?;
    let rows = sql::select(&mut tx, Which::one::<BudgetSpec>(key).ok_or_else(not_found)?).await?;
    let plan = Plan::of(rows.first().ok_or_else(not_found)?)?;
    let items = standing::of_periods(&mut tx, &plan, PERIODS_MAX).await?;
    Ok(BudgetPeriods { currency: plan.currency, items })
}

fn listed(currencies: &BTreeSet<String>) -> String {
    currencies.iter().map(|currency| format!("`{currency}`")).collect::<Vec<_>>().join(", ")
}
