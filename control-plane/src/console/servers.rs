//! Pages of servers: the list, one server, and its forms.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, Query, State},
    response::Response,
};
use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use url::Url;

mod credential;

use super::{
    calls::Calls,
    filters,
    form::{Choice, Choices, Control, Deletable, Editable, Entries, Field},
    page::{PageError, Section, Shell, show},
    toolsets,
    visitor::Visitor,
    yaml,
};
use crate::{
    app::App,
    grants::{self, Concern, Grant},
    page::PageQuery,
    resource::{self, Object},
    servers::{Approval, Era, InstanceSpec, Server, ServerSpec, Transport},
    usage::{self, Dimension},
};

const RECENT_CALLS: i64 = 10;
/// What stands behind the URL of an instance that drains.
const DRAINING: &str = "draining";

/// A server in the list.
struct Row {
    server: Server,
    hosts: String,
    calls: i64,
}

#[derive(Template)]
#[template(path = "servers/list.html")]
struct ListPage {
    shell: Shell,
    rows: Vec<Row>,
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "servers/detail.html")]
struct DetailPage {
    shell: Shell,
    server: Server,
    grants: Vec<Grant>,
    more_grants: bool,
    calls: Calls,
    yaml: String,
}

/// `GET /servers`.
pub(super) async fn show_list(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Query(query): Query<PageQuery>,
) -> Result<Response, PageError> {
    let page = resource::list::<ServerSpec>(&app, &visitor.caller, &query).await?;
    let since = Utc::now() - TimeDelta::hours(24);
    let mut tx = app.db.tenant(visitor.caller.tenant).await?;
    let traffic = usage::report(&mut tx, Dimension::Server, Some(since), None).await?;
    let calls = |name: &str| traffic.iter().find(|row| row.name == name).map_or(0, |row| row.calls);
    let rows = page
        .items
        .into_iter()
        .map(|server| Row { hosts: hosts(&server.spec), calls: calls(&server.name), server })
        .collect();
    show(&ListPage { shell: Shell::new(&visitor, Section::Servers, "Servers"), rows, next: page.next_cursor })
}

/// `GET /servers/{name}`.
pub(super) async fn show_detail(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Path(name): Path<String>,
) -> Result<Response, PageError> {
    let server: Server = resource::get(&app, &visitor.caller, &name).await?;
    let scopes = toolsets::with_tools_of(&app, &visitor, &server.name).await?;
    let about = Concern { servers: vec![server.name.clone()], scopes, ..Concern::default() };
    let (grants, more_grants) = grants::concerning(&app, &visitor.caller, &about).await?;
    let filter = usage::Filter { server: Some(server.id.to_string()), ..usage::Filter::default() };
    let calls = Calls::latest(&app, &visitor, &filter, RECENT_CALLS).await?;
    let yaml = yaml::manifest("Server", &visitor.caller.tenant_name, &server);
    let shell = Shell::new(&visitor, Section::Servers, server.name.clone()).under("Servers", "/servers");
    show(&DetailPage { shell, server, grants, more_grants, calls, yaml })
}

impl Editable for ServerSpec {
    const SECTION: Section = Section::Servers;
    const LIST: (&'static str, &'static str) = ("Servers", "/servers");

    fn fields(choices: &Choices) -> Vec<Field> {
        let choice = |value: &str, label: &str| Choice { value: value.to_owned(), label: label.to_owned() };
        vec![
            Field::new("instances", "Instances", Control::Lines)
                .hint(
                    "The MCP endpoint of each running copy, one a line, as in http://127.0.0.1:3001/mcp. Write draining \
                     behind one that shall get no new work while its sessions go on.",
                )
                .required(),
            Field::new(
                "transport",
                "Transport",
                Control::Select(vec![
                    choice("", "Streamable HTTP, or what it answers to"),
                    choice("sse", "HTTP with a separate event stream: 2024-11-05"),
                ]),
            ),
            Field::new(
                "era",
                "Protocol era",
                Control::Select(vec![
                    choice("", "Find out by asking"),
                    choice("legacy", "Legacy: 2024-11-05 to 2025-11-25"),
                    choice("modern", "Modern: 2026-07-28"),
                ]),
            ),
            Field::new(
                "approval",
                "New and changed definitions",
                Control::Select(vec![
                    choice("trust", "Trust: in force at once"),
                    choice("notify", "Notify: in force at once, and listed for somebody to look at"),
                    choice("pinned", "Pinned: held until somebody approves them"),
                ]),
            )
            .hint("What becomes of tools, prompts and resources when the server says something new of them."),
            Field::new(
                "reported_usage",
                "Usage that it reports",
                Control::Select(vec![
                    choice("ignore", "Ignore: what Tollgate counts is what counts"),
                    choice("record", "Record: kept beside what Tollgate counts"),
                    choice("bill", "Bill: its tokens and its cost are billed"),
                ]),
            )
            .hint("Tokens and cost that the server names in _meta of its results."),
            Field::new("team", "Team", Control::Select(Choice::none_or("No team", &choices.teams)))
                .hint("Who answers for it."),
        ]
        .into_iter()
        .chain(credential::fields())
        .collect()
    }

