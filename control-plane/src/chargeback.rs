//! Chargeback: what calls cost in a period, by whom and what they are charged to.
//!
//! - `period.rs` is which calendar days, `grouping.rs` by what they are added up.
//! - [`report`] adds up; `against.rs` puts budgets beside it; `sheet.rs` writes it for spreadsheets, `focus.rs` for tools that read FOCUS, `api.rs` shows it.
//!
//! Invariant: reports are sums of months and days (`usage_monthly`, which is what the days of `usage_daily` add up to) and of
//! nothing else, so that all forms of one say the same and none reads a single record; what cannot be attributed is a line of
//! its own, and never left out.

use serde::Serialize;
use tollgate_proto::TenantId;

use crate::{
    app::App,
    calendar::TimeZone,
    caller::{Caller, Role},
    db::TenantTx,
    error::ApiError,
    usage::recount,
};

mod against;
pub mod api;
mod focus;
mod grouping;
mod period;
mod sheet;
mod sql;
#[cfg(test)]
mod tests;

pub use against::Allowance;
pub use grouping::{Grouping, Key};
pub use period::Period;

use sql::Lines;

/// More lines than a person reads; who needs more takes FOCUS, or a shorter period.
const LINES_MAX: usize = 10_000;

/// Which calls a report is about: those that fit everything that is given. An empty name fits what has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Name of the team that was charged.
    pub team: Option<String>,
    /// Its cost centre.
    pub cost_center: Option<String>,
    /// Name of the agent.
    pub agent: Option<String>,
    /// E-mail address of the user that was acted for.
    pub user: Option<String>,
    /// Name of the server.
    pub server: Option<String>,
    /// The tool as its server names it.
    pub tool: Option<String>,
}

/// What calls cost in a period.
#[derive(Debug, Clone)]
pub struct Report {
    /// Which days.
    pub period: Period,
    /// Whose days they are.
    pub zone: TimeZone,
    /// By what it is added up.
    pub grouping: Grouping,
    /// In the order of their keys.
    pub lines: Vec<Line>,
    /// One for each currency.
    pub totals: Vec<Line>,
}

/// One line of a report: one combination of keys, and one currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The value of each key of the grouping; `None`: it cannot be attributed.
    pub values: Vec<Option<String>>,
    /// ISO 4217; `None` where nothing has had a price book.
    pub currency: Option<String>,
    /// What was used, and what it cost.
    pub figures: Figures,
    /// The budget that the line is all of.
    pub budget: Option<Allowance>,
}

/// What was used, and what it cost: decimal numbers, not rounded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Figures {
    /// Calls that a server saw.
    pub calls: i64,
    /// Calls that were turned away.
    pub refused: i64,
    /// Sum over the calls.
    pub input_tokens: i64,
    /// Sum over the calls.
    pub output_tokens: i64,
    /// Of all calls.
    #[schema(example = "12.3456")]
    pub cost: String,
    /// Of it, of calls that did not end well: `tool_error` and what else a book charges, without `unknown`.
    pub error_cost: String,
    /// Of it, of calls of which nobody knows how they ended (`unknown`).
    pub uncertain_cost: String,
    /// Calls that would be charged and have no price.
    pub unpriced_calls: i64,
}

/// What calls cost in the period that `period` names.
///
/// # Errors
/// [`ApiError::Forbidden`]; [`ApiError::Query`] for a period that is none, or more lines than a report has;
/// [`ApiError::DaysBeingCounted`]; or when Postgres is away.
pub async fn report(
    app: &App,
    caller: &Caller,
    period: &str,
    grouping: Grouping,
    filter: &Filter,
) -> Result<Report, ApiError> {
    let (mut tx, zone, period) = open(app, caller, period).await?;
    let Lines { lines, totals } = sql::lines(&mut tx, period, &grouping, filter, LINES_MAX + 1).await?;
    if lines.len() > LINES_MAX {
        let why = format!("that is more than {LINES_MAX} lines: take a shorter period, fewer keys, or `format=focus`");
        return Err(ApiError::Query(why));
    }
    let mut report = Report { period, zone, grouping, lines: joined(lines), totals: joined(totals) };
    against::stand_beside(&mut tx, &mut report, filter).await?;
    Ok(report)
}

/// A transaction that reads one moment, the tenant's time zone, and the period in it.
async fn open(app: &App, caller: &Caller, period: &str) -> Result<(TenantTx, TimeZone, Period), ApiError> {
    caller.require(Role::Viewer)?;
    let mut tx = app.db.tenant_report(caller.tenant).await?;
    let zone = zone(&mut tx, caller.tenant).await?;
    let period = Period::read(period, zone.day_at(chrono::Utc::now()).date)
        .map_err(|error| ApiError::Query(error.to_string()))?;
    recount::require_days(&mut tx, period.from..period.to).await?;
    Ok((tx, zone, period))
}

async fn zone(tx: &mut TenantTx, tenant: TenantId) -> Result<TimeZone, ApiError> {
    sql::time_zone(tx, tenant).await?.parse().map_err(ApiError::internal)
}

/// What has no currency has no cost: it is counted on the line of the first currency that its keys have, so that a team
/// with one currency has one line.
fn joined(lines: Vec<Line>) -> Vec<Line> {
    let mut joined: Vec<Line> = Vec::with_capacity(lines.len());
    for mut line in lines {
        match joined.pop_if(|last| last.currency.is_none() && last.values == line.values) {
            Some(without) => {
                line.figures.count(&without.figures);
                joined.push(line);
            }
            None => joined.push(line),
        }
    }
    joined
}

impl Figures {
    /// Counts calls that cost nothing.
    fn count(&mut self, free: &Self) {
        let sums = [
            (&mut self.calls, free.calls),
            (&mut self.refused, free.refused),
            (&mut self.input_tokens, free.input_tokens),
            (&mut self.output_tokens, free.output_tokens),
            (&mut self.unpriced_calls, free.unpriced_calls),
        ];
        for (sum, more) in sums {
            *sum = sum.saturating_add(more);
        }
    }

    /// Tokens of both directions.
    #[must_use]
    pub const fn tokens(&self) -> i64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }
}
