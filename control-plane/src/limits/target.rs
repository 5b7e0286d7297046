//! What a limit is on.

use serde::{Deserialize, Serialize};
use tollgate_proto::{AgentId, Name, Scope, ServerId, TeamId, UserId};
use utoipa::ToSchema;

use super::sql;
use crate::{agents, db::TenantTx, error::Faults, teams, tenants};

/// What a limit is on: one of these.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitTarget {
    /// The name of an agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub agent: Option<Name>,
    /// The name of a team: whatever it pays for counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub team: Option<Name>,
    /// The address of a user: whatever agents do for them counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The name of a server.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub server: Option<Name>,
    /// A tool, as `server:tool`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "everything:echo")]
    pub tool: Option<String>,
    /// The name of the tenant itself: everything counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub tenant: Option<Name>,
}

/// The same, found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Agent(AgentId),
    Team(TeamId),
    User(UserId),
    Server(ServerId),
    Tool(ServerId, Box<str>),
    Tenant,
}

impl LimitTarget {
    /// As people read it: the kind, and what it is called.
    #[must_use]
    pub fn named(&self) -> (&'static str, String) {
        let text = |name: &Option<Name>| name.as_ref().map(ToString::to_string);
        let named = [
            ("agent", text(&self.agent)),
            ("team", text(&self.team)),
            ("user", self.user.clone()),
            ("server", text(&self.server)),
            ("tool", self.tool.clone()),
            ("tenant", text(&self.tenant)),
        ];
        let given = named.into_iter().find_map(|(kind, name)| Some((kind, name?)));
        given.unwrap_or_default()
    }

    /// What it names; a fault where that is nothing, or not one thing.
    pub(super) async fn look_up(&self, tx: &mut TenantTx, faults: &mut Faults) -> Result<Option<Target>, sqlx::Error> {
        let given = [
            self.agent.is_some(),
            self.team.is_some(),
            self.user.is_some(),
            self.server.is_some(),
            self.tool.is_some(),
            self.tenant.is_some(),
        ];
        if given.into_iter().filter(|given| *given).count() != 1 {
            faults.add("/spec/to", "exactly_one", "name an `agent`, `team`, `user`, `server`, `tool` or the `tenant`");
            return Ok(None);
        }
        if let Some(agent) = &self.agent {
            return Ok(agents::look_up(tx, agent, "/spec/to/agent", faults).await?.map(Target::Agent));
        }
        if let Some(team) = &self.team {
            return Ok(teams::look_up(tx, team, "/spec/to/team", faults).await?.map(Target::Team));
        }
        if let Some(email) = &self.user {
            let user = sql::user(tx, email).await?;
            if user.is_none() {
                faults.add("/spec/to/user", "user_unknown", format!("there is no user `{email}`"));
            }
            return Ok(user.map(Target::User));
        }
        if let Some(tool) = &self.tool {
            return tool_of(tx, tool, faults).await;
        }
        if let Some(server) = &self.server {
            return Ok(server_of(tx, server, "/spec/to/server", faults).await?.map(Target::Server));
        }
        let Some(tenant) = &self.tenant else { return Ok(None) };
        let is_own = tenants::is_named(tx, tenant).await?;
        if !is_own {
            faults.add("/spec/to/tenant", "tenant_unknown", "name the tenant that the limit is in");
        }
        Ok(is_own.then_some(Target::Tenant))
    }
}

async fn server_of(
    tx: &mut TenantTx,
    name: &Name,
    pointer: &str,
    faults: &mut Faults,
) -> Result<Option<ServerId>, sqlx::Error> {
    let server = sql::server(tx, name.as_str()).await?;
    if server.is_none() {
        faults.add(pointer, "server_unknown", format!("there is no server `{name}`"));
    }
    Ok(server)
}

/// A tool need not be in the catalog: its server may come to have it.
async fn tool_of(tx: &mut TenantTx, text: &str, faults: &mut Faults) -> Result<Option<Target>, sqlx::Error> {
    let Ok(Scope::Tool { server, tool }) = text.parse() else {
        faults.add("/spec/to/tool", "shape", "write one tool, as in `everything:echo`");
        return Ok(None);
    };
    let server = server_of(tx, &server, "/spec/to/tool", faults).await?;
    Ok(server.map(|server| Target::Tool(server, (*tool).into())))
}
