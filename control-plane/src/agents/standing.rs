//! Where agents stand: active, suspended, or waiting for somebody to decide about them.
//!
//! Invariant: the tokens of an agent that is suspended stay dead when it is activated again.

use serde_json::json;

use super::{Agent, AgentSpec, AgentState, sql};
use crate::{
    app::App,
    audit,
    caller::{Caller, Role},
    db::TenantTx,
    error::ApiError,
    resource::{self, Kind as _},
    revocations::{self, Outcome, Revoked},
};

/// Revokes every token of the agent with this id or name, and every approval that a user gave it. Its secrets stay: it
/// gets itself new tokens, unless it is suspended.
///
/// # Errors
/// [`ApiError::NotFound`], [`ApiError::Forbidden`]; or when Postgres is away.
pub async fn revoke(app: &App, caller: &Caller, key: &str) -> Result<Outcome, ApiError> {
    caller.require(AgentSpec::WRITER)?;
    let mut tx = app.db.tenant(caller.tenant).await?;
    let agent: Agent = resource::existing(&mut tx, app, caller, key).await?;
    let revision = revocations::revoke(&mut tx, Revoked::Agent(agent.id), "an operator revoked the agent").await?;
    let event = audit::Event {
        actor: &caller.actor,
        action: "agent.revoke",
        object_kind: AgentSpec::NOUN,
        object_id: &agent.id.to_string(),
        object_name: &agent.name,
        detail: json!({ "revocation": revision }),
    };
    audit::record(&mut tx, event).await?;
    Ok(revocations::commit(app, tx, revision).await?)
}

/// Suspends or activates the agent with this id or name; nothing happens when it is in that state. To activate one that
/// waits is to approve it. The tokens of an agent that is suspended are revoked: they stay dead when it is activated
/// again.
///
/// # Errors
/// [`ApiError::NotFound`], [`ApiError::Forbidden`]; or when Postgres is away.
pub async fn set_state(app: &App, caller: &Caller, key: &str, state: AgentState) -> Result<Agent, ApiError> {
    caller.require(AgentSpec::WRITER)?;
    let mut tx = resource::begin(app, caller).await?;
    let agent: Agent = resource::existing(&mut tx, app, caller, key).await?;
    if agent.status.state == state {
        return Ok(agent);
    }
    change_state(tx, app, caller, &agent, state).await
}

/// Lets an agent that registered itself act, within its grants; nothing happens when it was approved before.
///
/// # Errors
/// [`ApiError::AgentSuspended`], [`ApiError::NotFound`], [`ApiError::Forbidden`]; or when Postgres is away.
pub async fn approve(app: &App, caller: &Caller, key: &str) -> Result<Agent, ApiError> {
    caller.require(AgentSpec::WRITER)?;
    let mut tx = resource::begin(app, caller).await?;
    let agent: Agent = resource::existing(&mut tx, app, caller, key).await?;
    match agent.status.state {
        AgentState::Active => Ok(agent),
        AgentState::Suspended => Err(ApiError::AgentSuspended),
        AgentState::Waiting => change_state(tx, app, caller, &agent, AgentState::Active).await,
    }
}

/// The agents about which an operator has something to decide, the newest first.
///
/// # Errors
/// [`ApiError::Forbidden`]; or when Postgres is away.
pub async fn awaiting_decision(app: &App, caller: &Caller) -> Result<Vec<Agent>, ApiError> {
    caller.require(Role::Viewer)?;
    let mut tx = app.db.tenant(caller.tenant).await?;
    let rows = sql::awaiting_decision(&mut tx).await?;
    rows.into_iter().map(|row| Agent::of(row, app, caller)).collect()
}

/// How many they are.
///
/// # Errors
/// When Postgres is away.
pub async fn count_awaiting_decision(tx: &mut TenantTx) -> Result<i64, sqlx::Error> {
    sql::count_awaiting_decision(tx).await
}

async fn change_state(
    mut tx: TenantTx,
    app: &App,
    caller: &Caller,
    agent: &Agent,
    state: AgentState,
) -> Result<Agent, ApiError> {
    sql::set_state(&mut tx, agent.id, state).await?;
    if state == AgentState::Suspended {
        revocations::revoke(&mut tx, Revoked::Agent(agent.id), "the agent was suspended").await?;
    }
    let event = audit::Event {
        actor: &caller.actor,
        action: match (agent.status.state, state) {
            (AgentState::Waiting, AgentState::Active) => "agent.approve",
            (_, AgentState::Active) => "agent.activate",
            (_, AgentState::Suspended | AgentState::Waiting) => "agent.suspend",
        },
        object_kind: AgentSpec::NOUN,
        object_id: &agent.id.to_string(),
        object_name: &agent.name,
        detail: json!({ "revision": agent.revision + 1 }),
    };
    audit::record(&mut tx, event).await?;
    let agent = resource::existing(&mut tx, app, caller, &agent.name).await?;
    tx.commit().await?;
    Ok(agent)
}
