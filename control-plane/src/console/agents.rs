//! Pages of agents: the list, one agent with its secrets and the lines that connect it, and its forms.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, Query, State},
    response::Response,
};
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{
    all,
    calls::Calls,
    connect::{self, Endpoint, Snippet},
    filters,
    form::{Choice, Choices, Control, Editable, Entries, Field},
    page::{Done, PageError, Section, Shell, sentence, show, show_with},
    sql,
    visitor::{Nothing, Posted, Visitor},
    yaml,
};
use crate::{
    agents::{
        Agent, AgentSpec, AgentState, Origin,
        credentials::{self, Credential},
    },
    app::App,
    error::ApiError,
    grants::{Grant, GrantSpec},
    limits::{Limit, LimitSpec},
    page::PageQuery,
    resource::{self, Object},
    servers::ServerSpec,
    usage,
};

const RECENT_CALLS: i64 = 10;

/// An agent in the list.
struct Row {
    agent: Agent,
    last_call_at: Option<DateTime<Utc>>,
}

#[derive(Template)]
#[template(path = "agents/list.html")]
struct ListPage {
    shell: Shell,
    rows: Vec<Row>,
    next: Option<String>,
    /// How many registered themselves and wait for somebody to decide.
    waiting: usize,
}

#[derive(Template)]
#[template(path = "agents/detail.html")]
struct DetailPage {
    shell: Shell,
    agent: Agent,
    credentials: Vec<Credential>,
    grants: Vec<Grant>,
    limits: Vec<Limit>,
    calls: Calls,
    snippets: Vec<Snippet>,
    endpoint: Endpoint,
    yaml: String,
    wrong: Option<String>,
}

#[derive(Template)]
#[template(path = "agents/secret.html")]
struct SecretPage {
    shell: Shell,
    agent: String,
    client_id: String,
    secret: Zeroizing<String>,
    endpoint: Endpoint,
}

/// `GET /agents`.
pub(super) async fn show_list(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Query(query): Query<PageQuery>,
) -> Result<Response, PageError> {
    let page = resource::list::<AgentSpec>(&app, &visitor.caller, &query).await?;
    let ids: Vec<_> = page.items.iter().map(|agent| agent.id.uuid()).collect();
    let last = sql::last_calls(&mut app.db.tenant(visitor.caller.tenant).await?, &ids).await?;
    let last_call_at = |agent: &Agent| last.iter().find(|(id, _)| *id == agent.id.uuid()).map(|(_, at)| *at);
    let rows = page.items.into_iter().map(|agent| Row { last_call_at: last_call_at(&agent), agent }).collect();
    let waiting = crate::agents::awaiting_decision(&app, &visitor.caller).await?.len();
    let shell = Shell::new(&visitor, Section::Agents, "Agents");
    show(&ListPage { shell, rows, next: page.next_cursor, waiting })
}

/// `GET /agents/{name}`.
pub(super) async fn show_detail(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Path(name): Path<String>,
) -> Result<Response, PageError> {
    show(&detail(&app, &visitor, &name, None).await?)
}

/// `POST /agents/{name}/credentials`: makes a secret and shows it, this once.
pub(super) async fn create_credential(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    posted: Posted<Nothing>,
) -> Result<Response, PageError> {
    let visitor = posted.visitor;
    let made = match credentials::create(&app, &visitor.caller, &name).await {
        Ok(made) => made,
        Err(error @ ApiError::CredentialLimit) => {
            let page = detail(&app, &visitor, &name, Some(sentence(&error.to_string()))).await?;
            return show_with(StatusCode::CONFLICT, &page);
        }
        Err(error) => return Err(error.into()),
    };
    let agent: Agent = resource::get(&app, &visitor.caller, &name).await?;
    let shell = Shell::new(&visitor, Section::Agents, "New secret").under("Agents", "/agents");
    show(&SecretPage {
        shell,
        agent: agent.name,
        client_id: made.client_id.to_string(),
        secret: made.client_secret,
        endpoint: Endpoint::of(&app, &visitor.caller.tenant_name),
    })
}

/// `POST /agents/{name}/credentials/{id}/revoke`.
pub(super) async fn revoke_credential(
    State(app): State<Arc<App>>,
    Path((name, id)): Path<(String, String)>,
    posted: Posted<Nothing>,
) -> Result<Response, PageError> {
    let agent: Agent = resource::get(&app, &posted.visitor.caller, &name).await?;
    credentials::remove(&app, &posted.visitor.caller, &name, &id).await?;
    Ok(Done::Revoked.then(&AgentSpec::page(&agent.name)))
}

