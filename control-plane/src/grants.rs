//! Grants: what agents, teams and people of a role may do, and what must hold for it.
//!
//! Invariant: a grant names servers and toolsets that exist when it is written, so that a typo does not silently grant
//! nothing.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tollgate_proto::{AgentId, GrantId, Name, Scope, TeamId, policy::v1::Condition};
use utoipa::ToSchema;

use crate::{
    agents,
    app::App,
    caller::{Caller, Role},
    db::TenantTx,
    error::{ApiError, Faults},
    page::Page,
    resource::{Content, Draft, Kind, Object, Removable, Row, Version, Which},
    teams,
};

pub mod api;
mod conditions;
mod networks;
pub(crate) mod scopes;
mod sql;
#[cfg(test)]
mod tests;

pub use conditions::{ArgumentCondition, ArgumentRange};

const SCOPES_MAX: usize = 200;
/// Grants about one thing.
const CONCERNING_MAX: i64 = 200;

/// A grant as the API shows it.
pub type Grant = Object<GrantSpec>;
/// One page of grants.
pub type GrantPage = Page<Grant>;
/// The body that creates a grant.
pub type NewGrant = Draft<GrantSpec>;
/// The body that replaces a grant.
pub type GrantContent = Content<GrantSpec>;

/// What a client says about a grant.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GrantSpec {
    /// Who gets it.
    pub to: GrantTarget,
    /// What it is about, 1 to 200: `server:tool`, `server:get_*` for the tools that are called so, `server:@read` for
    /// those that were approved as read-only, `server:@prompt/name`, `server:@resource/uri`, both with stars or without,
    /// `server:*` for everything that a server offers, or `toolset/name`.
    #[schema(min_items = 1, max_items = 200, example = json!(["demo:echo", "files:@read"]))]
    pub scopes: Vec<String>,
    /// Whether it forbids instead of allowing; a grant that forbids wins over all that allow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deny: Option<bool>,
    /// When it ends, as in RFC 3339; never unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    pub expires_at: Option<String>,
    /// What the arguments of a call must be like: all must hold, 20 at most. While tools are listed, and nobody knows the
    /// arguments, a grant that allows under conditions shows its tools, and one that forbids hides none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 20)]
    pub conditions: Option<Vec<ArgumentCondition>>,
    /// The networks (CIDR) that a request must come from, 100 at most; from anywhere unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 100, example = json!(["10.20.0.0/16"]))]
    pub networks: Option<Vec<String>>,
    /// How a tool call is answered that this grant permits, and that a limit or a budget turns away; `http` unless told. Not
    /// for a grant that forbids.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deny_as: Option<DenyAs>,
}

/// How a tool call is answered that a limit or a budget turns away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DenyAs {
    /// As an error, with HTTP 429: the agent's program reads it.
    Http,
    /// As the tool's own result, which says that it is an error, with HTTP 200: the model reads it.
    ToolError,
}

/// Who gets a grant: exactly one of these.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GrantTarget {
    /// The name of an agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub agent: Option<Name>,
    /// The name of a team: all its agents get it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub team: Option<Name>,
    /// A role: every agent gets it that acts for a user who has this role, and no other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
}

/// What the server says about a grant.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct GrantStatus {
    /// Whether it has ended.
    pub expired: bool,
    /// What applies where the spec is silent.
    pub effective: EffectiveGrant,
}

/// What applies where a grant's spec is silent.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct EffectiveGrant {
    /// Whether it forbids.
    pub deny: bool,
    /// How limits and budgets turn away the tool calls that it permits.
    pub deny_as: DenyAs,
}

/// What a grant's spec means.
#[derive(Debug)]
pub struct Meaning {
    to: Recipient,
    scopes: Vec<String>,
    deny: bool,
    expires_at: Option<DateTime<Utc>>,
    conditions: Value,
    networks: Vec<String>,
    deny_as: DenyAs,
}

#[derive(Debug, Clone, Copy)]
enum Recipient {
    Agent(AgentId),
    Team(TeamId),
    Role(Role),
}

/// What grants are about: those that fit anything that is given.
#[derive(Debug, Clone, Default)]
pub(crate) struct Concern<'a> {
    /// Those to this agent.
    pub(crate) agent: Option<AgentId>,
    /// Those to the team of this name.
    pub(crate) team: Option<&'a str>,
    /// Those to any role.
    pub(crate) roles: bool,
    /// Those with a scope of one of these servers.
    pub(crate) servers: Vec<String>,
    /// Those with one of these scopes.
    pub(crate) scopes: Vec<String>,
}

impl DenyAs {
    /// `http` or `tool_error`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::ToolError => "tool_error",
        }
    }
}

/// The grants about something in the order of their names, and whether there are more than are answered.
///
/// # Errors
/// [`ApiError::Forbidden`]; or when Postgres is away.
pub(crate) async fn concerning(
    app: &App,
    caller: &Caller,
    about: &Concern<'_>,
) -> Result<(Vec<Grant>, bool), ApiError> {
    caller.require(Role::Viewer)?;
    let mut rows = sql::concerning(&mut app.db.tenant(caller.tenant).await?, about, CONCERNING_MAX + 1).await?;
    let shown = usize::try_from(CONCERNING_MAX).map_err(ApiError::internal)?;
    let more = rows.len() > shown;
    rows.truncate(shown);
    let grants = rows.into_iter().map(|row| Grant::of(row, app, caller)).collect::<Result<_, _>>()?;
    Ok((grants, more))
}

