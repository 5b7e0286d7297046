//! A report for spreadsheets: CSV (RFC 4180), a column for each key and each figure.

use super::{Line, Report};
use crate::usage::csv;

/// The columns behind those of the keys.
const FIGURES: [&str; 14] = [
    "calls",
    "refused",
    "input_tokens",
    "output_tokens",
    "tokens",
    "cost",
    "currency",
    "error_cost",
    "uncertain_cost",
    "unpriced_calls",
    "budget",
    "budget_amount",
    "budget_spent",
    "budget_variance",
];

/// The report with a header line. Cells of what cannot be attributed are empty, and so are those of a budget
/// where there is none to compare with.
pub(super) fn write(report: &Report) -> String {
    let keys = report.grouping.keys().iter().map(|key| csv::text(&key.to_string()));
    let head = csv::line(keys.chain(FIGURES.map(str::to_owned)));
    std::iter::once(head).chain(report.lines.iter().map(line)).collect()
}

fn line(line: &Line) -> String {
    let Line { values, currency, figures, budget } = line;
    let values = values.iter().map(|value| csv::text(value.as_deref().unwrap_or_default()));
    let counts = [figures.calls, figures.refused, figures.input_tokens, figures.output_tokens, figures.tokens()];
    let costs = [
        figures.cost.clone(),
        currency.clone().unwrap_or_default(),
        figures.error_cost.clone(),
        figures.uncertain_cost.clone(),
        figures.unpriced_calls.to_string(),
    ];
    let budget = budget.clone().map_or_else(Default::default, |budget| {
        [csv::text(&budget.name), budget.amount, budget.spent, budget.variance]
    });
    csv::line(values.chain(counts.map(|count| count.to_string())).chain(costs).chain(budget))
}
