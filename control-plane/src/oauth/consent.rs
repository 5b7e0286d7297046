//! Consent: what a user allowed an agent at one resource, remembered for the next time, and the list of all that a
//! user allowed, with the way back.
//!
//! Invariant: what is remembered speaks of the client as it described itself then; when that changes, nothing is
//! remembered any more.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::json;
use tollgate_proto::{AgentId, AuthorizationId, Scope, UserId};
use url::Url;

use super::{authorize, toolsets::Toolsets};
use crate::{
    app::App,
    audit,
    db::TenantTx,
    revocations::{self, Revoked},
};

pub mod api;
mod sql;
#[cfg(test)]
mod tests;

/// Why families end that a user or an admin withdrew; revocations and the audit say so.
const WITHDRAWN: &str = "consent withdrawn";

/// Who allowed whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parties<'a> {
    /// The user.
    pub(super) user: UserId,
    /// The agent that acts for them.
    pub(super) agent: AgentId,
    /// Of what the client says about itself.
    pub(super) client_digest: &'a [u8],
}

/// What a user allows one app at one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedApp {
    /// The agent.
    pub agent: AgentId,
    /// Its name.
    pub agent_name: String,
    /// What it calls itself; empty when it has no other name.
    pub display_name: String,
    /// Where its metadata document is, if that is what it is known by.
    pub document_url: Option<String>,
    /// The endpoint.
    pub resource: String,
    /// What it may do there.
    pub scopes: Vec<Scope>,
    /// Since when.
    pub allowed_at: DateTime<Utc>,
    /// When it last got a token.
    pub last_used_at: Option<DateTime<Utc>>,
}

/// A live grant family.
#[derive(Debug, Clone)]
pub struct Authorization {
    /// Its id, the `gid` of its tokens.
    pub id: AuthorizationId,
    /// The agent.
    pub agent: AgentId,
    /// Its name.
    pub agent_name: String,
    /// The endpoints.
    pub resources: Vec<String>,
    /// What it may do there.
    pub scopes: Vec<String>,
    /// When the user allowed it.
    pub created_at: DateTime<Utc>,
    /// When a token of it was last issued.
    pub last_used_at: Option<DateTime<Utc>>,
    /// When it ends by itself.
    pub expires_at: DateTime<Utc>,
}

/// What is remembered at `resource`; nothing when the client has changed since.
pub(super) async fn remembered(
    tx: &mut TenantTx,
    parties: Parties<'_>,
    resource: &str,
) -> Result<Vec<Scope>, sqlx::Error> {
    sql::remembered(tx, parties, resource).await
}

/// Remembers that of `asked` the user allowed `allowed`. What was remembered beyond what was asked stays.
pub(super) async fn remember(
    tx: &mut TenantTx,
    parties: Parties<'_>,
    resource: &str,
    asked: &[Scope],
    allowed: &[Scope],
) -> Result<(), sqlx::Error> {
    let before = sql::remembered(tx, parties, resource).await?;
    let kept = before.into_iter().filter(|scope| !asked.contains(scope));
    let scopes: BTreeSet<Scope> = kept.chain(allowed.iter().cloned()).collect();
    // What toolsets hold may change: a scope is remembered as it was allowed.
    sql::remember(tx, parties, resource, &Toolsets::default().without_covered(&scopes)).await
}

/// Everything that a user allows apps now, by name and resource.
///
/// # Errors
/// When Postgres is away.
pub async fn allowed_apps(tx: &mut TenantTx, user: UserId) -> Result<Vec<AllowedApp>, sqlx::Error> {
    let mut apps: Vec<AllowedApp> = Vec::new();
    for app in sql::allowed(tx, user).await? {
        match apps.last_mut().filter(|last| last.agent == app.agent && last.resource == app.resource) {
            Some(last) => last.join(app),
            None => apps.push(app),
        }
    }
    Ok(apps)
}