impl Kind for GrantSpec {
    const TITLE: &'static str = "Grant";
    const NOUN: &'static str = "grant";
    const COLLECTION: &'static str = "grants";

    type Id = GrantId;
    type Status = GrantStatus;
    type Meaning = Meaning;

    async fn select(tx: &mut TenantTx, which: Which<'_>) -> Result<Vec<Row>, sqlx::Error> {
        sql::select(tx, which).await
    }

    async fn interpret(
        &self,
        _: &Name,
        current: Option<&Self>,
        tx: &mut TenantTx,
        faults: &mut Faults,
    ) -> Result<Option<Meaning>, sqlx::Error> {
        let to = recipient(&self.to, tx, faults).await?;
        let scopes = distinct_scopes(self, tx, faults).await?;
        let expires_at = expiry(self, current, faults);
        let deny = self.deny.unwrap_or_default();
        let conditions = self.conditions.as_deref().unwrap_or_default();
        conditions::check(conditions, faults);
        let networks = networks::read(self.networks.as_deref().unwrap_or_default(), faults);
        let conditions = json!(conditions);
        if deny && self.deny_as.is_some() {
            let detail = "a grant that forbids lets nothing through that a limit could turn away: leave `deny_as` out";
            faults.add("/spec/deny_as", "with_deny", detail);
        }
        let deny_as = self.deny_as();
        Ok(to.map(|to| Meaning { to, scopes, deny, expires_at, conditions, networks, deny_as }))
    }

    async fn save(tx: &mut TenantTx, version: &Version<'_>, meaning: Meaning) -> Result<(), sqlx::Error> {
        sql::save(tx, version, &meaning).await
    }

    fn status(&self, _: &Row, _: &App, _: &Caller) -> Result<GrantStatus, ApiError> {
        let expires_at = self.expires_at.as_deref().map(DateTime::parse_from_rfc3339).transpose();
        let expired = expires_at.map_err(ApiError::internal)?.is_some_and(|at| at <= Utc::now());
        let effective = EffectiveGrant { deny: self.deny.unwrap_or_default(), deny_as: self.deny_as() };
        Ok(GrantStatus { expired, effective })
    }
}

impl GrantSpec {
    fn deny_as(&self) -> DenyAs {
        self.deny_as.unwrap_or(DenyAs::Http)
    }
}

impl Removable for GrantSpec {
    async fn delete(tx: &mut TenantTx, id: GrantId, _: &str) -> Result<(), ApiError> {
        Ok(sql::delete(tx, id).await?)
    }
}

/// As data planes are told.
pub(crate) fn wire_conditions(stored: Value) -> Result<Vec<Condition>, serde_json::Error> {
    let conditions: Vec<ArgumentCondition> = serde_json::from_value(stored)?;
    Ok(conditions.iter().map(Condition::from).collect())
}

async fn recipient(to: &GrantTarget, tx: &mut TenantTx, faults: &mut Faults) -> Result<Option<Recipient>, sqlx::Error> {
    match (&to.agent, &to.team, to.role) {
        (Some(agent), None, None) => {
            Ok(agents::look_up(tx, agent, "/spec/to/agent", faults).await?.map(Recipient::Agent))
        }
        (None, Some(team), None) => Ok(teams::look_up(tx, team, "/spec/to/team", faults).await?.map(Recipient::Team)),
        (None, None, Some(role)) => Ok(Some(Recipient::Role(role))),
        _ => {
            faults.add("/spec/to", "exactly_one", "name exactly one of `agent`, `team` and `role`");
            Ok(None)
        }
    }
}

/// The scopes in their normal form, each once.
async fn distinct_scopes(spec: &GrantSpec, tx: &mut TenantTx, faults: &mut Faults) -> Result<Vec<String>, sqlx::Error> {
    let given = &spec.scopes;
    if given.is_empty() {
        faults.add("/spec/scopes", "required", "name at least one scope");
    }
    if given.len() > SCOPES_MAX {
        faults.add("/spec/scopes", "too_many", format!("at most {SCOPES_MAX} scopes"));
        return Ok(Vec::new());
    }
    let scopes = scopes::read(given, "/spec/scopes", tx, faults).await?;
    if spec.conditions.as_ref().is_some_and(|conditions| !conditions.is_empty()) {
        check_arguments(given, faults);
    }
    let distinct: BTreeSet<Scope> = scopes.into_iter().collect();
    Ok(distinct.iter().map(ToString::to_string).collect())
}

/// A condition on what has no arguments never holds.
fn check_arguments(scopes: &[String], faults: &mut Faults) {
    for (index, scope) in scopes.iter().enumerate() {
        if matches!(scope.parse(), Ok(Scope::Resources { .. })) {
            let detail = format!("`{scope}` is read without arguments, so that no condition can hold");
            faults.add(format!("/spec/scopes/{index}"), "no_arguments", detail);
        }
    }
}

/// Must lie ahead, unless it is what the grant had before.
fn expiry(spec: &GrantSpec, current: Option<&GrantSpec>, faults: &mut Faults) -> Option<DateTime<Utc>> {
    let given = spec.expires_at.as_deref()?;
    let Ok(at) = DateTime::parse_from_rfc3339(given) else {
        faults.add("/spec/expires_at", "time", "write a time as in RFC 3339: `2030-01-31T12:00:00Z`");
        return None;
    };
    let unchanged = current.and_then(|current| current.expires_at.as_deref()) == Some(given);
    if at <= Utc::now() && !unchanged {
        faults.add("/spec/expires_at", "time_past", "the time lies in the past");
    }
    Some(at.to_utc())
}
