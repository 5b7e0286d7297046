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
use tollgate_proto::Name;
use zeroize::Zeroizing;

use super::{
    calls::Calls,
    connect::{self, Endpoint, Snippet},
    filters,
    form::{Choice, Choices, Control, Deletable, Editable, Entries, Field},
    limit_use::Uses,
    page::{Done, PageError, Section, Shell, sentence, show, show_with},
    sql,
    visitor::{Nothing, Posted, Visitor},
    yaml,
};
use crate::{
    access_checks::matrix::{self, Matrix},
    agents::{
        Agent, AgentSpec, AgentState, AgentType, AuthMethod, Origin,
        credentials::{self, Credential},
    },
    app::App,
    error::ApiError,
    grants::{self, Concern, Grant},
    limits::{self, Limit},
    page::PageQuery,
    resource::{self, Kind as _, Object},
    servers::ServerSpec,
    toolsets::ToolsetSpec,
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
    waiting: i64,
}

#[derive(Template)]
#[template(path = "agents/detail.html")]
struct DetailPage {
    shell: Shell,
    agent: Agent,
    credentials: Vec<Credential>,
    grants: Vec<Grant>,
    more_grants: bool,
    /// What the grants come to; none when the policy cannot be read.
    matrix: Option<Matrix>,
    limits: Vec<Limit>,
    uses: Uses,
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
    let mut tx = app.db.tenant(visitor.caller.tenant).await?;
    let last = sql::last_calls(&mut tx, &ids).await?;
    let last_call_at = |agent: &Agent| last.iter().find(|(id, _)| *id == agent.id.uuid()).map(|(_, at)| *at);
    let rows = page.items.into_iter().map(|agent| Row { last_call_at: last_call_at(&agent), agent }).collect();
    let waiting = crate::agents::count_awaiting_decision(&mut tx).await?;
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
    visitor.caller.require(AgentSpec::WRITER)?;
    visitor.require_recent_sign_in(&AgentSpec::page(&name))?;
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

/// `POST /agents/{name}/revoke`: the tokens, not the secrets.
pub(super) async fn revoke(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    posted: Posted<Nothing>,
) -> Result<Response, PageError> {
    crate::agents::revoke(&app, &posted.visitor.caller, &name).await?;
    Ok(Done::TokensRevoked.then(&AgentSpec::page(&name)))
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
        self.agent.status.credentials == 0 && uses_secrets(&self.agent)
    }
}

impl DetailPage {
    fn is_active(&self) -> bool {
        self.agent.status.state == AgentState::Active
    }

    fn is_waiting(&self) -> bool {
        self.agent.status.state == AgentState::Waiting
    }

    fn is_interactive(&self) -> bool {
        self.agent.spec.r#type == AgentType::Interactive
    }

    fn uses_secrets(&self) -> bool {
        uses_secrets(&self.agent)
    }

    /// Where the simulator asks about a tool.
    fn check_address(&self, server: &Name, tool: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("agent", &self.agent.name).append_pair("server", server.as_str()).append_pair("name", tool);
        format!("/access/check?{}", query.finish())
    }

    fn origin(&self) -> &'static str {
        match self.agent.status.origin {
            Origin::Admin => "made here",
            Origin::ClientDocument => "by its metadata document",
            Origin::Registration => "registered itself",
        }
    }

    fn auth_method(&self) -> &'static str {
        match self.agent.status.effective.auth_method {
            AuthMethod::ClientSecretBasic => "client_secret_basic",
            AuthMethod::ClientSecretPost => "client_secret_post",
            AuthMethod::PrivateKeyJwt => "private_key_jwt",
            AuthMethod::None => "none: a public client",
        }
    }

    /// The names of its keys, where it gave them itself.
    fn kids(&self) -> Vec<String> {
        let keys = self.agent.spec.jwks.as_ref().and_then(|set| set.get("keys")).and_then(Value::as_array);
        let name = |key: &Value| key.get("kid").and_then(Value::as_str).unwrap_or("without a name").to_owned();
        keys.map(|keys| keys.iter().map(name).collect()).unwrap_or_default()
    }
}

fn uses_secrets(agent: &Agent) -> bool {
    matches!(agent.status.effective.auth_method, AuthMethod::ClientSecretBasic | AuthMethod::ClientSecretPost)
}

impl Editable for AgentSpec {
    const SECTION: Section = Section::Agents;
    const LIST: (&'static str, &'static str) = ("Agents", "/agents");

    fn fields(choices: &Choices) -> Vec<Field> {
        let choice = |value: &str, label: &str| Choice { value: value.to_owned(), label: label.to_owned() };
        let types = vec![
            choice("autonomous", "Autonomous: acts for itself, with its own grants"),
            choice("interactive", "Interactive: acts for users who sign in and allow it"),
        ];
        let methods = vec![
            choice("", "client_secret_basic: id and secret as HTTP Basic"),
            choice("client_secret_post", "client_secret_post: id and secret in the form"),
            choice("private_key_jwt", "private_key_jwt: it signs with a key of its own"),
            choice("none", "none: it runs on users' devices and can keep no secret"),
        ];
        vec![
            Field::new("team", "Team", Control::Select(Choice::none_or("Choose a team", &choices.teams)))
                .hint("Its calls are booked to this team.")
                .required(),
            Field::new("type", "Type", Control::Select(types)).hint("On whose behalf it acts."),
            Field::new("display_name", "Display name", Control::Text)
                .hint("What users see who are asked to allow it something."),
            Field::new("redirect_uris", "Redirect URIs", Control::Lines)
                .hint("For an interactive agent: where its users come back to, one a line."),
            Field::new("auth_method", "Authentication", Control::Select(methods))
                .hint("How it proves who it is at the token endpoint."),
            Field::new("jwks_uri", "Address of its keys", Control::Code)
                .hint("For private_key_jwt: where its JWK Set is. Or put the set itself below."),
            Field::new("jwks", "Public keys", Control::Lines).hint("For private_key_jwt: a JWK Set, as JSON."),
            Field::new("exact_tools", "Hold it to exact tools", Control::Check)
                .hint("For an autonomous agent: what wide grants such as server:* allow its team counts for it only where a grant to the agent itself says it."),
        ]
    }

