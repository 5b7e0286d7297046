//! Toolsets: tools of several servers, picked and renamed, which agents find at one endpoint.
//!
//! Invariant: the servers of a toolset's tools exist, a tool is in it once, and agents see no two of one name.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tollgate_proto::{Name, Scope, ServerId, ToolsetId, names};
use utoipa::ToSchema;

use crate::{
    app::App,
    caller::Caller,
    db::TenantTx,
    error::{ApiError, Faults},
    page::Page,
    resource::{Content, Draft, Kind, Object, Removable, Row, Version, Which},
};

pub mod api;
mod sql;
#[cfg(test)]
mod tests;

const TOOLS_MAX: usize = 200;
const TOOL_CHARS_MAX: usize = 256;
const DESCRIPTION_CHARS_MAX: usize = 2_000;

/// A toolset as the API shows it.
pub type Toolset = Object<ToolsetSpec>;
/// One page of toolsets.
pub type ToolsetPage = Page<Toolset>;
/// The body that creates a toolset.
pub type NewToolset = Draft<ToolsetSpec>;
/// The body that replaces a toolset.
pub type ToolsetContent = Content<ToolsetSpec>;

/// What a client says about a toolset.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolsetSpec {
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// What it is for, up to 2000 characters. Agents read it when they connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 2000)]
    pub description: Option<String>,
    /// Its tools, in the order in which agents see them: 1 to 200.
    #[schema(min_items = 1, max_items = 200)]
    pub tools: Vec<ToolsetTool>,
}

/// One tool of a toolset.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolsetTool {
    /// The name of the server that offers it.
    #[schema(value_type = String, example = "github")]
    pub server: Name,
    /// The tool as the server names it.
    #[schema(min_length = 1, max_length = 256, example = "create_issue")]
    pub tool: String,
    /// What agents call it; `{server}__{tool}` unless told, shortened as on the endpoint that joins all servers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[A-Za-z0-9_.-]{1,64}$", example = "open_ticket")]
    pub name: Option<String>,
    /// What agents read of it, up to 2000 characters; what the server says unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 2000)]
    pub description: Option<String>,
}

/// What the server says about a toolset.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ToolsetStatus {
    /// Where agents reach it.
    pub urls: ToolsetUrls,
    /// What applies where the spec is silent.
    pub effective: EffectiveToolset,
}

/// Where agents reach a toolset.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ToolsetUrls {
    /// Its endpoint on the data planes.
    pub mcp: String,
}

/// What applies where a toolset's spec is silent.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct EffectiveToolset {
    /// What agents call each of its tools, in their order.
    pub names: Vec<String>,
}

/// What a toolset's spec means.
#[derive(Debug)]
pub struct Meaning {
    display_name: String,
    description: String,
    tools: Vec<Member>,
}

/// A tool with all that is known of it.
#[derive(Debug)]
struct Member {
    server: ServerId,
    tool: String,
    name: String,
    description: String,
}

/// What a toolset's scope stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// Its name.
    pub name: Name,
    /// For people; empty when nobody gave it one.
    pub display_name: String,
    /// The scope of each of its tools, in their order.
    pub tools: Vec<Scope>,
}

impl ToolsetTool {
    /// What agents call it.
    #[must_use]
    pub fn effective_name(&self) -> String {
        self.name.clone().unwrap_or_else(|| names::federated(&self.server, &self.tool))
    }

    /// What an agent needs to call it.
    #[must_use]
    pub fn scope(&self) -> Scope {
        Scope::tool(&self.server, &self.tool)
    }
}

impl Kind for ToolsetSpec {
    const TITLE: &'static str = "Toolset";
    const NOUN: &'static str = "toolset";
    const COLLECTION: &'static str = "toolsets";

    type Id = ToolsetId;
    type Status = ToolsetStatus;
    type Meaning = Meaning;

    async fn select(tx: &mut TenantTx, which: Which<'_>) -> Result<Vec<Row>, sqlx::Error> {
        sql::select(tx, which).await
    }

    async fn interpret(
        &self,
        _: &Name,
        _: Option<&Self>,
        tx: &mut TenantTx,
        faults: &mut Faults,
    ) -> Result<Option<Meaning>, sqlx::Error> {
        let display_name = self.display_name.clone().unwrap_or_default();
        let description = self.description.clone().unwrap_or_default();
        faults.check_text("/spec/display_name", &display_name);
        check_description("/spec/description", "the toolset", &description, faults);
        let tools = members(&self.tools, tx, faults).await?;
        Ok(Some(Meaning { display_name, description, tools }))
    }

    async fn save(tx: &mut TenantTx, version: &Version<'_>, meaning: Meaning) -> Result<(), sqlx::Error> {
        sql::save(tx, version, &meaning).await
    }

