//! Access: grants, limits and teams on one page, and their forms.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Response};
use serde_json::{Value, json};

use super::{
    all, filters,
    form::{Choice, Choices, Control, Deletable, Editable, Entries, Field},
    page::{PageError, Section, Shell, show},
    visitor::Visitor,
};
use crate::{
    app::App,
    grants::{Grant, GrantSpec},
    limits::{Limit, LimitSpec},
    resource::Object,
    teams::{Team, TeamSpec},
};

const LIST: (&str, &str) = ("Access", "/access");

#[derive(Template)]
#[template(path = "access.html")]
struct AccessPage {
    shell: Shell,
    grants: Vec<Grant>,
    limits: Vec<Limit>,
    teams: Vec<Team>,
}

/// `GET /access`.
pub(super) async fn show_access(State(app): State<Arc<App>>, visitor: Visitor) -> Result<Response, PageError> {
    show(&AccessPage {
        shell: Shell::new(&visitor, Section::Access, "Access"),
        grants: all::<GrantSpec>(&app, &visitor).await?,
        limits: all::<LimitSpec>(&app, &visitor).await?,
        teams: all::<TeamSpec>(&app, &visitor).await?,
    })
}

impl Editable for GrantSpec {
    const SECTION: Section = Section::Access;
    const LIST: (&'static str, &'static str) = LIST;

    fn fields(choices: &Choices) -> Vec<Field> {
        vec![
            Field::new("agent", "Agent", Control::Select(Choice::none_or("No single agent", &choices.agents)))
                .hint("Who gets it: an agent, or a team with all its agents."),
            Field::new("team", "Team", Control::Select(Choice::none_or("No team", &choices.teams))),
            Field::new("scopes", "Scopes", Control::Lines)
                .hint("One a line: server:tool for one tool, server:* for everything a server offers, toolset/name for a toolset.")
                .required(),
            Field::new("deny", "Forbid instead of allow", Control::Check)
                .hint("A grant that forbids wins over every grant that allows."),
            Field::new("expires_at", "Ends at", Control::Code)
                .hint("In UTC, as in 2027-01-31T18:00:00Z. Empty for no end."),
        ]
    }

    fn entries(object: &Object<Self>) -> Entries {
        let name = |name: &Option<tollgate_proto::Name>| name.as_ref().map(ToString::to_string).unwrap_or_default();
        Entries::default()
            .with("agent", name(&object.spec.to.agent))
            .with("team", name(&object.spec.to.team))
            .with("scopes", object.spec.scopes.join("\n"))
            .with("deny", if object.spec.deny == Some(true) { "yes" } else { "" })
            .with("expires_at", object.spec.expires_at.clone().unwrap_or_default())
    }

    fn spec(entries: &Entries) -> Value {
        json!({
            "to": { "agent": entries.text("agent"), "team": entries.text("team") },
            "scopes": entries.lines("scopes"),
            "deny": (entries.get("deny") == "yes").then_some(true),
            "expires_at": entries.text("expires_at"),
        })
    }

    fn field_at(pointer: &str) -> &'static str {
        match pointer {
            "/spec/to/team" => "team",
            _ if pointer.starts_with("/spec/to") => "agent",
            _ if pointer.starts_with("/spec/scopes") => "scopes",
            _ if pointer.starts_with("/spec/expires_at") => "expires_at",
            _ => "",
        }
    }

    fn page(_: &str) -> String {
        LIST.1.to_owned()
    }
}

impl Deletable for GrantSpec {
    const PRECIOUS: bool = false;
    const LOSS: &'static str = "What only this grant allowed is refused from then on. What it denied is decided by the \
                                other grants.";
}

impl Editable for LimitSpec {
    const SECTION: Section = Section::Access;
    const LIST: (&'static str, &'static str) = LIST;

    fn fields(choices: &Choices) -> Vec<Field> {
        vec![
            Field::new("agent", "Agent", Control::Select(Choice::none_or("Choose an agent", &choices.agents)))
                .required(),
            Field::new("count", "Requests", Control::Code).hint("At most so many, as in 60.").required(),
            Field::new("per", "Per", Control::Code)
                .hint("In any window of this length: a number and s, m, h or d, as in 1m.")
                .required(),
        ]
    }

    fn entries(object: &Object<Self>) -> Entries {
        let rate = object.spec.requests.as_ref();
        Entries::default()
            .with("agent", object.spec.to.agent.as_ref().map(ToString::to_string).unwrap_or_default())
            .with("count", rate.map(|rate| rate.count.to_string()).unwrap_or_default())
            .with("per", rate.map(|rate| rate.per.clone()).unwrap_or_default())
    }

    fn spec(entries: &Entries) -> Value {
        // What is no number goes on as text, for the operation to refuse.
        let count = entries.get("count").parse::<i64>().map_or_else(|_| entries.text("count"), Value::from);
        json!({
            "to": { "agent": entries.text("agent") },
            "requests": { "count": count, "per": entries.text("per") },
        })
    }

    fn field_at(pointer: &str) -> &'static str {
        match pointer {
            "/spec/requests/per" => "per",
            _ if pointer.starts_with("/spec/requests") => "count",
            _ if pointer.starts_with("/spec/to") => "agent",
            _ => "",
        }
    }

    fn page(_: &str) -> String {
        LIST.1.to_owned()
    }
}

impl Deletable for LimitSpec {
    const PRECIOUS: bool = false;
    const LOSS: &'static str = "The agent's other limits stay. Without any, it may ask as often as it likes.";
}

impl Editable for TeamSpec {
    const SECTION: Section = Section::Access;
    const LIST: (&'static str, &'static str) = LIST;

    fn fields(_: &Choices) -> Vec<Field> {
        vec![
            Field::new("display_name", "Display name", Control::Text),
            Field::new("cost_center", "Cost centre", Control::Text).hint("What its usage is booked to."),
        ]
    }

    fn entries(object: &Object<Self>) -> Entries {
        Entries::default()
            .with("display_name", object.spec.display_name.clone().unwrap_or_default())
            .with("cost_center", object.spec.cost_center.clone().unwrap_or_default())
    }

    fn spec(entries: &Entries) -> Value {
        json!({ "display_name": entries.text("display_name"), "cost_center": entries.text("cost_center") })
    }

    fn field_at(pointer: &str) -> &'static str {
        match pointer {
            "/spec/display_name" => "display_name",
            "/spec/cost_center" => "cost_center",
            _ => "",
        }
    }

    fn page(_: &str) -> String {
        LIST.1.to_owned()
    }
}

impl Deletable for TeamSpec {
    const PRECIOUS: bool = false;
    const LOSS: &'static str = "The grants to it go with it. A team that still owns agents or servers is not deleted.";
}
