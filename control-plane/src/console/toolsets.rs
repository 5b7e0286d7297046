//! Pages of toolsets: the list, one toolset, and its forms.

use std::{collections::BTreeSet, sync::Arc};

use askama::Template;
use axum::{
    extract::{Path, Query, State},
    response::Response,
};
use serde_json::{Value, json};
use tollgate_proto::{Name, Scope};

use super::{
    all, filters,
    form::{Choices, Control, Deletable, Editable, Entries, Field, tools},
    page::{PageError, Section, Shell, show},
    visitor::Visitor,
    yaml,
};
use crate::{
    app::App,
    grants::{self, Concern, Grant},
    page::PageQuery,
    resource::{self, Object},
    toolsets::{Toolset, ToolsetSpec, ToolsetTool},
};

#[derive(Template)]
#[template(path = "toolsets/list.html")]
struct ListPage {
    shell: Shell,
    toolsets: Vec<Toolset>,
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "toolsets/detail.html")]
struct DetailPage {
    shell: Shell,
    /// Each tool with the name that agents see.
    tools: Vec<(ToolsetTool, String)>,
    toolset: Toolset,
    grants: Vec<Grant>,
    more_grants: bool,
    yaml: String,
}

/// `GET /toolsets`.
pub(super) async fn show_list(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Query(query): Query<PageQuery>,
) -> Result<Response, PageError> {
    let page = resource::list::<ToolsetSpec>(&app, &visitor.caller, &query).await?;
    let shell = Shell::new(&visitor, Section::Toolsets, "Toolsets");
    show(&ListPage { shell, toolsets: page.items, next: page.next_cursor })
}

/// `GET /toolsets/{name}`.
pub(super) async fn show_detail(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Path(name): Path<String>,
) -> Result<Response, PageError> {
    let toolset: Toolset = resource::get(&app, &visitor.caller, &name).await?;
    let servers = toolset.spec.tools.iter().map(|tool| tool.server.to_string()).collect();
    let about = Concern { servers, scopes: vec![format!("toolset/{}", toolset.name)], ..Concern::default() };
    let (mut grants, more_grants) = grants::concerning(&app, &visitor.caller, &about).await?;
    grants.retain(|grant| grant.spec.scopes.iter().any(|scope| concerns(scope, &toolset)));
    let yaml = yaml::manifest("Toolset", &visitor.caller.tenant_name, &toolset);
    let shell = Shell::new(&visitor, Section::Toolsets, toolset.name.clone()).under("Toolsets", "/toolsets");
    let tools = toolset.spec.tools.iter().cloned().zip(toolset.status.effective.names.iter().cloned()).collect();
    show(&DetailPage { shell, tools, toolset, grants, more_grants, yaml })
}

/// The scopes of the toolsets that have a tool of this server.
pub(super) async fn with_tools_of(app: &App, visitor: &Visitor, server: &str) -> Result<Vec<String>, PageError> {
    let mut toolsets = all::<ToolsetSpec>(app, visitor).await?;
    toolsets.retain(|toolset| toolset.spec.tools.iter().any(|tool| tool.server.as_str() == server));
    Ok(toolsets.into_iter().map(|toolset| format!("toolset/{}", toolset.name)).collect())
}

impl ListPage {
    /// The servers of a toolset's tools, each once.
    fn servers(toolset: &Toolset) -> String {
        let servers: BTreeSet<&Name> = toolset.spec.tools.iter().map(|tool| &tool.server).collect();
        servers.into_iter().map(Name::as_str).collect::<Vec<_>>().join(", ")
    }
}

impl Editable for ToolsetSpec {
    const SECTION: Section = Section::Toolsets;
    const LIST: (&'static str, &'static str) = ("Toolsets", "/toolsets");

    fn fields(choices: &Choices) -> Vec<Field> {
        vec![
            Field::new("display_name", "Display name", Control::Text)
                .hint("What people are shown when they allow an application to use it."),
            Field::new("description", "Description", Control::Prose).hint("What it is for. Agents read it."),
            Field::new("tools", "Tools", Control::Tools(tools::Tools::of(&choices.servers))).hint(
                "In the order in which agents see them. Empty a row to take its tool out; there are new rows whenever \
                 you open the form. Without a name of its own a tool is called server__tool, without a description it \
                 has the server's.",
            ),
        ]
    }

    fn entries(object: &Object<Self>) -> Entries {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let row = |tool: &ToolsetTool| tools::Tool {
            server: tool.server.to_string(),
            tool: tool.tool.clone(),
            name: text(&tool.name),
            description: text(&tool.description),
        };
        let entries = Entries::default()
            .with("display_name", text(&object.spec.display_name))
            .with("description", text(&object.spec.description));
        tools::with_rows(entries, "tools", object.spec.tools.iter().map(row))
    }

    fn spec(entries: &Entries) -> Value {
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        let tool = |row: tools::Tool| {
            let mut tool = json!({ "server": row.server, "tool": row.tool });
            for (member, text) in [("name", row.name), ("description", row.description)] {
                if let Some(text) = given(text) {
                    tool[member] = json!(text);
                }
            }
            tool
        };
        json!({
            "display_name": entries.text("display_name"),
            "description": given(entries.get("description").replace("\r\n", "\n")),
            "tools": tools::entered(entries, "tools").into_iter().map(tool).collect::<Vec<Value>>(),
        })
    }

    fn field_at(pointer: &str) -> &'static str {
        match pointer.split('/').nth(2) {
            Some("display_name") => "display_name",
            Some("description") => "description",
            Some("tools") => "tools",
            _ => "",
        }
    }

    fn page(name: &str) -> String {
        format!("/toolsets/{name}")
    }
}

impl Deletable for ToolsetSpec {
    const PRECIOUS: bool = true;
    const LOSS: &'static str = "Its endpoint is gone for agents. Grants keep the scope that names it; it allows nothing \
                                until a toolset of this name exists again.";
}

/// Whether a scope decides about a toolset or any tool of it.
fn concerns(scope: &str, toolset: &Toolset) -> bool {
    scope.parse::<Scope>().is_ok_and(|scope| {
        let named = scope.toolset().is_some_and(|name| name.as_str() == toolset.name);
        named || toolset.spec.tools.iter().any(|tool| scope.covers(&tool.scope()))
    })
}