    fn status(&self, row: &Row, app: &App, caller: &Caller) -> Result<ToolsetStatus, ApiError> {
        let mcp = app.urls.toolset(&caller.tenant_name, &row.name);
        let names = self.tools.iter().map(ToolsetTool::effective_name).collect();
        Ok(ToolsetStatus { urls: ToolsetUrls { mcp }, effective: EffectiveToolset { names } })
    }
}

impl Removable for ToolsetSpec {
    async fn delete(tx: &mut TenantTx, id: ToolsetId, _: &str) -> Result<(), ApiError> {
        Ok(sql::delete(tx, id).await?)
    }
}

/// Which of the toolsets `names` do not exist.
///
/// # Errors
/// When Postgres is away.
pub async fn unknown(tx: &mut TenantTx, names: &[String]) -> Result<Vec<String>, sqlx::Error> {
    sql::unknown(tx, names).await
}

/// What those of the toolsets `names` hold that exist, in the order of their names.
///
/// # Errors
/// When Postgres is away.
pub async fn contents(tx: &mut TenantTx, names: &[String]) -> Result<Vec<Contents>, sqlx::Error> {
    sql::contents(tx, names).await
}

/// The tools with their servers looked up.
async fn members(tools: &[ToolsetTool], tx: &mut TenantTx, faults: &mut Faults) -> Result<Vec<Member>, sqlx::Error> {
    if tools.is_empty() {
        faults.add("/spec/tools", "required", "name at least one tool");
    }
    if tools.len() > TOOLS_MAX {
        faults.add("/spec/tools", "too_many", format!("at most {TOOLS_MAX} tools"));
        return Ok(Vec::new());
    }
    for (index, tool) in tools.iter().enumerate() {
        check_tool(&format!("/spec/tools/{index}"), tool, faults);
    }
    check_distinct(tools, faults);
    let servers: Vec<String> = tools.iter().map(|tool| tool.server.to_string()).collect();
    let ids = sql::server_ids(tx, &servers).await?;
    let mut members = Vec::new();
    for (index, tool) in tools.iter().enumerate() {
        let Some(&server) = ids.get(tool.server.as_str()) else {
            let detail = format!("there is no server `{}`", tool.server);
            faults.add(format!("/spec/tools/{index}/server"), "server_unknown", detail);
            continue;
        };
        members.push(Member {
            server,
            tool: tool.tool.clone(),
            name: tool.effective_name(),
            description: tool.description.clone().unwrap_or_default(),
        });
    }
    Ok(members)
}

fn check_tool(pointer: &str, tool: &ToolsetTool, faults: &mut Faults) {
    if !(1..=TOOL_CHARS_MAX).contains(&tool.tool.chars().count()) {
        let detail = format!("the name of a tool of `{}` has 1 to {TOOL_CHARS_MAX} characters", tool.server);
        faults.add(format!("{pointer}/tool"), "text", detail);
    }
    if !is_usable(&tool.effective_name()) {
        let detail = format!("what agents call `{}` has 1 to 64 letters, digits, `_`, `.` and `-`", tool.scope());
        faults.add(format!("{pointer}/name"), "tool_name", detail);
    }
    let description = tool.description.as_deref().unwrap_or_default();
    check_description(&format!("{pointer}/description"), &format!("`{}`", tool.scope()), description, faults);
}

/// Every client can use such a name.
fn is_usable(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    (1..=names::CHARACTERS_MAX).contains(&name.len()) && name.bytes().all(allowed)
}

fn check_description(pointer: &str, of: &str, text: &str, faults: &mut Faults) {
    let printable = |char: char| !char.is_control() || matches!(char, '\n' | '\t');
    if text.chars().count() > DESCRIPTION_CHARS_MAX || !text.chars().all(printable) {
        let detail = format!(
            "the description of {of} has up to {DESCRIPTION_CHARS_MAX} printable characters, line breaks and tabs"
        );
        faults.add(pointer, "text", detail);
    }
}

/// Each tool once, and each name once. A fault names both entries.
fn check_distinct(tools: &[ToolsetTool], faults: &mut Faults) {
    let (mut by_tool, mut by_name) = (BTreeMap::new(), BTreeMap::new());
    for (index, tool) in tools.iter().enumerate() {
        let (scope, name) = (tool.scope(), tool.effective_name());
        if let Some(first) = by_tool.insert(scope.clone(), index) {
            let detail = format!("entries {first} and {index} are the same tool, `{scope}`");
            faults.add(format!("/spec/tools/{index}"), "duplicate", detail);
        } else if let Some(first) = by_name.insert(name.clone(), index) {
            let other = tools[first].scope();
            let detail =
                format!("agents would see `{name}` twice: entry {first}, `{other}`, and entry {index}, `{scope}`");
            faults.add(format!("/spec/tools/{index}/name"), "duplicate", detail);
        }
    }
}
