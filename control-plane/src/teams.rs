//! Teams: cost centres inside a tenant, which own agents and servers.
//!
//! Invariant: every agent has a team, so a team that still owns something is not deleted.

use serde::{Deserialize, Serialize};
use tollgate_proto::{Name, TeamId};
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

/// A team as the API shows it.
pub type Team = Object<TeamSpec>;
/// One page of teams.
pub type TeamPage = Page<Team>;
/// The body that creates a team.
pub type NewTeam = Draft<TeamSpec>;
/// The body that replaces a team.
pub type TeamContent = Content<TeamSpec>;

/// What a client says about a team.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TeamSpec {
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// What finance books its usage to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_center: Option<String>,
}

/// What the server says about a team.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TeamStatus {
    /// How many agents it owns.
    pub agents: i64,
    /// How many servers it owns.
    pub servers: i64,
}

/// What a team's spec means.
#[derive(Debug)]
pub struct Meaning {
    display_name: String,
    cost_center: String,
}

impl Kind for TeamSpec {
    const TITLE: &'static str = "Team";
    const NOUN: &'static str = "team";
    const COLLECTION: &'static str = "teams";

    type Id = TeamId;
    type Status = TeamStatus;
    type Meaning = Meaning;

    async fn select(tx: &mut TenantTx, which: Which<'_>) -> Result<Vec<Row>, sqlx::Error> {
        sql::select(tx, which).await
    }

    async fn interpret(
        &self,
        _: &Name,
        _: Option<&Self>,
        _: &mut TenantTx,
        faults: &mut Faults,
    ) -> Result<Option<Meaning>, sqlx::Error> {
        let display_name = self.display_name.clone().unwrap_or_default();
        let cost_center = self.cost_center.clone().unwrap_or_default();
        faults.check_text("/spec/display_name", &display_name);
        faults.check_text("/spec/cost_center", &cost_center);
        Ok(Some(Meaning { display_name, cost_center }))
    }

    async fn save(tx: &mut TenantTx, version: &Version<'_>, meaning: Meaning) -> Result<(), sqlx::Error> {
        sql::save(tx, version, &meaning).await
    }

    fn status(&self, row: &Row, _: &App, _: &Caller) -> Result<TeamStatus, ApiError> {
        TeamStatus::deserialize(&row.facts).map_err(ApiError::internal)
    }
}

impl Removable for TeamSpec {
    async fn delete(tx: &mut TenantTx, id: TeamId, name: &str) -> Result<(), ApiError> {
        let by = sql::owned(tx, id).await?;
        if !by.is_empty() {
            return Err(ApiError::InUse { noun: Self::NOUN, name: name.to_owned(), by });
        }
        Ok(sql::delete(tx, id).await?)
    }
}

/// The id of the team `name`; a fault at `pointer` when there is none.
///
/// # Errors
/// When Postgres is away.
pub async fn look_up(
    tx: &mut TenantTx,
    name: &Name,
    pointer: &str,
    faults: &mut Faults,
) -> Result<Option<TeamId>, sqlx::Error> {
    let id = sql::id(tx, name).await?;
    if id.is_none() {
        faults.add(pointer, "team_unknown", format!("there is no team `{name}`"));
    }
    Ok(id)
}
