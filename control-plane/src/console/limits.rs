//! The page of a limit, and its form.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State},
    response::Response,
};
use serde_json::{Map, Value, json};

use super::{
    access::LIST,
    filters,
    form::{Choice, Choices, Control, Deletable, Editable, Entries, Field},
    limit_use::Uses,
    page::{PageError, Section, Shell, show},
    visitor::Visitor,
    yaml,
};
use crate::{
    app::App,
    limits::{Limit, LimitSpec, Mode, OnStoreOutage, Rate, standing},
    resource::{self, Object},
};

/// What a limit can be on.
const LIMITED: [(&str, &str); 6] = [
    ("agent", "An agent"),
    ("team", "A team: whatever it pays for"),
    ("user", "A user: whatever agents do for them"),
    ("tool", "A tool"),
    ("server", "A server"),
    ("tenant", "The tenant: everything"),
];
/// Empty: what the control plane takes where nothing is said.
const ON_STORE_OUTAGE: [(&str, &str); 4] = [
    ("", "As usual: each data plane keeps its share"),
    ("local", "Each data plane keeps its share"),
    ("deny", "Calls are refused"),
    ("open", "Everything passes"),
];
const MODES: [(&str, &str); 3] =
    [("", "As usual: call by call"), ("strict", "Call by call"), ("leased", "In advance, by each data plane")];

#[derive(Template)]
#[template(path = "limits/detail.html")]
struct DetailPage {
    shell: Shell,
    limit: Limit,
    uses: Uses,
    yaml: String,
}

/// `GET /limits/{name}`.
pub(super) async fn show_detail(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Path(name): Path<String>,
) -> Result<Response, PageError> {
    let limit: Limit = resource::get(&app, &visitor.caller, &name).await?;
    let uses = Uses::of(standing::of(&app, &visitor.caller, std::slice::from_ref(&limit)).await?);
    let yaml = yaml::manifest("Limit", &visitor.caller.tenant_name, &limit);
    let shell = Shell::new(&visitor, Section::Access, &limit.name).under(LIST.0, LIST.1);
    show(&DetailPage { shell, limit, uses, yaml })
}

impl Editable for LimitSpec {
    const SECTION: Section = Section::Access;
    const LIST: (&'static str, &'static str) = LIST;

    fn fields(_: &Choices) -> Vec<Field> {
        let choice = |(value, label): (&str, &str)| Choice { value: value.to_owned(), label: label.to_owned() };
        let window = "In any window of this length: a number and s, m, h or d, as in 1m.";
        vec![
            Field::new("on", "On", Control::Select(LIMITED.map(choice).into())),
            Field::new("name_of", "Which one", Control::Code)
                .hint(
                    "An agent, team, server or the tenant by its name, a user by their address, a tool as server:tool.",
                )
                .required(),
            Field::new("requests", "Requests", Control::Code).hint("At most so many, as in 60. Empty for any number."),
            Field::new("requests_per", "Requests per", Control::Code).hint(window),
            Field::new("tokens", "Tokens", Control::Code)
                .hint("Of what goes to servers and comes back: at most so many, as in 100000. Empty for any number."),
            Field::new("tokens_per", "Tokens per", Control::Code).hint(window),
            Field::new("concurrency", "Calls at once", Control::Code).hint("Empty for any number."),
            Field::new(
                "on_store_outage",
                "While counters cannot be reached",
                Control::Select(ON_STORE_OUTAGE.map(choice).into()),
            ),
            Field::new("mode", "Counted", Control::Select(MODES.map(choice).into()))
                .hint("In advance is quicker where one data plane sees many calls, and never lets more through."),
        ]
    }

    fn entries(object: &Object<Self>) -> Entries {
        let LimitSpec { to, requests, tokens, concurrency, on_store_outage, mode } = &object.spec;
        let (on, name) = to.named();
        let rate = |entries: Entries, count: &'static str, per: &'static str, rate: Option<&Rate>| match rate {
            Some(rate) => entries.with(count, rate.count.to_string()).with(per, rate.per.clone()),
            None => entries,
        };
        let entries = Entries::default().with("on", on).with("name_of", name);
        let entries = rate(entries, "requests", "requests_per", requests.as_ref());
        let entries = rate(entries, "tokens", "tokens_per", tokens.as_ref());
        let entries = entries.with("concurrency", concurrency.map(|calls| calls.to_string()).unwrap_or_default());
        let entries = entries.with("on_store_outage", on_store_outage.map(OnStoreOutage::as_str).unwrap_or_default());
        entries.with("mode", mode.map(Mode::as_str).unwrap_or_default())
    }

    fn spec(entries: &Entries) -> Value {
        // What is no number goes on as text, for the operation to refuse.
        let number = |name: &str| entries.get(name).parse::<i64>().map_or_else(|_| entries.text(name), Value::from);
        let rate = |count: &str, per: &str| {
            let is_given = !(entries.get(count).is_empty() && entries.get(per).is_empty());
            is_given.then(|| json!({ "count": number(count), "per": entries.text(per) }))
        };
        // What it was on before goes, where that was something else.
        let to = LIMITED.iter().map(|(kind, _)| {
            let is_chosen = *kind == entries.get("on");
            ((*kind).to_owned(), if is_chosen { entries.text("name_of") } else { Value::Null })
        });
        json!({
            "to": to.collect::<Map<_, _>>(),
            "requests": rate("requests", "requests_per"),
            "tokens": rate("tokens", "tokens_per"),
            "concurrency": number("concurrency"),
            "on_store_outage": entries.text("on_store_outage"),
            "mode": entries.text("mode"),
        })
    }

    fn field_at(pointer: &str) -> &'static str {
        match pointer {
            "/spec/requests/per" => "requests_per",
            "/spec/tokens/per" => "tokens_per",
            "/spec" => "requests",
            _ if pointer.starts_with("/spec/requests") => "requests",
            _ if pointer.starts_with("/spec/tokens") => "tokens",
            _ if pointer.starts_with("/spec/concurrency") => "concurrency",
            "/spec/on_store_outage" => "on_store_outage",
            "/spec/mode" => "mode",
            _ if pointer.starts_with("/spec/to") => "name_of",
            _ => "",
        }
    }

    fn page(name: &str) -> String {
        format!("/limits/{name}")
    }
}

impl Deletable for LimitSpec {
    const PRECIOUS: bool = false;
    const LOSS: &'static str = "Other limits stay. Where there is none, whoever may ask asks as often as they like.";
}
