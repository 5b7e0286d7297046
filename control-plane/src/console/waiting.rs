//! Agents that registered themselves and about which somebody has to decide: approve, grant, or delete.
//!
//! Invariant: everything that such an agent says about itself is shown as untrusted text, beside the hosts, which are
//! what tells an honest one from another.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State},
    response::Response,
};

use super::{
    filters,
    page::{Done, PageError, Section, Shell, show},
    visitor::{Nothing, Posted, Visitor},
};
use crate::{
    agents::{self, Agent, AgentState},
    app::App,
    catalog,
};

const PAGE: &str = "/waiting";

#[derive(Template)]
#[template(path = "agents/waiting.html")]
struct WaitingPage {
    shell: Shell,
    agents: Vec<Agent>,
    /// How many definitions wait as well.
    definitions: i64,
}

impl WaitingPage {
    fn needs_approval(&self, agent: &Agent) -> bool {
        agent.status.state == AgentState::Waiting
    }
}

/// `GET /waiting`.
pub(super) async fn show_waiting(State(app): State<Arc<App>>, visitor: Visitor) -> Result<Response, PageError> {
    let agents = agents::awaiting_decision(&app, &visitor.caller).await?;
    let definitions = catalog::count_waiting(&mut app.db.tenant(visitor.caller.tenant).await?).await?;
    let shell = Shell::new(&visitor, Section::Agents, "Waiting").under("Agents", "/agents");
    show(&WaitingPage { shell, agents, definitions })
}

/// `POST /agents/{name}/approve`.
pub(super) async fn approve(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    posted: Posted<Nothing>,
) -> Result<Response, PageError> {
    agents::approve(&app, &posted.visitor.caller, &name).await?;
    Ok(Done::Approved.then(PAGE))
}
