//! What a budget is on.

use serde::{Deserialize, Serialize};
use tollgate_proto::{AgentId, Name, TeamId};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{agents, db::TenantTx, error::Faults, teams, tenants};

/// What a budget is on: one of these.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetTarget {
    /// The name of an agent: whatever it does, for itself or for whichever user.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub agent: Option<Name>,
    /// The name of a team: whatever it pays for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub team: Option<Name>,
    /// The name of the tenant itself: everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub tenant: Option<Name>,
}

/// The same, found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    Agent(AgentId),
    Team(TeamId),
    Tenant,
}

impl BudgetTarget {
    /// As people read it: the kind, and what it is called.
    #[must_use]
    pub fn named(&self) -> (&'static str, String) {
        let named = [("agent", &self.agent), ("team", &self.team), ("tenant", &self.tenant)];
        let given = named.into_iter().find_map(|(kind, name)| Some((kind, name.as_ref()?.to_string())));
        given.unwrap_or_default()
    }

    /// What it names; a fault where that is nothing, or not one thing.
    pub(super) async fn look_up(&self, tx: &mut TenantTx, faults: &mut Faults) -> Result<Option<Target>, sqlx::Error> {
        match (&self.agent, &self.team, &self.tenant) {
            (Some(agent), None, None) => {
                Ok(agents::look_up(tx, agent, "/spec/to/agent", faults).await?.map(Target::Agent))
            }
            (None, Some(team), None) => Ok(teams::look_up(tx, team, "/spec/to/team", faults).await?.map(Target::Team)),
            (None, None, Some(tenant)) => {
                let is_own = tenants::is_named(tx, tenant).await?;
                if !is_own {
                    faults.add("/spec/to/tenant", "tenant_unknown", "name the tenant that the budget is in");
                }
                Ok(is_own.then_some(Target::Tenant))
            }
            _ => {
                faults.add("/spec/to", "exactly_one", "name an `agent`, a `team` or the `tenant`");
                Ok(None)
            }
        }
    }
}

impl Target {
    /// Of the columns `agent_id` and `team_id`.
    pub(super) fn of(agent: Option<Uuid>, team: Option<Uuid>) -> Self {
        match (agent, team) {
            (Some(agent), _) => Self::Agent(agent.into()),
            (None, Some(team)) => Self::Team(team.into()),
            (None, None) => Self::Tenant,
        }
    }

    /// Whatever what this agent does and this team pays for counts towards.
    pub(super) fn counting(agent: Option<Uuid>, team: Option<Uuid>) -> impl Iterator<Item = Self> {
        let (agent, team) = (agent.map(|id| Self::Agent(id.into())), team.map(|id| Self::Team(id.into())));
        agent.into_iter().chain(team).chain([Self::Tenant])
    }
}