    fn entries(object: &Object<Self>) -> Entries {
        let spec = &object.spec;
        let shown = json!({ "type": spec.r#type, "auth_method": spec.auth_method });
        let text = |name: &str| shown[name].as_str().unwrap_or_default().to_owned();
        // The default stands first in the list, without a value of its own.
        let method = if uses_secrets(object) && text("auth_method") != "client_secret_post" {
            String::new()
        } else {
            text("auth_method")
        };
        Entries::default()
            .with("team", spec.team.as_str())
            .with("type", text("type"))
            .with("display_name", spec.display_name.clone().unwrap_or_default())
            .with("redirect_uris", spec.redirect_uris.as_deref().unwrap_or_default().join("\n"))
            .with("auth_method", method)
            .with("jwks_uri", spec.jwks_uri.clone().unwrap_or_default())
            .with("exact_tools", if spec.exact_tools == Some(true) { "yes" } else { "" })
            .with("jwks", spec.jwks.as_ref().map(|set| format!("{set:#}")).unwrap_or_default())
    }

    fn spec(entries: &Entries) -> Value {
        let redirect_uris = Some(entries.lines("redirect_uris")).filter(|uris| !uris.is_empty());
        // What is no JSON is told as no JWK Set.
        let jwks = Some(entries.get("jwks")).filter(|text| !text.is_empty());
        let jwks = jwks.map(|text| serde_json::from_str(text).unwrap_or_else(|_| Value::from(text)));
        json!({
            "team": entries.text("team"),
            "type": if entries.get("type").is_empty() { "autonomous" } else { entries.get("type") },
            "display_name": entries.text("display_name"),
            "redirect_uris": redirect_uris,
            "auth_method": entries.text("auth_method"),
            "jwks_uri": entries.text("jwks_uri"),
            "jwks": jwks,
            "exact_tools": (entries.get("exact_tools") == "yes").then_some(true),
        })
    }

    fn field_at(pointer: &str) -> &'static str {
        const FIELDS: [&str; 8] =
            ["team", "type", "display_name", "redirect_uris", "auth_method", "jwks_uri", "jwks", "exact_tools"];
        let member = pointer.split('/').nth(2).unwrap_or_default();
        FIELDS.into_iter().find(|field| *field == member).unwrap_or_default()
    }

    fn page(name: &str) -> String {
        format!("/agents/{name}")
    }

    /// When it changes by which secret or key the agent proves who it is.
    fn is_delicate(object: Option<&Object<Self>>, entries: Option<&Entries>) -> bool {
        let Some(after) = entries.map(Self::spec) else { return false };
        let before = object.map(|object| Self::spec(&Self::entries(object))).unwrap_or_default();
        ["auth_method", "jwks_uri", "jwks"].into_iter().any(|member| {
            // Who makes an agent chooses its method; a key is given only here.
            let chosen = object.is_none() && member == "auth_method";
            !chosen && before[member] != after[member]
        })
    }
}

impl Deletable for AgentSpec {
    const PRECIOUS: bool = true;
    const LOSS: &'static str = "Its secrets, the grants to it and its limits go with it, and its calls are refused from \
                                then on. The records of its calls stay.";
}

/// Without it the page has all the rest to show.
async fn matrix(app: &App, visitor: &Visitor, agent: &str) -> Option<Matrix> {
    let found = matrix::of(app, &visitor.caller, agent).await;
    found.inspect_err(|error| tracing::warn!(%error, agent, "cannot say what an agent may use")).ok()
}

async fn detail(app: &App, visitor: &Visitor, name: &str, wrong: Option<String>) -> Result<DetailPage, PageError> {
    let agent: Agent = resource::get(app, &visitor.caller, name).await?;
    let about = Concern {
        agent: Some(agent.id),
        team: Some(agent.spec.team.as_str()),
        roles: agent.spec.r#type == AgentType::Interactive,
        ..Concern::default()
    };
    let (grants, more_grants) = grants::concerning(app, &visitor.caller, &about).await?;
    let filter = usage::Filter { agent: Some(agent.id.to_string()), ..usage::Filter::default() };
    let endpoint = Endpoint::of(app, &visitor.caller.tenant_name);
    let servers = super::names::<ServerSpec>(app, visitor).await?;
    let endpoint = endpoint.with_servers(app, &visitor.caller.tenant_name, &servers);
    let toolsets = super::names::<ToolsetSpec>(app, visitor).await?;
    let endpoint = endpoint.with_toolsets(app, &visitor.caller.tenant_name, &toolsets);
    let limits = limits::of_agent(app, &visitor.caller, agent.id).await?;
    Ok(DetailPage {
        shell: Shell::new(visitor, Section::Agents, agent.name.clone()).under("Agents", "/agents"),
        credentials: credentials::list(app, &visitor.caller, name).await?.items,
        grants,
        more_grants,
        matrix: matrix(app, visitor, &agent.name).await,
        uses: Uses::of(limits::standing::of(app, &visitor.caller, &limits).await?),
        limits,
        calls: Calls::latest(app, visitor, &filter, RECENT_CALLS).await?,
        snippets: connect::snippets(&agent.status.client_id, &endpoint),
        endpoint,
        yaml: yaml::manifest("Agent", &visitor.caller.tenant_name, &agent),
        agent,
        wrong,
    })
}
