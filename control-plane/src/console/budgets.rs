//! Pages of budgets: the list, one budget with its last periods, and its forms.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, Query, State},
    response::Response,
};
use rust_decimal::prelude::{Decimal, ToPrimitive as _};
use serde_json::{Map, Value, json};

use super::{
    filters,
    form::{Choice, Choices, Control, Deletable, Editable, Entries, Field},
    page::{PageError, Section, Shell, show},
    visitor::Visitor,
    yaml,
};
use crate::{
    app::App,
    budgets::{self, Budget, BudgetPeriods, BudgetSpec, OnStoreOutage, Period, Standing, State as BudgetState},
    page::PageQuery,
    resource::{self, Kind as _, Object},
};

/// What a budget can be on.
const BUDGETED: [(&str, &str); 3] =
    [("team", "A team: whatever it pays for"), ("agent", "An agent"), ("tenant", "The tenant: everything")];
/// Empty: what the control plane takes where nothing is said.
const ON_STORE_OUTAGE: [(&str, &str); 4] = [
    ("", "As usual: calls are refused"),
    ("deny", "Calls are refused"),
    ("local", "Each data plane counts what it spends itself"),
    ("open", "Everything passes"),
];
const HARD: [(&str, &str); 2] = [("", "Nothing: it only alerts"), ("deny", "Calls are refused until the next period")];

#[derive(Template)]
#[template(path = "budgets/list.html")]
struct ListPage {
    shell: Shell,
    budgets: Vec<Budget>,
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "budgets/detail.html")]
struct DetailPage {
    shell: Shell,
    budget: Budget,
    history: BudgetPeriods,
    yaml: String,
}

/// `GET /budgets`.
pub(super) async fn show_list(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Query(query): Query<PageQuery>,
) -> Result<Response, PageError> {
    let page = resource::list::<BudgetSpec>(&app, &visitor.caller, &query).await?;
    show(&ListPage { shell: shell(&visitor, "Budgets"), budgets: page.items, next: page.next_cursor })
}

/// `GET /budgets/{name}`.
pub(super) async fn show_detail(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Path(name): Path<String>,
) -> Result<Response, PageError> {
    let budget: Budget = resource::get(&app, &visitor.caller, &name).await?;
    let history = budgets::periods(&app, &visitor.caller, &name).await?;
    let yaml = yaml::manifest("Budget", &visitor.caller.tenant_name, &budget);
    let (label, href) = BudgetSpec::LIST;
    show(&DetailPage { shell: shell(&visitor, &budget.name).under(label, href), budget, history, yaml })
}

/// With what finance may do, which operators may not.
fn shell(visitor: &Visitor, title: &str) -> Shell {
    let may_edit = visitor.caller.require(BudgetSpec::WRITER).is_ok();
    Shell { may_edit, ..Shell::new(visitor, Section::Usage, title).under("Usage & cost", "/usage") }
}

/// How much of a bar is filled, and how far along it lies where it warns: of a hundred.
struct Bar {
    filled: f64,
    marks: Vec<f64>,
    tone: &'static str,
}

impl Bar {
    /// It ends at the amount, or at the last share that it warns at where that is beyond.
    fn of(spec: &BudgetSpec, standing: &Standing) -> Self {
        let number = |text: &str| text.parse::<Decimal>().ok().and_then(|number| number.to_f64()).unwrap_or_default();
        let soft: Vec<f64> = spec.soft.iter().flatten().map(|share| number(share.as_str())).collect();
        let whole = soft.iter().copied().fold(1.0, f64::max);
        let along = |share: f64| (share / whole).clamp(0.0, 1.0) * 100.0;
        let mut marks: Vec<f64> = soft.into_iter().map(along).collect();
        marks.push(along(1.0));
        let tone = match standing.state {
            BudgetState::Within => "good",
            BudgetState::Warned => "warn",
            BudgetState::Exhausted => "bad",
        };
        Self { filled: along(number(&standing.share)), marks, tone }
    }
}

/// A share as people read it, as `24.69 %`.
fn percent(share: &str) -> String {
    let share: Decimal = share.parse().unwrap_or_default();
    format!("{} %", (share * Decimal::ONE_HUNDRED).normalize())
}

impl ListPage {
    fn bar(budget: &Budget) -> Bar {
        Bar::of(&budget.spec, &budget.status.now)
    }

    fn percent(share: &str) -> String {
        percent(share)
    }
}

