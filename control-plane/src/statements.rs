//! Statements: what each team is charged for a month, closed for good.
//!
//! Closing a month makes one statement for each team and currency, of all that differs between what the sums by day say and
//! what statements have said so far. Of the month itself that is everything; of an earlier one it is what came late, and
//! becomes a correction that names the statement it corrects.
//!
//! Invariant: what statements say of a month adds up to what is known of it, and no statement ever changes.

use aws_lc_rs::digest::{SHA256, digest};
use chrono::{DateTime, NaiveDate, SecondsFormat, TimeDelta, Utc};
use rust_decimal::{Decimal, RoundingStrategy};
use serde::Serialize;
use serde_json::json;
use tollgate_proto::{Currency, PriceBookVersionId, StatementId};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    app::App,
    audit,
    calendar::TimeZone,
    caller::{Caller, Role},
    chargeback::Period,
    db::TenantTx,
    error::ApiError,
    usage::recount,
};

pub mod api;
mod sheet;
mod sql;
#[cfg(test)]
mod tests;

/// How long after a month's end its usage may still arrive: data planes that were cut off deliver theirs.
const GRACE: TimeDelta = TimeDelta::hours(72);

/// What one team is charged for a month, in one currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Statement {
    /// `stm_…`.
    #[schema(value_type = String)]
    pub id: StatementId,
    /// The month: `2026-10`.
    #[schema(example = "2026-10")]
    pub period: String,
    /// The team; absent: what was charged to none.
    pub team: Option<String>,
    /// ISO 4217.
    pub currency: String,
    /// The sum of the lines' amounts: a decimal number.
    #[schema(example = "128.40")]
    pub total: String,
    /// How many lines it has.
    pub lines: i64,
    /// SHA-256 of its lines as CSV, in hexadecimal digits.
    pub sha256: String,
    /// The time zone that the month is of.
    pub time_zone: String,
    /// The versions of price books that were in force at any time in the month.
    #[schema(value_type = Vec<String>)]
    pub price_book_versions: Vec<PriceBookVersionId>,
    /// When the month was closed.
    pub closed_at: DateTime<Utc>,
    /// Who closed it.
    pub closed_by: String,
}

/// One line of a statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct StatementLine {
    /// The month that it is about; another one than the statement's in a correction.
    #[schema(example = "2026-10")]
    pub period: String,
    /// The statement that it corrects; absent when it corrects none, or the team had none for that month.
    #[schema(value_type = Option<String>)]
    pub corrects: Option<StatementId>,
    /// Empty: none.
    pub cost_center: String,
    /// The agent that called.
    pub agent: String,
    /// The server that was called.
    pub server: String,
    /// The tool; empty for what is no tool.
    pub tool: String,
    /// Calls, less than none where there were fewer than was said.
    pub calls: String,
    /// Sum over the calls.
    pub input_tokens: String,
    /// Sum over the calls.
    pub output_tokens: String,
    /// Calls that have no price.
    pub unpriced_calls: String,
    /// A decimal number, not rounded.
    pub cost: String,
    /// The cost, rounded half to even to the smallest amount of the currency.
    pub amount: String,
}

/// A statement with its lines.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct FullStatement {
    /// What it comes to.
    #[serde(flatten)]
    pub statement: Statement,
    /// In their order.
    pub items: Vec<StatementLine>,
}

/// What differs between what is known and what was stated, of one combination.
struct Difference {
    month: NaiveDate,
    team: String,
    currency: String,
    corrects: Option<Uuid>,
    cost_center: String,
    agent: String,
    server: String,
    tool: String,
    calls: String,
    input_tokens: String,
    output_tokens: String,
    unpriced_calls: String,
    cost: String,
}

/// Which month is to be closed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Closing<'a> {
    /// As people write it.
    pub(crate) period: &'a str,
    /// Whether it is closed before [`GRACE`] is over.
    pub(crate) force: bool,
    /// Why; whoever does not wait has to say.
    pub(crate) reason: Option<&'a str>,
    /// When it is asked for.
    pub(crate) now: DateTime<Utc>,
}

/// Closes a month, which must be over, with its grace, and follow the last one that was closed. Answers its statements.
///
/// # Errors
/// [`ApiError::Forbidden`]; [`ApiError::Invalid`] for what is no month, is not over or does not follow;
/// [`ApiError::Conflict`] when it is closed already; [`ApiError::DaysBeingCounted`]; or when Postgres is away.
pub(crate) async fn close(app: &App, caller: &Caller, closing: Closing<'_>) -> Result<Vec<Statement>, ApiError> {
    caller.require(Role::Finance)?;
    let period = closing.period;
    let mut tx = app.db.tenant(caller.tenant).await?;
    recount::hold_days(&mut tx).await?;
    let zone: TimeZone = sql::hold_tenant(&mut tx).await?.parse().map_err(ApiError::internal)?;
    let month = month_to_close(&mut tx, closing, zone).await?;
    sql::close(&mut tx, month, zone, &caller.actor).await?;
    let mut rest = sql::differences(&mut tx, month.from).await?;
    while let Some(first) = rest.first() {
        let (team, currency) = (first.team.clone(), first.currency.clone());
        let own = |difference: &Difference| difference.team == team && difference.currency == currency;
        let end = rest.iter().position(|difference| !own(difference)).unwrap_or(rest.len());
        let lines: Vec<Difference> = rest.drain(..end).collect();
        state(&mut tx, month, &team, &currency, lines).await?;
    }
    let statements = sql::statements(&mut tx, Some(month.from), None).await?;
    let totals: Vec<_> = statements.iter().map(|it| json!([it.team, it.currency, it.total, it.sha256])).collect();
    let event = audit::Event {
        actor: &caller.actor,
        action: "statement.close",
        object_kind: "statement",
        object_id: period,
        object_name: period,
        detail: json!({ "statements": totals, "force": closing.force, "reason": closing.reason }),
    };
    audit::record(&mut tx, event).await?;
    tx.commit().await?;
    Ok(statements)
}

