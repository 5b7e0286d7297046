//! Access: grants, limits and teams on one page, and their forms.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Query, State},
    response::Response,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tollgate_proto::Name;

use super::{
    checks::{Asked, CheckForm},
    conditions, filters,
    form::{self, Choice, Choices, Control, Deletable, Editable, Entries, Field},
    limit_use::Uses,
    page::{PageError, Section, Shell, show},
    visitor::Visitor,
};
use crate::{
    app::App,
    caller::Role,
    grants::{DenyAs, Grant, GrantSpec, GrantTarget},
    limits::{Limit, LimitSpec, standing},
    resource::{self, Object},
    teams::{Team, TeamSpec},
};

pub(super) const LIST: (&str, &str) = ("Access", "/access");
/// Objects of one list on the page.
const LISTED: usize = 50;
/// Choices of a grant's form, which the style sheet knows. No object can be called so.
const TO_AGENT: &str = "to_agent";
const TO_TEAM: &str = "to_team";
const TO_ROLE: &str = "to_role";
const CONDITIONAL: &str = "conditional_grant";
/// What is asked of a grant about limits.
const DENY_AS: [(&str, &str); 3] = [
    ("", "As usual: as an error"),
    ("http", "As an error, which the agent's program reads"),
    ("tool_error", "As the tool's result, which the model reads"),
];

#[derive(Template)]
#[template(path = "access.html")]
struct AccessPage {
    shell: Shell,
    query: AccessQuery,
    grants: Vec<Grant>,
    next_grant: Option<String>,
    limits: Vec<Limit>,
    uses: Uses,
    next_limit: Option<String>,
    teams: Vec<Team>,
    next_team: Option<String>,
    /// The simulator's.
    form: CheckForm,
}

/// What each list begins with; that of another page begins where it always does.
#[derive(Debug, Default, Deserialize)]
pub(super) struct AccessQuery {
    grant: Option<Name>,
    limit: Option<Name>,
    team: Option<Name>,
}

/// `GET /access`.
pub(super) async fn show_access(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Query(query): Query<AccessQuery>,
) -> Result<Response, PageError> {
    let caller = &visitor.caller;
    let (grants, next_grant) = resource::list_from::<GrantSpec>(&app, caller, query.grant.as_ref(), LISTED).await?;
    let (limits, next_limit) = resource::list_from::<LimitSpec>(&app, caller, query.limit.as_ref(), LISTED).await?;
    let (teams, next_team) = resource::list_from::<TeamSpec>(&app, caller, query.team.as_ref(), LISTED).await?;
    show(&AccessPage {
        shell: Shell::new(&visitor, Section::Access, "Access"),
        uses: Uses::of(standing::of(&app, caller, &limits).await?),
        query,
        grants,
        next_grant,
        limits,
        next_limit,
        teams,
        next_team,
        form: CheckForm { asked: Asked::default(), choices: form::choices(&app, &visitor).await? },
    })
}

impl Editable for GrantSpec {
    const SECTION: Section = Section::Access;
    const LIST: (&'static str, &'static str) = LIST;

