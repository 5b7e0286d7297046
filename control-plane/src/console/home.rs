//! Home: what is set up, what happened in the last day, and whether the data planes are in step.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse as _, Redirect, Response},
};
use chrono::{TimeDelta, Utc};

use super::{
    calls::Calls,
    filters,
    page::{PageError, Section, Shell, show},
    visitor::Visitor,
};
use crate::{
    agents::{self, AgentSpec},
    app::App,
    catalog,
    data_planes::{self, PolicyStatus},
    grants::GrantSpec,
    page::PageQuery,
    resource::{self, Kind},
    servers::ServerSpec,
    usage::{self, Filter, Summary},
};

const RECENT_CALLS: i64 = 10;

/// One step of the way to the first governed call.
struct Step {
    title: &'static str,
    text: &'static str,
    done: bool,
    action: &'static str,
    href: &'static str,
}

#[derive(Template)]
#[template(path = "home.html")]
struct HomePage {
    shell: Shell,
    steps: Vec<Step>,
    summary: Summary,
    calls: Calls,
    policy: PolicyStatus,
    mcp_url: String,
    /// How many agents registered themselves and wait for somebody to decide.
    waiting: i64,
    /// How many definitions wait for somebody to decide, or to look at them.
    definitions: i64,
}

/// `GET /`.
pub(super) async fn show_home(State(app): State<Arc<App>>, visitor: Visitor) -> Result<Response, PageError> {
    if !visitor.uses_console() {
        return Ok(Redirect::to("/account/apps").into_response());
    }
    let calls = Calls::latest(&app, &visitor, &Filter::default(), RECENT_CALLS).await?;
    let steps = steps(
        any::<ServerSpec>(&app, &visitor).await?,
        any::<AgentSpec>(&app, &visitor).await?,
        any::<GrantSpec>(&app, &visitor).await?,
        !calls.records.is_empty(),
    );
    let mut tx = app.db.tenant(visitor.caller.tenant).await?;
    show(&HomePage {
        shell: Shell::new(&visitor, Section::Home, "Home"),
        steps,
        summary: usage::summary(&mut tx, Utc::now() - TimeDelta::hours(24)).await?,
        policy: data_planes::policy_status(&mut tx).await?,
        calls,
        waiting: agents::count_awaiting_decision(&mut tx).await?,
        definitions: catalog::count_waiting(&mut tx).await?,
        mcp_url: app.urls.federated(&visitor.caller.tenant_name),
    })
}

impl HomePage {
    fn is_set_up(&self) -> bool {
        self.steps.iter().all(|step| step.done)
    }

    fn in_step(&self, served: &Option<i64>) -> bool {
        *served == Some(self.policy.revision)
    }

    /// A share of all requests, in per cent.
    fn share(&self, part: &i64) -> String {
        let all = self.summary.calls + self.summary.refused;
        if all == 0 {
            return "no calls yet".to_owned();
        }
        // Tenths of a per cent, so that one of a thousand is not rounded away.
        let tenths = part * 1_000 / all;
        format!("{}.{} % of all", tenths / 10, tenths % 10)
    }
}

async fn any<K: Kind>(app: &App, visitor: &Visitor) -> Result<bool, PageError> {
    let one = PageQuery { limit: Some(1), cursor: None };
    Ok(!resource::list::<K>(app, &visitor.caller, &one).await?.items.is_empty())
}

fn steps(server: bool, agent: bool, grant: bool, call: bool) -> Vec<Step> {
    vec![
        Step {
            title: "Register a server",
            text: "An MCP server that agents will reach through Tollgate.",
            done: server,
            action: "Add a server",
            href: "/new/server",
        },
        Step {
            title: "Create an agent",
            text: "A client with its own id and secret. It belongs to a team.",
            done: agent,
            action: "Create an agent",
            href: "/new/agent",
        },
        Step {
            title: "Grant it some tools",
            text: "Without a grant every call is refused.",
            done: grant,
            action: "Grant access",
            href: "/new/grant",
        },
        Step {
            title: "See the first call",
            text: "Connect a client with the lines on the agent's page and call a tool.",
            done: call,
            action: "Open agents",
            href: "/agents",
        },
    ]
}
