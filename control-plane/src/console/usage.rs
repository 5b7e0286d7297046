//! The page Usage & cost: what calls cost in a period, as bars by day and as lines to go deeper.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, Query, State},
    response::Response,
};
use serde::Deserialize;

use super::{
    filters,
    page::{PageError, Section, Shell, show},
    visitor::Visitor,
};
use crate::{
    app::App,
    chargeback::{self, Filter, Grouping, Key, Line, Report, api},
    statements::{self, Statement},
};

mod chart;

use chart::Chart;

/// Statements that the page lists.
const STATEMENTS: usize = 24;

/// What the page can be grouped by, and what that is called.
const GROUPINGS: [(&str, &str); 8] = [
    ("team", "Team"),
    ("cost_center", "Cost centre"),
    ("agent", "Agent"),
    ("user", "User"),
    ("server", "Server"),
    ("tool", "Tool"),
    ("server_team", "Team of the server"),
    ("day", "Day"),
];

/// What the address says.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct UsageQuery {
    #[serde(default)]
    period: String,
    #[serde(default)]
    by: String,
    team: Option<String>,
    cost_center: Option<String>,
    agent: Option<String>,
    user: Option<String>,
    server: Option<String>,
    tool: Option<String>,
    /// Of a download.
    #[serde(default)]
    format: Option<api::Format>,
}

/// A line of the table.
struct Row {
    /// What it is of; `None`: it cannot be attributed.
    name: Option<String>,
    /// Where it is taken apart.
    href: Option<String>,
    tokens: i64,
    line: Line,
}

#[derive(Template)]
#[template(path = "usage/page.html")]
struct UsagePage {
    shell: Shell,
    query: UsageQuery,
    report: Report,
    rows: Vec<Row>,
    charts: Vec<Chart>,
    /// The newest.
    statements: Vec<Statement>,
}

/// `GET /usage`.
pub(super) async fn show_usage(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Query(query): Query<UsageQuery>,
) -> Result<Response, PageError> {
    let query = query.with_defaults();
    let (caller, filter) = (&visitor.caller, query.filter());
    let report = chargeback::report(&app, caller, &query.period, grouping(&query.by)?, &filter).await?;
    let by_day = chargeback::report(&app, caller, &query.period, grouping("day,team")?, &filter).await?;
    let rows = report.lines.iter().map(|line| query.row(line)).collect();
    let mut statements = statements::list(&app, caller, None).await?;
    statements.truncate(STATEMENTS);
    let shell = Shell::new(&visitor, Section::Usage, "Usage & cost");
    show(&UsagePage { shell, charts: Chart::of(&by_day), rows, report, query, statements })
}

/// `GET /usage/download`: the same report as a file.
pub(super) async fn download(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Query(query): Query<UsageQuery>,
) -> Result<Response, PageError> {
    let query = query.with_defaults();
    let asked = api::ChargebackQuery::of(&query.by, query.format.unwrap_or(api::Format::Csv), query.filter());
    Ok(api::answer(&app, &visitor.caller, &query.period, &asked).await?)
}

/// `GET /usage/statements/{id}`: the lines of a statement as a file.
pub(super) async fn download_statement(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, PageError> {
    let statement = statements::get(&app, &visitor.caller, &id).await?;
    Ok(statements::api::answer(statement, statements::api::Format::Csv))
}

fn grouping(text: &str) -> Result<Grouping, PageError> {
    Ok(api::read_grouping(text)?)
}

impl UsageQuery {
    fn with_defaults(mut self) -> Self {
        for (given, default) in [(&mut self.period, "current"), (&mut self.by, "team")] {
            if given.trim().is_empty() {
                default.clone_into(given);
            }
        }
        self
    }

    fn filter(&self) -> Filter {
        let Self { team, cost_center, agent, user, server, tool, .. } = self.clone();
        Filter { team, cost_center, agent, user, server, tool }
    }

    /// What narrows it, as `(name, value)`.
    fn narrowing(&self) -> Vec<(&'static str, &str)> {
        let all = [
            ("team", &self.team),
            ("cost_center", &self.cost_center),
            ("agent", &self.agent),
            ("user", &self.user),
            ("server", &self.server),
            ("tool", &self.tool),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect()
    }

    /// The page at `path` with this grouping, this period and what narrows it.
    fn address(&self, path: &str, more: &[(&str, &str)]) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let kept = self.narrowing().into_iter().filter(|(name, _)| more.iter().all(|(other, _)| other != name));
        let own = [("period", self.period.as_str()), ("by", self.by.as_str())];
        let own = own.into_iter().filter(|(name, _)| more.iter().all(|(other, _)| other != name));
        query.extend_pairs(own.chain(kept)).extend_pairs(more);
        format!("{path}?{}", query.finish())
    }

    fn row(&self, line: &Line) -> Row {
        let name = line.values.first().cloned().flatten();
        let href = self.deeper(name.as_deref()).map(|(by, narrowed)| {
            let more: Vec<(&str, &str)> = std::iter::once(("by", by))
                .chain(narrowed.iter().map(|(name, value)| (*name, value.as_str())))
                .collect();
            self.address("/usage", &more)
        });
        Row { name, href, tokens: line.figures.tokens(), line: line.clone() }
    }

    /// By what a line is taken apart, and what narrows the page to it.
    fn deeper(&self, name: Option<&str>) -> Option<(&'static str, Vec<(&'static str, String)>)> {
        let value = name.unwrap_or_default().to_owned();
        Some(match self.by.as_str() {
            "team" => ("agent", vec![("team", value)]),
            "cost_center" => ("team", vec![("cost_center", value)]),
            "agent" => ("tool", vec![("agent", value)]),
            "user" => ("tool", vec![("user", value)]),
            "server" => ("tool", vec![("server", value)]),
            "tool" => {
                let (server, tool) = value.split_once(':')?;
                ("agent", vec![("server", server.to_owned()), ("tool", tool.to_owned())])
            }
            "day" if !value.is_empty() => ("team", vec![("period", value)]),
            _ => return None,
        })
    }
}

impl UsagePage {
    const fn groupings(&self) -> [(&'static str, &'static str); 8] {
        GROUPINGS
    }

    /// What the report is grouped by, in words.
    fn grouped_by(&self) -> String {
        let key = self.report.grouping.keys().first();
        let known = |key: &Key| GROUPINGS.into_iter().find(|(name, _)| *name == key.to_string());
        key.map_or_else(String::new, |key| known(key).map_or_else(|| key.to_string(), |(_, words)| words.to_owned()))
    }

    /// Whether there is a budget to compare any line with.
    fn has_budgets(&self) -> bool {
        self.rows.iter().any(|row| row.line.budget.is_some())
    }

    fn file(&self, format: &str) -> String {
        if format == "focus" {
            return format!("/usage/download?period={}&format=focus", self.query.period);
        }
        self.query.address("/usage/download", &[("format", format)])
    }

    /// Whether anything was narrowed, and the page without that.
    fn wider(&self) -> Option<String> {
        let whole =
            UsageQuery { period: self.query.period.clone(), by: self.query.by.clone(), ..UsageQuery::default() };
        (!self.query.narrowing().is_empty()).then(|| whole.address("/usage", &[]))
    }
}
