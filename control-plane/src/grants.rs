//! Grants: what agents and teams may do.
//!
//! Invariant: a grant names servers and toolsets that exist when it is written, so that a typo does not silently grant
//! nothing.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tollgate_proto::{AgentId, GrantId, Name, Scope, TeamId};
use utoipa::ToSchema;

use crate::{
    agents,
    app::App,
    caller::Caller,
    db::TenantTx,
    error::{ApiError, Faults},
    page::Page,
    resource::{Content, Draft, Kind, Object, Removable, Row, Version, Which},
    teams,
};

pub mod api;
pub(crate) mod scopes;
mod sql;
#[cfg(test)]
mod tests;

const SCOPES_MAX: usize = 200;

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
    /// What it is about: `server:tool`, `server:*` or `toolset/name`, 1 to 200.
    #[schema(min_items = 1, max_items = 200, example = json!(["demo:echo", "files:*"]))]
    pub scopes: Vec<String>,
    /// Whether it forbids instead of allowing; a grant that forbids wins over all that allow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deny: Option<bool>,
    /// When it ends, as in RFC 3339; never unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    pub expires_at: Option<String>,
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
    /// A role; not in this version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
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
}

/// What a grant's spec means.
#[derive(Debug)]
pub struct Meaning {
    to: Recipient,
    scopes: Vec<String>,
    deny: bool,
    expires_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, Copy)]
enum Recipient {
    Agent(AgentId),
    Team(TeamId),
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
        let scopes = distinct_scopes(&self.scopes, tx, faults).await?;
        let expires_at = expiry(self, current, faults);
        let deny = self.deny.unwrap_or_default();
        Ok(to.map(|to| Meaning { to, scopes, deny, expires_at }))
    }

    async fn save(tx: &mut TenantTx, version: &Version<'_>, meaning: Meaning) -> Result<(), sqlx::Error> {
        sql::save(tx, version, &meaning).await
    }

    fn status(&self, _: &Row, _: &App, _: &Caller) -> Result<GrantStatus, ApiError> {
        let expires_at = self.expires_at.as_deref().map(DateTime::parse_from_rfc3339).transpose();
        let expired = expires_at.map_err(ApiError::internal)?.is_some_and(|at| at <= Utc::now());
        Ok(GrantStatus { expired, effective: EffectiveGrant { deny: self.deny.unwrap_or_default() } })
    }
}

impl Removable for GrantSpec {
    async fn delete(tx: &mut TenantTx, id: GrantId, _: &str) -> Result<(), ApiError> {
        Ok(sql::delete(tx, id).await?)
    }
}

async fn recipient(to: &GrantTarget, tx: &mut TenantTx, faults: &mut Faults) -> Result<Option<Recipient>, sqlx::Error> {
    if to.role.is_some() {
        faults.not_available("/spec/to/role", "grants to roles");
        return Ok(None);
    }
    match (&to.agent, &to.team) {
        (Some(agent), None) => Ok(agents::look_up(tx, agent, "/spec/to/agent", faults).await?.map(Recipient::Agent)),
        (None, Some(team)) => Ok(teams::look_up(tx, team, "/spec/to/team", faults).await?.map(Recipient::Team)),
        _ => {
            faults.add("/spec/to", "exactly_one", "name exactly one of `agent` and `team`");
            Ok(None)
        }
    }
}

/// The scopes in their normal form, each once.
async fn distinct_scopes(given: &[String], tx: &mut TenantTx, faults: &mut Faults) -> Result<Vec<String>, sqlx::Error> {
    if given.is_empty() {
        faults.add("/spec/scopes", "required", "name at least one scope");
    }
    if given.len() > SCOPES_MAX {
        faults.add("/spec/scopes", "too_many", format!("at most {SCOPES_MAX} scopes"));
        return Ok(Vec::new());
    }
    let scopes = scopes::read(given, "/spec/scopes", tx, faults).await?;
    let distinct: BTreeSet<Scope> = scopes.into_iter().collect();
    Ok(distinct.iter().map(ToString::to_string).collect())
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