/// The statements of a month, or of all, the newest first.
///
/// # Errors
/// [`ApiError::Forbidden`]; [`ApiError::Query`] for what is no month; or when Postgres is away.
pub async fn list(app: &App, caller: &Caller, period: Option<&str>) -> Result<Vec<Statement>, ApiError> {
    caller.require(Role::Viewer)?;
    let no_month = |text: &str| ApiError::Query(format!("`{text}` is no month: write it as in `2026-10`"));
    let month = period.map(|text| month(text).ok_or_else(|| no_month(text))).transpose()?;
    let mut tx = app.db.tenant(caller.tenant).await?;
    Ok(sql::statements(&mut tx, month.map(|month| month.from), None).await?)
}

/// A statement with its lines.
///
/// # Errors
/// [`ApiError::NotFound`], [`ApiError::Forbidden`]; or when Postgres is away.
pub async fn get(app: &App, caller: &Caller, key: &str) -> Result<FullStatement, ApiError> {
    caller.require(Role::Viewer)?;
    let not_found = || ApiError::NotFound { noun: "statement", key: key.to_owned() };
    let id: StatementId = key.parse().map_err(|_| not_found())?;
    let mut tx = app.db.tenant(caller.tenant).await?;
    let statement = sql::statements(&mut tx, None, Some(id.uuid())).await?.pop().ok_or_else(not_found)?;
    let items = sql::lines(&mut tx, id.uuid()).await?;
    Ok(FullStatement { statement, items })
}

/// A calendar month, written `2026-10`.
fn month(text: &str) -> Option<Period> {
    let day: NaiveDate = format!("{text}-01").parse().ok().filter(|_| text.len() == 7)?;
    Period::month(day)
}

async fn month_to_close(tx: &mut TenantTx, closing: Closing<'_>, zone: TimeZone) -> Result<Period, ApiError> {
    let Closing { period, force, reason, now } = closing;
    let refuse = |code, detail: String| Err(ApiError::fault("/period", code, detail));
    let Some(month) = month(period) else {
        return refuse("period", "name a month, as in `2026-10`".to_owned());
    };
    let end = zone.start_of(month.to);
    let late = (end + GRACE).to_rfc3339_opts(SecondsFormat::Secs, true);
    if now < end {
        return refuse("not_over", format!("{period} is not over in {zone}: it can be closed from {late} on"));
    }
    if now < end + GRACE && !force {
        let why = "usage of it may still arrive, and would become corrections of the next month";
        return refuse("in_grace", format!("{period} can be closed from {late} on: {why}. `force` does not wait"));
    }
    if force && reason.is_none_or(|reason| reason.trim().is_empty()) {
        return Err(ApiError::fault("/reason", "required", "say why the month is closed by force"));
    }
    match sql::last_closed(tx).await? {
        Some(last) if last >= month.from => {
            refuse("closed", format!("{period} cannot be closed: {} is closed", name(last)))
        }
        Some(last) if Period::month(last).is_some_and(|last| last.to != month.from) => {
            refuse("not_next", format!("close one month after the other: {} is the last that is closed", name(last)))
        }
        _ => Ok(month),
    }
}

/// As people write a month.
fn name(first_day: NaiveDate) -> String {
    first_day.format("%Y-%m").to_string()
}

/// Stores the statement of one team and currency.
async fn state(
    tx: &mut TenantTx,
    month: Period,
    team: &str,
    currency: &str,
    differences: Vec<Difference>,
) -> Result<(), ApiError> {
    let smallest = currency.parse::<Currency>().map_err(ApiError::internal)?.minor_units();
    let mut total = Decimal::ZERO;
    let mut lines = Vec::with_capacity(differences.len());
    for difference in differences {
        let amount = rounded(&difference.cost, smallest).map_err(ApiError::internal)?;
        total += amount;
        lines.push(difference.line(amount));
    }
    total.rescale(smallest);
    let digest = digest(&SHA256, sheet::write(currency, &lines).as_bytes());
    let id = Uuid::now_v7();
    let new = sql::New { id, first_day: month.from, team, currency, total, digest: digest.as_ref() };
    Ok(sql::insert(tx, &new, &lines).await?)
}

/// Half to even, with as many decimals as the currency has.
fn rounded(cost: &str, decimals: u32) -> Result<Decimal, rust_decimal::Error> {
    let cost = Decimal::from_str_exact(cost)?;
    let mut amount = cost.round_dp_with_strategy(decimals, RoundingStrategy::MidpointNearestEven);
    amount.rescale(decimals);
    Ok(amount)
}

impl Difference {
    fn line(self, amount: Decimal) -> StatementLine {
        StatementLine {
            period: name(self.month),
            corrects: self.corrects.map(StatementId::from),
            cost_center: self.cost_center,
            agent: self.agent,
            server: self.server,
            tool: self.tool,
            calls: self.calls,
            input_tokens: self.input_tokens,
            output_tokens: self.output_tokens,
            unpriced_calls: self.unpriced_calls,
            cost: self.cost,
            amount: amount.to_string(),
        }
    }
}
