//! What calls add up to over a span of time.
//!
//! Invariant: a report reads sums of days and hours, and single records only of the hours that its span cuts, at most two
//! at each end.

mod span;
mod sql;

use chrono::{DateTime, NaiveTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use self::span::Pieces;
use super::{rollup, terms};
use crate::{calendar::TimeZone, db::TenantTx, error::ApiError};

/// What a report adds up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Dimension {
    /// The team that was charged.
    Team,
    /// The agent that called.
    Agent,
    /// The user that was acted for.
    User,
    /// The server that was called.
    Server,
    /// The tool that was called; tools of different servers are kept apart.
    Tool,
}

impl Dimension {
    /// `team`, `agent`, `user`, `server` or `tool`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Team => "team",
            Self::Agent => "agent",
            Self::User => "user",
            Self::Server => "server",
            Self::Tool => "tool",
        }
    }
}

/// One line of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportRow {
    /// Name of the team, agent, server or tool, or address of the user, at the time of the calls; empty when they named none.
    pub name: String,
    /// The tool's server, in a report by tool.
    pub server: Option<String>,
    /// Calls that a server saw.
    pub calls: i64,
    /// Calls that were turned away.
    pub refused: i64,
    /// Sum over the calls.
    pub input_tokens: i64,
    /// Sum over the calls.
    pub output_tokens: i64,
    /// What they cost: a decimal number, not rounded.
    pub cost: String,
    /// ISO 4217; `None` where nothing has had a price book.
    pub currency: Option<String>,
}

/// What happened lately, in four numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Summary {
    /// Calls that a server saw.
    pub calls: i64,
    /// Calls that were turned away.
    pub refused: i64,
    /// Calls that were forwarded and did not end well.
    pub errors: i64,
    /// 95th percentile of what Tollgate added to a forwarded call, an eighth off at most; absent when there was none.
    pub overhead_ms_p95: Option<f64>,
}

/// Adds up the calls that arrived in `from..to`, by name in alphabetical order. A report by tool leaves out what was
/// no tool call.
///
/// # Errors
/// [`ApiError::Query`] when an end of the span cuts an hour whose records are no longer kept; or when Postgres is away.
pub async fn report(
    tx: &mut TenantTx,
    by: Dimension,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
) -> Result<Vec<ReportRow>, ApiError> {
    let terms = terms::read(tx).await?;
    let pieces = Pieces::of(from, to, terms.days_are_counted().then_some(terms.zone));
    if let Some(kept_from) = terms.kept_from.map(|day| day.and_time(NaiveTime::MIN).and_utc())
        && pieces.moments.iter().any(|moments| moments.start < kept_from)
    {
        let what = "usage from before then is known by the hour only: let `from` and `to` be whole hours";
        return Err(ApiError::Query(format!("records are kept from {} on, {what}", kept_from.date_naive())));
    }
    let tenant = tx.tenant();
    Ok(joined(sql::report(tx, tenant, by, &pieces).await?))
}

/// What has no currency has no cost: it is counted on the line of the first currency that the name has, so that there is one
/// line for each currency, and one where there is none.
fn joined(rows: Vec<ReportRow>) -> Vec<ReportRow> {
    let mut joined: Vec<ReportRow> = Vec::with_capacity(rows.len());
    for mut row in rows {
        let same = |last: &ReportRow| last.currency.is_none() && (&last.name, &last.server) == (&row.name, &row.server);
        if let Some(free) = joined.pop_if(|last| same(last)) {
            row.calls = row.calls.saturating_add(free.calls);
            row.refused = row.refused.saturating_add(free.refused);
            row.input_tokens = row.input_tokens.saturating_add(free.input_tokens);
            row.output_tokens = row.output_tokens.saturating_add(free.output_tokens);
        }
        joined.push(row);
    }
    joined
}

/// What happened since the beginning of the hour in which `since` lies.
///
/// # Errors
/// When Postgres is away.
pub async fn summary(tx: &mut TenantTx, since: DateTime<Utc>) -> Result<Summary, sqlx::Error> {
    let (tenant, since) = (tx.tenant(), rollup::hour_of(since));
    let (calls, refused, errors) = sql::counts(tx, tenant, since).await?;
    let overhead = sql::overhead(tx, tenant, since).await?;
    Ok(Summary { calls, refused, errors, overhead_ms_p95: rollup::overhead::p95_ms(&overhead) })
}

/// The tenant's time zone, in which days are meant that are given without one.
///
/// # Errors
/// When Postgres is away.
pub async fn time_zone(tx: &mut TenantTx) -> Result<TimeZone, sqlx::Error> {
    terms::read(tx).await.map(|terms| terms.zone)
}

#[cfg(test)]
mod tests;
