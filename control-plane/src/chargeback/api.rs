//! Chargeback reports over REST.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Allowance, Figures, Filter, Grouping, Line, Report, focus, grouping::GroupingError, sheet};
use crate::{
    app::App,
    caller::Caller,
    error::{ApiError, ReadProblems},
    request::{Path, Query},
};

/// Which period of which tenant.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct PeriodPath {
    /// Name or id of the tenant.
    #[param(example = "default")]
    pub tenant: String,
    /// Calendar days in the tenant's time zone: `2026-11`, `2026-Q4`, `2026`, `2026-11-23`, `2026-11-01..2026-11-15` (the last
    /// one not included), `current` (this month) or `previous`.
    #[param(example = "2026-11")]
    pub period: String,
}

/// Which report is asked for.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ChargebackQuery {
    /// What to add up by: up to three, separated by commas, of `team`, `cost_center`, `agent`, `user`, `server`, `tool`,
    /// `server_team`, `label:KEY` and `day`; `team` unless told. FOCUS has rows of its own.
    #[param(example = "team,server")]
    group_by: Option<String>,
    /// How to write it: `json` unless told.
    #[param(inline)]
    format: Option<Format>,
    /// Name of the team that was charged; empty: none.
    team: Option<String>,
    /// Its cost centre; empty: none.
    cost_center: Option<String>,
    /// Name of the agent.
    agent: Option<String>,
    /// E-mail address of the user that was acted for; empty: none.
    user: Option<String>,
    /// Name of the server.
    server: Option<String>,
    /// The tool as its server names it.
    tool: Option<String>,
}

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
pub enum Format {
    /// `application/json`.
    #[default]
    #[serde(rename = "json")]
    Json,
    /// `text/csv` (RFC 4180), with a header line; a text that a spreadsheet would take for a formula begins with `'`.
    #[serde(rename = "csv")]
    Csv,
    /// `text/csv` in the columns of FOCUS 1.3, of every charge; takes no grouping and no filters.
    #[serde(rename = "focus", alias = "focus-1.3")]
    Focus,
}

/// What calls cost in a period.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ChargebackReport {
    /// The first day.
    #[schema(value_type = String, format = Date)]
    from: chrono::NaiveDate,
    /// The first day that no longer belongs to it.
    #[schema(value_type = String, format = Date)]
    to: chrono::NaiveDate,
    /// The IANA name of the time zone that the days are of.
    time_zone: String,
    /// What it is added up by.
    group_by: Vec<String>,
    /// In the order of their groups; what cannot be attributed comes last.
    lines: Vec<ChargebackLine>,
    /// One for each currency.
    totals: Vec<ChargebackLine>,
}

/// One group in one currency.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ChargebackLine {
    /// The value of each key; null: it cannot be attributed.
    #[schema(value_type = BTreeMap<String, Option<String>>)]
    group: BTreeMap<String, Option<String>>,
    /// Of all costs (ISO 4217); absent where nothing has had a price book.
    currency: Option<String>,
    /// What was used, and what it cost.
    #[serde(flatten)]
    figures: Figures,
    /// Of both directions.
    tokens: i64,
    /// What a budget allows for exactly this; absent where none is on it for just this period, in this currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    budget: Option<Allowance>,
}

/// Reports what calls cost
///
/// By team, cost centre, agent, user, server, tool, label or day. Calls are those that a server saw, in the calendar days of the
/// tenant's time zone; costs are not rounded. Beside what a team, an agent or all of the tenant cost in a day, week, month,
/// quarter or year stands the budget that is on it for that.
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}/reports/chargeback/{period}", tag = "usage",
    operation_id = "reports.chargeback", params(PeriodPath, ChargebackQuery),
    responses((status = 200, description = "The report",
        content((ChargebackReport = "application/json"), (String = "text/csv"))), ReadProblems))]
pub async fn report(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<PeriodPath>,
    Query(query): Query<ChargebackQuery>,
) -> Result<Response, ApiError> {
    answer(&app, &caller, &at.period, &query).await
}

/// The report that is asked for, in the form that is asked for.
///
/// # Errors
/// As for [`super::report`], and [`ApiError::Query`] for a query that asks for none.
pub(crate) async fn answer(
    app: &App,
    caller: &Caller,
    period: &str,
    query: &ChargebackQuery,
) -> Result<Response, ApiError> {
    let (grouping, filter) = query.read()?;
    let file = |kind: &str| format!("{kind}-{}-{}", caller.tenant_name, period.replace("..", "-"));
    let format = query.format.unwrap_or_default();
    if format == Format::Focus {
        if query.group_by.is_some() || filter != Filter::default() {
            let why = "`format=focus` takes no `group_by` and no filters: it has every charge";
            return Err(ApiError::Query(why.to_owned()));
        }
        return Ok(csv_response(&file("focus-1.3"), focus::export(app, caller, period).await?));
    }
    let report = super::report(app, caller, period, grouping, &filter).await?;
    Ok(match format {
        Format::Csv => csv_response(&file("chargeback"), sheet::write(&report)),
        Format::Json | Format::Focus => Json(ChargebackReport::of(report)).into_response(),
    })
}

/// Reads `group_by`.
///
/// # Errors
/// [`ApiError::Query`] for what cannot be grouped by.
pub(crate) fn read_grouping(text: &str) -> Result<Grouping, ApiError> {
    text.parse().map_err(|error: GroupingError| ApiError::Query(error.to_string()))
}

impl ChargebackQuery {
    /// One that asks for this; FOCUS takes no grouping.
    pub(crate) fn of(group_by: &str, format: Format, filter: Filter) -> Self {
        let group_by = (format != Format::Focus).then(|| group_by.to_owned());
        let Filter { team, cost_center, agent, user, server, tool } = filter;
        Self { group_by, format: Some(format), team, cost_center, agent, user, server, tool }
    }

    fn read(&self) -> Result<(Grouping, Filter), ApiError> {
        let Self { team, cost_center, agent, user, server, tool, .. } = self.clone();
        let filter = Filter { team, cost_center, agent, user, server, tool };
        let texts = [&filter.team, &filter.cost_center, &filter.agent, &filter.user, &filter.server, &filter.tool];
        if texts.into_iter().flatten().any(|text| text.contains('\0')) {
            return Err(ApiError::Query("no name holds the character U+0000".to_owned()));
        }
        Ok((read_grouping(self.group_by.as_deref().unwrap_or("team"))?, filter))
    }
}

impl ChargebackReport {
    fn of(report: Report) -> Self {
        let keys: Vec<String> = report.grouping.keys().iter().map(ToString::to_string).collect();
        let line = |line: Line| ChargebackLine {
            group: keys.iter().cloned().zip(line.values).collect(),
            currency: line.currency,
            tokens: line.figures.tokens(),
            figures: line.figures,
            budget: line.budget,
        };
        Self {
            from: report.period.from,
            to: report.period.to,
            time_zone: report.zone.to_string(),
            lines: report.lines.into_iter().map(line).collect(),
            totals: report.totals.into_iter().map(line).collect(),
            group_by: keys,
        }
    }
}

fn csv_response(file: &str, text: String) -> Response {
    let disposition = format!("attachment; filename=\"{file}.csv\"");
    ([(CONTENT_TYPE, "text/csv; charset=utf-8; header=present"), (CONTENT_DISPOSITION, &disposition)], text)
        .into_response()
}
