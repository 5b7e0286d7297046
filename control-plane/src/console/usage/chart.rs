//! Bars of what each day cost, stacked by team: drawn here, so that the page needs no script.
//!
//! Invariant: figures are for drawing only. What is written beside a bar is the decimal number of the report.

use std::collections::BTreeMap;

use chrono::{Datelike as _, NaiveDate};

use crate::chargeback::Report;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 200.0;
/// As many colours as the style sheet has; all other teams share the last.
const SERIES_MAX: usize = 6;
const OTHERS: &str = "others";
const NOBODY: &str = "unattributed";
/// More bars than days of a quarter cannot be told apart.
const DAYS_MAX: i64 = 92;

/// The bars of one currency.
pub(super) struct Chart {
    pub(super) currency: String,
    /// In the order of the colours.
    pub(super) series: Vec<String>,
    pub(super) days: Vec<Day>,
}

/// One bar.
pub(super) struct Day {
    pub(super) date: NaiveDate,
    /// What the axis says of it; empty for most.
    pub(super) label: String,
    pub(super) x: f64,
    pub(super) width: f64,
    pub(super) parts: Vec<Part>,
}

/// What one team cost on that day.
pub(super) struct Part {
    /// Its place among the series.
    pub(super) series: usize,
    pub(super) team: String,
    pub(super) cost: String,
    pub(super) y: f64,
    pub(super) height: f64,
}

impl Chart {
    /// One chart for each currency of a report by day and team; none for a period that has too many days.
    pub(super) fn of(report: &Report) -> Vec<Self> {
        let days = (report.period.to - report.period.from).num_days();
        if days > DAYS_MAX {
            return Vec::new();
        }
        let mut by_currency: BTreeMap<String, Vec<(NaiveDate, String, String)>> = BTreeMap::new();
        for line in &report.lines {
            let (Some(currency), [Some(day), team]) = (&line.currency, line.values.as_slice()) else { continue };
            let Ok(day) = day.parse() else { continue };
            let team = team.clone().unwrap_or_else(|| NOBODY.to_owned());
            by_currency.entry(currency.clone()).or_default().push((day, team, line.figures.cost.clone()));
        }
        let charts = by_currency.into_iter().map(|(currency, costs)| Self::drawn(currency, &costs, report));
        charts.filter(|chart| !chart.series.is_empty()).collect()
    }

    fn drawn(currency: String, costs: &[(NaiveDate, String, String)], report: &Report) -> Self {
        let series = series(costs);
        let place = |team: &str| series.iter().position(|name| name == team).unwrap_or(series.len() - 1);
        let mut by_day: BTreeMap<NaiveDate, Vec<(usize, &str, &str)>> = BTreeMap::new();
        for (day, team, cost) in costs.iter().filter(|(.., cost)| length(cost) > 0.0) {
            by_day.entry(*day).or_default().push((place(team), team, cost));
        }
        let total = |parts: &Vec<(usize, &str, &str)>| parts.iter().map(|(.., cost)| length(cost)).sum::<f64>();
        let highest = by_day.values().map(total).fold(0.0, f64::max);
        let dates: Vec<NaiveDate> = report.period.from.iter_days().take_while(|day| *day < report.period.to).collect();
        let step = WIDTH / f64::from(u16::try_from(dates.len()).unwrap_or(u16::MAX));
        let mut x = 0.0;
        let days = dates.into_iter().map(|date| {
            let mut costs = by_day.remove(&date).unwrap_or_default();
            costs.sort_unstable();
            let mut y = HEIGHT;
            let parts = costs.into_iter().map(|(series, team, cost)| {
                let height = length(cost) / highest * HEIGHT;
                y -= height;
                Part { series, team: team.to_owned(), cost: cost.to_owned(), y, height }
            });
            let labelled = date.day() == 1 || date.day().is_multiple_of(5);
            let label = if labelled { date.format("%-d %b").to_string() } else { String::new() };
            let day = Day { date, label, x: x + step * 0.1, width: step * 0.8, parts: parts.collect() };
            x += step;
            day
        });
        Self { currency, days: days.collect(), series }
    }

    /// What is drawn, for who does not see it.
    pub(super) fn description(&self) -> String {
        let days = self.days.iter().filter(|day| !day.parts.is_empty()).count();
        format!(
            "Bars for {} days, {days} of them with costs, each stacked by {}.",
            self.days.len(),
            self.series.join(", ")
        )
    }
}

/// The teams that cost most, the first of which gets the first colour; then those that share one.
fn series(costs: &[(NaiveDate, String, String)]) -> Vec<String> {
    let mut totals: BTreeMap<&str, f64> = BTreeMap::new();
    for (_, team, cost) in costs.iter().filter(|(.., cost)| length(cost) > 0.0) {
        *totals.entry(team).or_default() += length(cost);
    }
    let mut teams: Vec<(&str, f64)> = totals.into_iter().collect();
    teams.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let mut series: Vec<String> = teams.iter().map(|(team, _)| (*team).to_owned()).collect();
    if series.len() > SERIES_MAX {
        series.truncate(SERIES_MAX - 1);
        series.push(OTHERS.to_owned());
    }
    series
}

/// An amount as a length: only ever drawn.
fn length(cost: &str) -> f64 {
    cost.parse().unwrap_or_default()
}