impl DetailPage {
    fn bar(&self, standing: &Standing) -> Bar {
        Bar::of(&self.budget.spec, standing)
    }

    fn percent(share: &str) -> String {
        percent(share)
    }

    fn soft(&self) -> String {
        let shares = self.budget.spec.soft.iter().flatten().map(|share| percent(share.as_str()));
        shares.collect::<Vec<_>>().join(", ")
    }

    /// What happens while counters cannot be reached.
    fn on_store_outage(&self) -> &'static str {
        let outage = self.budget.spec.on_store_outage.unwrap_or(OnStoreOutage::Deny).as_str();
        ON_STORE_OUTAGE.iter().find(|(value, _)| *value == outage).map(|(_, words)| *words).unwrap_or_default()
    }
}

impl Editable for BudgetSpec {
    const SECTION: Section = Section::Usage;
    const LIST: (&'static str, &'static str) = ("Budgets", "/budgets");

    fn fields(_: &Choices) -> Vec<Field> {
        let choice = |(value, label): (&str, &str)| Choice { value: value.to_owned(), label: label.to_owned() };
        let periods = [Period::Month, Period::Day, Period::Week, Period::Quarter, Period::Year];
        let periods = periods.map(|period| choice((period.as_str(), period.as_str())));
        vec![
            Field::new("on", "On", Control::Select(BUDGETED.map(choice).into())),
            Field::new("name_of", "Which one", Control::Code)
                .hint("The team, the agent or the tenant by its name.")
                .required(),
            Field::new("period", "Per", Control::Select(periods.into()))
                .hint("By the calendar of the tenant's time zone."),
            Field::new("amount", "Amount", Control::Code)
                .hint("What may be spent in each period, as in 500.00.")
                .required(),
            Field::new("currency", "Currency", Control::Code)
                .hint("As in EUR. Empty for that of the price books, where they have one only."),
            Field::new("soft", "Warn at", Control::Lines)
                .hint("Shares of the amount, one a line, in ascending order: 0.8 for four fifths of it."),
            Field::new("hard", "When it is spent", Control::Select(HARD.map(choice).into())),
            Field::new(
                "on_store_outage",
                "While counters cannot be reached",
                Control::Select(ON_STORE_OUTAGE.map(choice).into()),
            )
            .hint("Only where calls are refused when it is spent."),
        ]
    }

    fn entries(object: &Object<Self>) -> Entries {
        let Self { to, period, amount, currency, soft, hard, on_store_outage } = &object.spec;
        let (on, name) = to.named();
        let shares = soft.iter().flatten().map(|share| share.as_str().to_owned());
        Entries::default()
            .with("on", on)
            .with("name_of", name)
            .with("period", period.as_str())
            .with("amount", amount.as_str())
            .with("currency", currency.clone().unwrap_or_default())
            .with("soft", shares.collect::<Vec<_>>().join("\n"))
            .with("hard", if hard.is_some() { "deny" } else { "" })
            .with("on_store_outage", on_store_outage.map(OnStoreOutage::as_str).unwrap_or_default())
    }

    fn spec(entries: &Entries) -> Value {
        // What it was on before goes, where that was something else.
        let to = BUDGETED.iter().map(|(kind, _)| {
            let is_chosen = *kind == entries.get("on");
            ((*kind).to_owned(), if is_chosen { entries.text("name_of") } else { Value::Null })
        });
        let soft = Some(entries.lines("soft")).filter(|shares| !shares.is_empty());
        json!({
            "to": to.collect::<Map<_, _>>(),
            "period": entries.text("period"),
            "amount": entries.get("amount"),
            "currency": entries.text("currency"),
            "soft": soft,
            "hard": entries.text("hard"),
            "on_store_outage": entries.text("on_store_outage"),
        })
    }

    fn field_at(pointer: &str) -> &'static str {
        match pointer.split('/').nth(2) {
            Some("to") => "name_of",
            Some("period") => "period",
            Some("amount") => "amount",
            Some("currency") => "currency",
            Some("soft") => "soft",
            Some("hard") => "hard",
            Some("on_store_outage") => "on_store_outage",
            _ => "",
        }
    }

    fn page(name: &str) -> String {
        format!("/budgets/{name}")
    }
}

impl Deletable for BudgetSpec {
    const PRECIOUS: bool = false;
    const LOSS: &'static str =
        "What was spent stays in the ledger. Other budgets stay; where there is none, nobody is told or held.";
}
