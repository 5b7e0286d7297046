//! Usage over REST.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use chrono::NaiveDate;
use http::{
    HeaderMap, HeaderValue,
    header::{ACCEPT, CONTENT_DISPOSITION, CONTENT_TYPE, VARY},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Dimension, Filter, ReportRow, UsageRecord, UsageRecordPage, csv,
    recount::{self, Rebuilt},
};
use crate::{
    app::App,
    caller::{Caller, Role},
    error::{ApiError, ReadProblems, WriteProblems},
    page::{Listing, PageQuery},
    request::{Body, Query, moment_in},
    resource::InTenant,
};

/// Which records are asked for. Parameters that are left out do not restrict.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RecordsQuery {
    /// Name or id of the agent.
    agent: Option<String>,
    /// E-mail address or id of the user that the agent acted for.
    user: Option<String>,
    /// Name or id of the server.
    server: Option<String>,
    /// The tool as its server names it.
    tool: Option<String>,
    /// `allowed`, or the reason code of a refusal.
    decision: Option<String>,
    /// `ok`, `tool_error`, `rpc_error`, `timeout`, `upstream_error`, `refused`, `abandoned`, `cut_off` or
    /// `unknown`.
    outcome: Option<String>,
    /// How many items at most: 50 unless told, 500 at most.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u16>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Which report is asked for.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ReportQuery {
    /// What to add up by: `team` unless told.
    #[param(inline)]
    by: Option<Dimension>,
    /// The first moment that counts: RFC 3339, or a day in the tenant's time zone.
    #[param(example = "2026-11-01")]
    from: Option<String>,
    /// The first moment that no longer counts: RFC 3339, or a day in the tenant's time zone.
    #[param(example = "2026-12-01")]
    to: Option<String>,
    /// How to write it: as `Accept` prefers unless told, else JSON.
    #[param(inline)]
    format: Option<ReportFormat>,
}

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReportFormat {
    /// `application/json`.
    Json,
    /// `text/csv` (RFC 4180), with a header line; a text that a spreadsheet would take for a formula begins with `'`.
    Csv,
}

/// Which days to count anew.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UsageRebuild {
    /// The first day, in the tenant's time zone.
    #[schema(example = "2026-11-01")]
    from: NaiveDate,
    /// The last day; at most 366 days in all.
    #[schema(example = "2026-11-30")]
    to: NaiveDate,
}

/// What was counted anew.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct UsageRebuilt {
    /// How many days were counted: those whose records are kept.
    days: u64,
    /// How many sums, of an hour or a day, were wrong and are right now.
    mended: u64,
}

/// A usage report.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct UsageReport {
    /// One line for each team, agent, user, server or tool, in the order of their names.
    items: Vec<UsageReportItem>,
}

/// One line of a report. It has one of `team`, `agent`, `user`, `server` and `tool`: what the report adds up by; a
/// line of a tool has its `server` too. The name is empty for requests that named none.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct UsageReportItem {
    /// The team that was charged.
    #[serde(skip_serializing_if = "Option::is_none")]
    team: Option<String>,
    /// The agent that called.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
    /// The e-mail address of the user that agents acted for.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// The tool, as its server names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    tool: Option<String>,
    /// The server that was called.
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    /// Calls that a server saw.
    calls: i64,
    /// Calls that were turned away.
    refused: i64,
    /// Sum over the calls.
    input_tokens: i64,
    /// Sum over the calls.
    output_tokens: i64,
    /// Their sum.
    tokens: i64,
    /// What the calls cost: a decimal number, not rounded.
    #[schema(example = "12.3456")]
    cost: String,
    /// The currency of `cost` (ISO 4217); a name has a line for each. Absent where nothing has had a price book.
    currency: Option<String>,
}

/// Lists usage records
///
/// One for each call, the newest first.
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}/usage-records", tag = "usage",
    operation_id = "usage_records.list", params(InTenant, RecordsQuery),
    responses((status = 200, description = "A page of records", body = UsageRecordPage), ReadProblems))]
pub async fn records(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(query): Query<RecordsQuery>,
) -> Result<UsageRecordPage, ApiError> {
    caller.require(Role::Viewer)?;
    let RecordsQuery { agent, user, server, tool, decision, outcome, limit, cursor } = query;
    let page = PageQuery { limit, cursor };
    let filter = Filter { agent, user, server, tool, decision, outcome };
    if filter.texts().any(|text| text.contains('\0')) {
        return Err(ApiError::Query("no record holds the character U+0000".to_owned()));
    }
    let limit = page.limit()?;
    let listing = Listing::new(&app, caller.tenant, "usage-records", &filter);
    let after = listing.after(page.cursor.as_deref())?;
    let mut tx = app.db.tenant(caller.tenant).await?;
    let one_more = i64::try_from(limit + 1).map_err(ApiError::internal)?;
    let found = super::list(&mut tx, &filter, after, one_more).await?;
    listing.page(found, limit, UsageRecord::position)
}

