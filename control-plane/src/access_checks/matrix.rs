//! What one agent may use: every tool that is known of the servers that its grants speak of.
//!
//! Invariant: a cell says what the evaluator says, for arguments and networks that are not known.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Utc;
use tollgate_proto::{
    Name, Scope,
    access::{Arguments, Asker, Attempt, Item, Kind},
    policy::v1::{ItemKind, TenantPolicy},
};

use super::{AccessAnswer, AccessDecision, Edition, edition, explanation, standing::Standing};
use crate::{app::App, caller::Caller, error::ApiError};

/// More would be no page.
const CELLS_MAX: usize = 500;

/// What an agent may use, by server.
#[derive(Debug)]
pub(crate) struct Matrix {
    /// The servers that its grants speak of, by name.
    pub(crate) servers: Vec<Row>,
    /// How many other servers there are: it may use nothing of them.
    pub(crate) others: usize,
    /// Whether there are more tools than are shown.
    pub(crate) cut: bool,
    /// The policy revision that was asked.
    pub(crate) revision: u64,
}

/// One server.
#[derive(Debug)]
pub(crate) struct Row {
    /// Its name.
    pub(crate) server: Name,
    /// Its tools by name; none where neither the catalog nor a grant names any.
    pub(crate) cells: Vec<Cell>,
}

/// One tool.
#[derive(Debug)]
pub(crate) struct Cell {
    /// As the server names it.
    pub(crate) tool: String,
    /// Whether the agent may use it, and why.
    pub(crate) answer: AccessAnswer,
}

impl Cell {
    /// Whether it may be used.
    pub(crate) fn is_allowed(&self) -> bool {
        self.answer.decision == AccessDecision::Allowed
    }
}

/// What the agent called `agent` may use when it acts for itself, or for a user whose role no grant speaks of.
///
/// # Errors
/// Those of [`super::check`].
pub(crate) async fn of(app: &App, caller: &Caller, agent: &str) -> Result<Matrix, ApiError> {
    let edition = edition(app, caller).await?;
    let standing = Standing::of(&edition.policy, agent, None)?;
    let tools = named_tools(&edition.policy)?;
    let (mut servers, mut others, mut left) = (Vec::new(), 0, CELLS_MAX);
    let mut cut = false;
    for (server, tools) in tools {
        let token = [Scope::Server { server: server.clone() }];
        let asker = Asker { agent: standing.agent, role: None, token: &token, peer: None, now: Utc::now().timestamp() };
        if !edition.book.desk(asker, &server).knows() {
            others += 1;
            continue;
        }
        cut |= tools.len() > left;
        let cells: Vec<Cell> =
            tools.into_iter().take(left).map(|tool| cell(&edition, &standing, asker, &server, tool)).collect();
        left -= cells.len();
        servers.push(Row { server, cells });
    }
    Ok(Matrix { servers, others, cut, revision: edition.policy.revision })
}

fn cell(edition: &Edition, standing: &Standing<'_>, asker: Asker<'_>, server: &Name, tool: String) -> Cell {
    let item = Item { kind: Kind::Tool, name: &tool };
    let attempt = Attempt { asker, server, item, arguments: Arguments::Unknown, observed: None };
    Cell { answer: explanation::answer(edition, standing, &attempt), tool }
}

/// The tools of every server that the catalog, a toolset or a grant names.
fn named_tools(policy: &TenantPolicy) -> Result<BTreeMap<Name, BTreeSet<String>>, ApiError> {
    let mut by_id = BTreeMap::new();
    let mut tools: BTreeMap<Name, BTreeSet<String>> = BTreeMap::new();
    for server in &policy.servers {
        let name: Name = server.name.parse().map_err(ApiError::internal)?;
        let items = server.catalog.iter().filter(|item| item.kind == i32::from(ItemKind::Tool));
        tools.insert(name.clone(), items.map(|item| item.name.clone()).collect());
        by_id.insert(server.id.as_str(), name);
    }
    let selected = policy.toolsets.iter().flat_map(|toolset| &toolset.tools);
    let selected = selected.filter_map(|tool| Some((by_id.get(tool.server_id.as_str())?.clone(), tool.tool.clone())));
    let granted =
        policy.grants.iter().flat_map(|grant| &grant.scopes).filter_map(|scope| match scope.parse().ok()? {
            Scope::Tool { server, tool } => Some((server, tool.into_string())),
            _ => None,
        });
    for (server, tool) in selected.chain(granted) {
        if let Some(tools) = tools.get_mut(&server) {
            tools.insert(tool);
        }
    }
    Ok(tools)
}