/// The live grant families of a user, the newest first.
///
/// # Errors
/// When Postgres is away.
pub async fn authorizations(tx: &mut TenantTx, user: UserId) -> Result<Vec<Authorization>, sqlx::Error> {
    sql::authorizations(tx, user).await
}

/// Takes back what a user allowed an agent at a resource: what was remembered, and every grant family that reaches
/// there. Returns when the data planes refuse its tokens, or after half a second; whether there was anything.
///
/// # Errors
/// When Postgres is away.
pub async fn withdraw(
    app: &App,
    mut tx: TenantTx,
    actor: &str,
    user: UserId,
    agent: AgentId,
    resource: &str,
) -> Result<bool, sqlx::Error> {
    let Some(name) = sql::agent_name(&mut tx, agent).await? else { return Ok(false) };
    let families = sql::families_at(&mut tx, user, agent, resource).await?;
    let forgotten = sql::forget(&mut tx, user, agent, &[resource.to_owned()]).await?;
    if families.is_empty() && !forgotten {
        return Ok(false);
    }
    let revision = revoke_all(&mut tx, &families).await?;
    let object_id = agent.to_string();
    let event = audit::Event {
        actor,
        action: "consent.withdraw",
        object_kind: "agent",
        object_id: &object_id,
        object_name: &name,
        detail: json!({ "user": user, "resource": resource, "authorizations": families }),
    };
    audit::record(&mut tx, event).await?;
    finish(app, tx, revision).await?;
    Ok(true)
}

/// Ends one live grant family of a user, and forgets the consent at its resources, so that the agent cannot have
/// another one without asking. Whether there was one.
///
/// # Errors
/// When Postgres is away.
pub async fn revoke(
    app: &App,
    mut tx: TenantTx,
    actor: &str,
    user: UserId,
    id: AuthorizationId,
) -> Result<bool, sqlx::Error> {
    let Some(family) = sql::authorizations(&mut tx, user).await?.into_iter().find(|family| family.id == id) else {
        return Ok(false);
    };
    sql::forget(&mut tx, user, family.agent, &family.resources).await?;
    let revision = revoke_all(&mut tx, &[id]).await?;
    let object_id = family.agent.to_string();
    let event = audit::Event {
        actor,
        action: "authorization.revoke",
        object_kind: "agent",
        object_id: &object_id,
        object_name: &family.agent_name,
        detail: json!({ "user": user, "resources": family.resources, "authorization": id }),
    };
    audit::record(&mut tx, event).await?;
    finish(app, tx, revision).await?;
    Ok(true)
}

impl AllowedApp {
    /// What people are shown.
    #[must_use]
    pub fn shown_name(&self) -> String {
        let name = authorize::readable(&self.display_name);
        if name.is_empty() { self.agent_name.clone() } else { name }
    }

    /// The host of its metadata document.
    #[must_use]
    pub fn document_host(&self) -> Option<String> {
        let url = Url::parse(self.document_url.as_ref()?).ok()?;
        url.host_str().map(str::to_owned)
    }

    /// Takes in another row about the same app and resource.
    fn join(&mut self, other: Self) {
        let scopes: BTreeSet<Scope> = self.scopes.drain(..).chain(other.scopes).collect();
        self.scopes = Toolsets::default().without_covered(&scopes);
        self.allowed_at = self.allowed_at.min(other.allowed_at);
        self.last_used_at = self.last_used_at.max(other.last_used_at);
    }
}

async fn revoke_all(tx: &mut TenantTx, families: &[AuthorizationId]) -> Result<Option<i64>, sqlx::Error> {
    let mut revision = None;
    for family in families {
        revision = Some(revocations::revoke(tx, Revoked::GrantFamily(*family), WITHDRAWN).await?);
    }
    Ok(revision)
}

async fn finish(app: &App, tx: TenantTx, revision: Option<i64>) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant();
    tx.commit().await?;
    if let Some(revision) = revision {
        revocations::enforced(app, tenant, revision, revocations::PATIENCE).await;
    }
    Ok(())
}
