//! Budget against actual: beside what a line costs, what a budget allows for it.
//!
//! Invariant: a budget stands beside a line only when both are about the same: the same days, the same calls and the same
//! currency. A line of one tool, or of an agent within a team, is a part of what a budget counts, and has none.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::{Filter, Grouping, Key, Line, Report};
use crate::{
    budgets::{self, Allotted, Subject},
    db::TenantTx,
};

/// What a budget allows for what a line is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Allowance {
    /// Name of the budget; of several the smallest.
    pub name: String,
    /// How much may be spent.
    #[schema(example = "500")]
    pub amount: String,
    /// How much is, not rounded: what the budget says itself.
    #[schema(example = "123.4567")]
    pub spent: String,
    /// The amount without what is spent: what is left; below zero, by how much it is exceeded.
    #[schema(example = "376.5433")]
    pub variance: String,
}

impl Allowance {
    /// Whether more is spent than there is.
    #[must_use]
    pub fn is_exceeded(&self) -> bool {
        self.variance.starts_with('-')
    }

    fn of(budget: &Allotted) -> Self {
        Self {
            name: budget.name.clone(),
            amount: budget.amount.normalize().to_string(),
            spent: budget.spent.normalize().to_string(),
            variance: (budget.amount - budget.spent).normalize().to_string(),
        }
    }
}

/// Puts budgets beside the lines and totals of a report that the filter has narrowed.
pub(super) async fn stand_beside(tx: &mut TenantTx, report: &mut Report, filter: &Filter) -> Result<(), sqlx::Error> {
    let budgets = budgets::allotted(tx, report.period.from, report.period.to).await?;
    if budgets.is_empty() {
        return Ok(());
    }
    let beside = |line: &mut Line, grouping: &Grouping| {
        let subject = subject(grouping, &line.values, filter);
        let fits = |budget: &&Allotted| {
            Some(budget.on.as_named()) == subject && Some(&budget.currency) == line.currency.as_ref()
        };
        line.budget = budgets.iter().find(fits).map(Allowance::of);
    };
    report.lines.iter_mut().for_each(|line| beside(line, &report.grouping));
    report.totals.iter_mut().for_each(|line| beside(line, &Grouping::default()));
    Ok(())
}

/// What a line is about, where a budget may be on that: everything, or all of a team or an agent.
fn subject<'a>(grouping: &Grouping, values: &'a [Option<String>], filter: &'a Filter) -> Option<Subject<&'a str>> {
    let Filter { team, cost_center, agent, user, server, tool } = filter;
    let narrowing = [
        (Key::Team, team),
        (Key::CostCenter, cost_center),
        (Key::Agent, agent),
        (Key::User, user),
        (Key::Server, server),
    ];
    let narrowing = narrowing.into_iter().filter_map(|(key, value)| Some((key.to_string(), value.as_deref()?)));
    let tool = tool.as_deref().map(|tool| (Key::Tool.to_string(), tool));
    let keys = grouping.keys().iter().map(Key::to_string);
    let values = values.iter().map(|value| value.as_deref().unwrap_or_default());
    let about: BTreeMap<String, &str> = narrowing.chain(tool).chain(keys.zip(values)).collect();
    let mut about = about.iter();
    match (about.next(), about.next()) {
        (None, _) => Some(Subject::Tenant),
        (Some((_, &"")), None) => None,
        (Some((key, name)), None) if *key == Key::Team.to_string() => Some(Subject::Team(*name)),
        (Some((key, name)), None) if *key == Key::Agent.to_string() => Some(Subject::Agent(*name)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_about_what_its_keys_and_the_filter_leave() {
        let (everything, core) = (Filter::default(), Filter { team: Some("core".to_owned()), ..Filter::default() });
        let by = |text: &str| text.parse::<Grouping>().expect("a grouping");
        let values = |names: &[&str]| names.iter().map(|name| Some((*name).to_owned())).collect::<Vec<_>>();
        for (grouping, names, filter, expected) in [
            (Grouping::default(), vec![], &everything, Some(Subject::Tenant)),
            (Grouping::default(), vec![], &core, Some(Subject::Team("core"))),
            (by("team"), vec!["core"], &everything, Some(Subject::Team("core"))),
            (by("team"), vec!["core"], &core, Some(Subject::Team("core"))),
            (by("agent"), vec!["bot"], &everything, Some(Subject::Agent("bot"))),
            (by("agent"), vec!["bot"], &core, None),
            (by("team,day"), vec!["core", "2026-11-01"], &everything, None),
            (by("cost_center"), vec!["core"], &everything, None),
            (by("label:team"), vec!["core"], &everything, None),
        ] {
            let values = values(&names);
            assert_eq!(subject(&grouping, &values, filter), expected, "{grouping:?} {filter:?}");
        }
        assert_eq!(subject(&by("team"), &[None], &everything), None, "what is nobody's is no team's");
        let tool = Filter { tool: Some(String::new()), ..Filter::default() };
        assert_eq!(subject(&Grouping::default(), &[], &tool), None);
    }
}