/// `POST /agents/{name}/suspend`.
pub(super) async fn suspend(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    posted: Posted<Nothing>,
) -> Result<Response, PageError> {
    let agent = crate::agents::set_state(&app, &posted.visitor.caller, &name, AgentState::Suspended).await?;
    Ok(Done::Suspended.then(&AgentSpec::page(&agent.name)))
}

/// `POST /agents/{name}/activate`.
pub(super) async fn activate(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    posted: Posted<Nothing>,
) -> Result<Response, PageError> {
    let agent = crate::agents::set_state(&app, &posted.visitor.caller, &name, AgentState::Active).await?;
    Ok(Done::Activated.then(&AgentSpec::page(&agent.name)))
}

impl Row {
    fn is_active(&self) -> bool {
        self.agent.status.state == AgentState::Active
    }

    fn awaits_decision(&self) -> bool {
        self.agent.status.awaits_decision()
    }

    /// Whether it cannot act because it has no secret, though it needs one.
    fn lacks_secret(&self) -> bool {
        self.agent.status.credentials == 0 && self.agent.status.origin == Origin::Admin
    }
}

impl DetailPage {
    fn is_active(&self) -> bool {
        self.agent.status.state == AgentState::Active
    }

    fn is_waiting(&self) -> bool {
        self.agent.status.state == AgentState::Waiting
    }
}

impl Editable for AgentSpec {
    const SECTION: Section = Section::Agents;
    const LIST: (&'static str, &'static str) = ("Agents", "/agents");
    const PRECIOUS: bool = true;
    const LOSS: &'static str = "Its secrets, the grants to it and its limits go with it, and its calls are refused from \
                                then on. The records of its calls stay.";

    fn fields(choices: &Choices) -> Vec<Field> {
        let method = |value: &str, label: &str| Choice { value: value.to_owned(), label: label.to_owned() };
        vec![
            Field::new("team", "Team", Control::Select(Choice::none_or("Choose a team", &choices.teams)))
                .hint("Its calls are booked to this team.")
                .required(),
            Field::new(
                "auth_method",
                "Authentication",
                Control::Select(vec![
                    method("", "client_secret_basic: id and secret as HTTP Basic"),
                    method("client_secret_post", "client_secret_post: id and secret in the form"),
                ]),
            )
            .hint("How it proves who it is at the token endpoint."),
        ]
    }

    fn entries(object: &Object<Self>) -> Entries {
        let method = match object.spec.auth_method {
            Some(crate::agents::AuthMethod::ClientSecretPost) => "client_secret_post",
            _ => "",
        };
        Entries::default().with("team", object.spec.team.as_str()).with("auth_method", method)
    }

    fn spec(entries: &Entries) -> Value {
        json!({ "team": entries.text("team"), "type": "autonomous", "auth_method": entries.text("auth_method") })
    }

    fn field_at(pointer: &str) -> &'static str {
        match pointer.split('/').nth(2) {
            Some("team") => "team",
            Some("auth_method") => "auth_method",
            _ => "",
        }
    }

    fn page(name: &str) -> String {
        format!("/agents/{name}")
    }
}

async fn detail(app: &App, visitor: &Visitor, name: &str, wrong: Option<String>) -> Result<DetailPage, PageError> {
    let agent: Agent = resource::get(app, &visitor.caller, name).await?;
    let mut grants = all::<GrantSpec>(app, visitor).await?;
    grants.retain(|grant| {
        grant.spec.to.agent.as_ref().is_some_and(|to| to.as_str() == agent.name)
            || grant.spec.to.team.as_ref() == Some(&agent.spec.team)
    });
    let mut limits = all::<LimitSpec>(app, visitor).await?;
    limits.retain(|limit| limit.spec.to.agent.as_ref().is_some_and(|to| to.as_str() == agent.name));
    let filter = usage::Filter { agent: Some(agent.id.to_string()), ..usage::Filter::default() };
    let endpoint = Endpoint::of(app, &visitor.caller.tenant_name);
    let servers = super::names::<ServerSpec>(app, visitor).await?;
    let endpoint = endpoint.with_servers(app, &visitor.caller.tenant_name, &servers);
    Ok(DetailPage {
        shell: Shell::new(visitor, Section::Agents, agent.name.clone()).under("Agents", "/agents"),
        credentials: credentials::list(app, &visitor.caller, name).await?.items,
        grants,
        limits,
        calls: Calls::latest(app, visitor, &filter, RECENT_CALLS).await?,
        snippets: connect::snippets(&agent.status.client_id.to_string(), &endpoint),
        endpoint,
        yaml: yaml::manifest("Agent", &visitor.caller.tenant_name, &agent),
        agent,
        wrong,
    })
}