    fn fields(choices: &Choices) -> Vec<Field> {
        let choice = |value: &str, label: &str| Choice { value: value.to_owned(), label: label.to_owned() };
        let to = vec![
            choice(TO_AGENT, "An agent"),
            choice(TO_TEAM, "A team: all its agents"),
            choice(TO_ROLE, "A role: every agent that acts for a user who has it"),
        ];
        let roles = Role::ALL.map(|role| role.to_string());
        let when = vec![choice("", "Always"), choice(CONDITIONAL, "Only for some arguments or networks")];
        let deny_as = DENY_AS.map(|(value, label)| choice(value, label)).into();
        vec![
            Field::new("to", "Who gets it", Control::Select(to)),
            Field::new("agent", "Agent", Control::Select(Choice::none_or("Choose an agent", &choices.agents)))
                .only_for(TO_AGENT),
            Field::new("team", "Team", Control::Select(Choice::none_or("Choose a team", &choices.teams)))
                .only_for(TO_TEAM),
            Field::new("role", "Role", Control::Select(Choice::none_or("Choose a role", &roles))).only_for(TO_ROLE),
            Field::new("scopes", "Scopes", Control::Lines)
                .hint(
                    "One a line: server:tool for one tool, server:get_* for the tools that are called so, server:@read \
                     for those approved as read-only, server:@prompt/name, server:@resource/uri, server:* for \
                     everything a server offers, toolset/name for a toolset.",
                )
                .required(),
            Field::new("deny", "Forbid instead of allow", Control::Check)
                .hint("A grant that forbids wins over every grant that allows."),
            Field::new("when", "When it counts", Control::Select(when)),
            Field::new("conditions", "Arguments", Control::Lines)
                .hint(
                    "One a line, and all must hold: /path prefix /srv/, /amount range 0..100, /repo in [\"a\", \"b\"], \
                     /dry_run equals true, /name matches ^[a-z]+$.",
                )
                .only_for(CONDITIONAL),
            Field::new("networks", "Networks", Control::Lines)
                .hint("Those that requests come from, one a line, as in 10.20.0.0/16. Empty for anywhere.")
                .only_for(CONDITIONAL),
            Field::new("deny_as", "When a limit turns a call away", Control::Select(deny_as))
                .hint("Of the tool calls that this grant permits. Budgets too."),
            Field::new("expires_at", "Ends at", Control::Code)
                .hint("In UTC, as in 2027-01-31T18:00:00Z. Empty for no end."),
        ]
    }

    fn entries(object: &Object<Self>) -> Entries {
        let GrantSpec { to, scopes, deny, expires_at, conditions, networks, deny_as } = &object.spec;
        let name = |name: &Option<Name>| name.as_ref().map(ToString::to_string).unwrap_or_default();
        let recipient = match to {
            GrantTarget { team: Some(_), .. } => TO_TEAM,
            GrantTarget { role: Some(_), .. } => TO_ROLE,
            GrantTarget { .. } => TO_AGENT,
        };
        let conditions = conditions::lines(conditions.as_deref().unwrap_or_default());
        let networks = networks.as_deref().unwrap_or_default();
        Entries::default()
            .with("to", recipient)
            .with("agent", name(&to.agent))
            .with("team", name(&to.team))
            .with("role", to.role.map(Role::as_str).unwrap_or_default())
            .with("scopes", scopes.join("\n"))
            .with("deny", if *deny == Some(true) { "yes" } else { "" })
            .with("when", if conditions.is_empty() && networks.is_empty() { "" } else { CONDITIONAL })
            .with("conditions", conditions.join("\n"))
            .with("networks", networks.join("\n"))
            .with("deny_as", deny_as.map(DenyAs::as_str).unwrap_or_default())
            .with("expires_at", expires_at.clone().unwrap_or_default())
    }

    /// What is entered where it is not shown does not count.
    fn spec(entries: &Entries) -> Value {
        let chosen =
            |choice: &str, value: Value| if ["", choice].contains(&entries.get("to")) { value } else { Value::Null };
        let lines =
            |name: &str| Some(entries.lines(name)).filter(|it| entries.get("when") == CONDITIONAL && !it.is_empty());
        json!({
            "to": {
                "agent": chosen(TO_AGENT, entries.text("agent")),
                "team": chosen(TO_TEAM, entries.text("team")),
                "role": chosen(TO_ROLE, entries.text("role")),
            },
            "scopes": entries.lines("scopes"),
            "deny": (entries.get("deny") == "yes").then_some(true),
            "conditions": lines("conditions").map(|lines| conditions::read(&lines)),
            "networks": lines("networks"),
            "deny_as": entries.text("deny_as"),
            "expires_at": entries.text("expires_at"),
        })
    }

    fn field_at(pointer: &str) -> &'static str {
        match pointer {
            "/spec/to/agent" => "agent",
            "/spec/to/team" => "team",
            "/spec/to/role" => "role",
            _ if pointer.starts_with("/spec/to") => "to",
            _ if pointer.starts_with("/spec/scopes") => "scopes",
            _ if pointer.starts_with("/spec/conditions") => "conditions",
            _ if pointer.starts_with("/spec/networks") => "networks",
            _ if pointer.starts_with("/spec/deny_as") => "deny_as",
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