/// Reports usage
///
/// Adds up calls and tokens by team, agent, user, server or tool. A report by tool leaves out what was no tool call. Of a
/// time whose records are no longer kept, only whole hours can be reported.
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}/reports/usage", tag = "usage", operation_id = "reports.usage",
    params(InTenant, ReportQuery),
    responses((status = 200, description = "The report",
        content((UsageReport = "application/json"), (String = "text/csv"))), ReadProblems))]
pub async fn report(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(query): Query<ReportQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    caller.require(Role::Viewer)?;
    let by = query.by.unwrap_or(Dimension::Team);
    let mut tx = app.db.tenant(caller.tenant).await?;
    let zone = super::time_zone(&mut tx).await?;
    let from = query.from.as_deref().map(|text| moment_in(zone, "from", text)).transpose()?;
    let to = query.to.as_deref().map(|text| moment_in(zone, "to", text)).transpose()?;
    let rows = super::report(&mut tx, by, from, to).await?;
    let items = rows.into_iter().map(|row| UsageReportItem::of(by, row)).collect();
    let mut response = match query.format.unwrap_or_else(|| preferred(&headers)) {
        ReportFormat::Json => Json(UsageReport { items }).into_response(),
        ReportFormat::Csv => csv_response(by, items),
    };
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

/// Counts usage anew
///
/// Compares the sums of hours and days with the records that are kept, and mends what differs; calls that come in meanwhile
/// are counted once. One day after the other is done, so that a request that breaks off may be repeated. Needs the role
/// `owner`.
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/usage:rebuild", tag = "usage", operation_id = "usage.rebuild",
    params(InTenant), request_body = UsageRebuild,
    responses((status = 200, description = "What was counted", body = UsageRebuilt), WriteProblems))]
pub async fn rebuild(
    State(app): State<Arc<App>>,
    caller: Caller,
    Body(UsageRebuild { from, to }): Body<UsageRebuild>,
) -> Result<Json<UsageRebuilt>, ApiError> {
    let Rebuilt { days, mended } = recount::rebuild(&app, &caller, from, to).await?;
    Ok(Json(UsageRebuilt { days, mended }))
}

fn preferred(headers: &HeaderMap) -> ReportFormat {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut ranges = accepted.flat_map(|value| value.split(',')).map(|range| {
        let (essence, _) = range.split_once(';').unwrap_or((range, ""));
        essence.trim().to_ascii_lowercase()
    });
    if ranges.any(|range| range == "text/csv") { ReportFormat::Csv } else { ReportFormat::Json }
}

fn csv_response(by: Dimension, items: Vec<UsageReportItem>) -> Response {
    let mut columns =
        vec![by.as_str(), "calls", "refused", "input_tokens", "output_tokens", "tokens", "cost", "currency"];
    if by == Dimension::Tool {
        columns.push("server");
    }
    let lines = items.into_iter().map(|item| item.into_line(by));
    let text = std::iter::once(csv::line(columns)).chain(lines).collect::<String>();
    let file = format!("attachment; filename=\"usage-by-{}.csv\"", by.as_str());
    let headers = [(CONTENT_TYPE, "text/csv; charset=utf-8; header=present"), (CONTENT_DISPOSITION, &file)];
    (headers, text).into_response()
}

impl UsageReportItem {
    fn of(by: Dimension, row: ReportRow) -> Self {
        let named = |dimension| (by == dimension).then(|| row.name.clone());
        Self {
            team: named(Dimension::Team),
            agent: named(Dimension::Agent),
            user: named(Dimension::User),
            tool: named(Dimension::Tool),
            server: named(Dimension::Server).or(row.server),
            calls: row.calls,
            refused: row.refused,
            input_tokens: row.input_tokens,
            output_tokens: row.output_tokens,
            tokens: row.input_tokens.saturating_add(row.output_tokens),
            cost: row.cost,
            currency: row.currency,
        }
    }

    fn into_line(self, by: Dimension) -> String {
        let Self { team, agent, user, tool, server, cost, currency, .. } = self;
        let counts = [self.calls, self.refused, self.input_tokens, self.output_tokens, self.tokens];
        let (name, of_tool) = match by {
            Dimension::Team => (team, None),
            Dimension::Agent => (agent, None),
            Dimension::User => (user, None),
            Dimension::Server => (server, None),
            Dimension::Tool => (tool, server),
        };
        let cells = std::iter::once(csv::text(&name.unwrap_or_default()))
            .chain(counts.map(|count| count.to_string()))
            .chain([cost, currency.unwrap_or_default()])
            .chain(of_tool.map(|server| csv::text(&server)));
        csv::line(cells)
    }
}
