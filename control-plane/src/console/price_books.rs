//! Pages of price books: the list, one book, and its forms.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, Query, State},
    response::Response,
};
use serde_json::{Map, Value, json};
use tollgate_proto::rating::Ending;

use super::{
    filters,
    form::{Choices, Control, Deletable, Editable, Entries, Field},
    page::{PageError, Section, Shell, show},
    visitor::Visitor,
    yaml,
};
use crate::{
    app::App,
    page::PageQuery,
    price_books::{Price, PriceBook, PriceBookSpec, PriceBookVersion},
    resource::{self, Kind as _, Object},
};

#[derive(Template)]
#[template(path = "price_books/list.html")]
struct ListPage {
    shell: Shell,
    books: Vec<PriceBook>,
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "price_books/detail.html")]
struct DetailPage {
    shell: Shell,
    book: PriceBook,
    yaml: String,
}

/// `GET /price-books`.
pub(super) async fn show_list(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Query(query): Query<PageQuery>,
) -> Result<Response, PageError> {
    let page = resource::list::<PriceBookSpec>(&app, &visitor.caller, &query).await?;
    show(&ListPage { shell: shell(&visitor, "Price books"), books: page.items, next: page.next_cursor })
}

/// `GET /price-books/{name}`.
pub(super) async fn show_detail(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Path(name): Path<String>,
) -> Result<Response, PageError> {
    let book: PriceBook = resource::get(&app, &visitor.caller, &name).await?;
    let yaml = yaml::manifest("PriceBook", &visitor.caller.tenant_name, &book);
    let (label, href) = PriceBookSpec::LIST;
    show(&DetailPage { shell: shell(&visitor, &book.name).under(label, href), book, yaml })
}

/// With what finance may do, which operators may not.
fn shell(visitor: &Visitor, title: &str) -> Shell {
    let may_edit = visitor.caller.require(PriceBookSpec::WRITER).is_ok();
    Shell { may_edit, ..Shell::new(visitor, Section::Usage, title).under("Usage & cost", "/usage") }
}

impl ListPage {
    /// For whom a book is.
    fn teams(book: &PriceBook) -> String {
        teams(book)
    }
}

impl DetailPage {
    fn teams(&self) -> String {
        teams(&self.book)
    }

    /// What is paid for what, as `0.01 per call`.
    fn amounts(price: &Price) -> String {
        let amounts = amounts(price).into_iter();
        let words = amounts.map(|(name, amount)| match name {
            "server_reported" => format!("{amount} × what the server reports"),
            _ => format!("{amount} {}", name.replace('_', " ").replace("1k", "1,000").replace("mib", "MiB")),
        });
        words.collect::<Vec<_>>().join(" + ")
    }

    fn is_in_force(&self, version: &PriceBookVersion) -> bool {
        self.book.status.in_force == Some(version.version)
    }
}

fn teams(book: &PriceBook) -> String {
    match &book.spec.teams {
        Some(teams) => teams.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        None => "everyone".to_owned(),
    }
}

/// The amounts of a price under the names that its spec gives them.
fn amounts(price: &Price) -> Vec<(&'static str, &str)> {
    let all = [
        ("per_call", &price.per_call),
        ("per_1k_input_tokens", &price.per_1k_input_tokens),
        ("per_1k_output_tokens", &price.per_1k_output_tokens),
        ("per_second", &price.per_second),
        ("per_mib", &price.per_mib),
        ("server_reported", &price.server_reported),
    ];
    all.into_iter().filter_map(|(name, amount)| Some((name, amount.as_ref()?.as_str()))).collect()
}

impl Editable for PriceBookSpec {
    const SECTION: Section = Section::Usage;
    const LIST: (&'static str, &'static str) = ("Price books", "/price-books");

    fn fields(_: &Choices) -> Vec<Field> {
        vec![
            Field::new("effective_from", "In force from", Control::Code)
                .hint(
                    "In UTC, as in 2027-01-01 or 2027-01-01T08:00:00Z. Prices that were in force never change: what you \
                     change begins now or later.",
                )
                .required(),
            Field::new("currency", "Currency", Control::Code).hint("As in EUR.").required(),
            Field::new("teams", "Teams", Control::Lines).hint("One a line. Without any, for all that have no book of their own."),
            Field::new("prices", "Prices", Control::Lines).hint(
                "One a line: *, server:*, server:get_* or server:tool, then what is paid, as in demo:* per_call=0.01 \
                 per_1k_output_tokens=0.002. There are per_call, per_1k_input_tokens, per_1k_output_tokens, per_second, \
                 per_mib and server_reported, which multiplies what a trusted server reports.",
            ),
            Field::new("outcome_factors", "Factors", Control::Lines).hint(
                "How much is charged by how a call ended, one a line, as in tool_error=0.5. Without any, what reached the agent \
                 is charged and what failed on the way is not.",
            ),
        ]
    }

    fn entries(object: &Object<Self>) -> Entries {
        let spec = &object.spec;
        let line = |price: &Price| {
            let amounts = amounts(price).into_iter().map(|(name, amount)| format!("{name}={amount}"));
            std::iter::once(price.r#match.clone()).chain(amounts).collect::<Vec<_>>().join(" ")
        };
        let factors = spec.outcome_factors.iter().flatten();
        let lines = |lines: Vec<String>| lines.join("\n");
        Entries::default()
            .with("effective_from", spec.effective_from.as_str())
            .with("currency", spec.currency.as_str())
            .with("teams", lines(spec.teams.iter().flatten().map(ToString::to_string).collect()))
            .with("prices", lines(spec.prices.iter().map(line).collect()))
            .with(
                "outcome_factors",
                lines(factors.map(|(name, factor)| format!("{name}={}", factor.as_str())).collect()),
            )
    }

    /// A factor that is no longer entered goes.
    fn spec(entries: &Entries) -> Value {
        let price = |line: &str| {
            let mut words = line.split_whitespace();
            let selected = words.next().unwrap_or_default();
            let amounts = words.map(pair);
            std::iter::once(("match".to_owned(), json!(selected))).chain(amounts).collect::<Value>()
        };
        let teams = Some(entries.lines("teams")).filter(|teams| !teams.is_empty());
        let mut factors: Map<String, Value> =
            Ending::CHARGEABLE.iter().map(|(name, _)| ((*name).to_owned(), Value::Null)).collect();
        factors.extend(entries.lines("outcome_factors").into_iter().map(pair));
        let given = factors.values().any(|factor| !factor.is_null());
        json!({
            "effective_from": entries.get("effective_from"),
            "currency": entries.get("currency"),
            "teams": teams,
            "prices": entries.lines("prices").into_iter().map(price).collect::<Vec<Value>>(),
            "outcome_factors": given.then_some(factors),
        })
    }

    fn field_at(pointer: &str) -> &'static str {
        match pointer.split('/').nth(2) {
            Some("effective_from") => "effective_from",
            Some("currency") => "currency",
            Some("teams") => "teams",
            Some("prices") => "prices",
            Some("outcome_factors") => "outcome_factors",
            _ => "",
        }
    }

    fn page(name: &str) -> String {
        format!("/price-books/{name}")
    }
}

impl Deletable for PriceBookSpec {
    const PRECIOUS: bool = true;
    const LOSS: &'static str = "It ends now. Calls of before keep the prices that they have had; later ones have those of another \
                                book, or none.";
}

/// `name=amount`.
fn pair(text: &str) -> (String, Value) {
    let (name, amount) = text.split_once('=').unwrap_or((text, ""));
    (name.trim().to_owned(), json!(amount.trim()))
}
