//! A statement's lines as CSV (RFC 4180): what is downloaded, and what its digest is of.
//!
//! Invariant: the same lines are always the same bytes, so that whoever has the file can compare its digest.

use super::StatementLine;
use crate::usage::csv;

const COLUMNS: [&str; 13] = [
    "period",
    "corrects",
    "cost_center",
    "agent",
    "server",
    "tool",
    "calls",
    "input_tokens",
    "output_tokens",
    "unpriced_calls",
    "cost",
    "amount",
    "currency",
];

/// The lines with a header line.
pub(super) fn write(currency: &str, lines: &[StatementLine]) -> String {
    std::iter::once(csv::line(COLUMNS)).chain(lines.iter().map(|line| row(currency, line))).collect()
}

fn row(currency: &str, line: &StatementLine) -> String {
    let texts = [&line.cost_center, &line.agent, &line.server, &line.tool].map(|text| csv::text(text));
    let numbers =
        [&line.calls, &line.input_tokens, &line.output_tokens, &line.unpriced_calls, &line.cost, &line.amount];
    let about = [line.period.clone(), line.corrects.map(|id| id.to_string()).unwrap_or_default()];
    csv::line(about.into_iter().chain(texts).chain(numbers.map(Clone::clone)).chain([currency.to_owned()]))
}