    fn entries(object: &Object<Self>) -> Entries {
        let lines: Vec<String> = object.spec.instances.iter().map(line).collect();
        let era = match object.spec.era {
            Some(Era::Legacy) => "legacy",
            Some(Era::Modern) => "modern",
            Some(Era::Auto) | None => "",
        };
        let transport = if object.spec.transport == Some(Transport::Sse) { "sse" } else { "" };
        credential::entries(&object.spec)
            .with("approval", object.spec.effective().approval.as_str())
            .with("reported_usage", object.spec.effective().reported_usage.as_str())
            .with("instances", lines.join("\n"))
            .with("transport", transport)
            .with("era", era)
            .with("team", object.spec.team.as_ref().map(ToString::to_string).unwrap_or_default())
    }

    fn spec(entries: &Entries) -> Value {
        let instances: Vec<Value> = entries.lines("instances").into_iter().map(instance).collect();
        let mut spec = json!({
            "instances": instances,
            "transport": entries.text("transport"),
            "era": entries.text("era"),
            "team": entries.text("team"),
            "credential": credential::spec(entries),
            "passed_headers": credential::passed_headers(entries),
        });
        // Without a word on it, what was said before stays.
        let approval = entries.text("approval");
        if approval.is_string() {
            spec["catalog"] = json!({ "approval": approval });
        }
        let reported_usage = entries.text("reported_usage");
        if reported_usage.is_string() {
            spec["reported_usage"] = reported_usage;
        }
        spec
    }

    fn field_at(pointer: &str) -> &'static str {
        match pointer.split('/').nth(2) {
            Some("instances") => "instances",
            Some("transport") => "transport",
            Some("era") => "era",
            Some("catalog") => "approval",
            Some("reported_usage") => "reported_usage",
            Some("team") => "team",
            Some("credential") => credential::field_at(pointer),
            Some("passed_headers") => "passed_headers",
            _ => "",
        }
    }

    fn is_delicate(object: Option<&Object<Self>>, entries: Option<&Entries>) -> bool {
        let has_credential =
            |object: &Object<Self>| object.spec.credential.as_ref().is_some_and(|held| !held.is_none());
        object.is_some_and(has_credential) || entries.is_some_and(|entries| !entries.get("credential").is_empty())
    }

    fn page(name: &str) -> String {
        format!("/servers/{name}")
    }
}

impl Deletable for ServerSpec {
    const PRECIOUS: bool = true;
    const LOSS: &'static str = "Agents can no longer call it. Grants keep the scopes that name it; they allow nothing \
                                until a server of this name exists again. A server with tools in a toolset is not \
                                deleted.";
}

/// An instance as the form shows it: its URL, and behind it whether it drains.
fn line(instance: &InstanceSpec) -> String {
    if instance.draining { format!("{} {DRAINING}", instance.url) } else { instance.url.clone() }
}

fn instance(line: &str) -> Value {
    match line.strip_suffix(DRAINING).map(str::trim_end) {
        Some(url) if url.len() + DRAINING.len() < line.len() => json!({ "url": url, "draining": true }),
        _ => json!({ "url": line }),
    }
}

/// The hosts of a server's instances, each once.
fn hosts(spec: &ServerSpec) -> String {
    let mut hosts: Vec<String> = spec
        .instances
        .iter()
        .filter_map(|instance| Url::parse(&instance.url).ok())
        .map(|url| url[url::Position::BeforeHost..url::Position::AfterPort].to_owned())
        .collect();
    hosts.dedup();
    hosts.join(", ")
}
