//! Revocations: what must be refused from now on though it looks good.
//!
//! A revocation is a row that the policy stream carries to every data plane, ahead of everything else; a mass
//! revocation ("every token of this agent issued before now") is one row too. It is kept until everything it speaks of
//! has expired by itself. Whether a token is dead by one is for `oauth/introspect/liveness.rs` to say.
//!
//! Invariant: a revocation has its number, one more than the one before it, by the time its transaction commits; the
//! lock on the tenant's row makes the order of these numbers the order of the commits, so that a data plane that has
//! applied one has applied all before it.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use tollgate_proto::{AgentId, AuthorizationId, TenantId, UserId};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{app::App, db::TenantTx, policy};

mod sql;
#[cfg(test)]
mod tests;

/// How long whoever revokes waits for the data planes, unless there is a reason for another time.
pub const PATIENCE: Duration = Duration::from_millis(500);

/// The longest life of an access token, whatever the tenant has set, and the leeway of its expiry: after that a
/// revocation of many tokens speaks of none any more.
pub const LONGEST_LIFE: TimeDelta = TimeDelta::seconds(86_400 + LEEWAY.num_seconds());
/// How far clocks may differ.
const LEEWAY: TimeDelta = TimeDelta::seconds(60);

/// What is revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revoked {
    /// One access token.
    Token {
        /// Its `jti`.
        jti: Uuid,
        /// Its `exp`.
        expires_at: DateTime<Utc>,
    },
    /// All tokens of one approval: codes and refresh tokens with it.
    GrantFamily(AuthorizationId),
    /// All tokens of an agent, and every approval of it.
    Agent(AgentId),
    /// All tokens that act for a user, and every approval by them.
    User(UserId),
    /// All tokens of the tenant of the transaction, and every approval.
    Tenant,
    /// All tokens signed with a key.
    Key {
        /// The key.
        kid: String,
    },
}

/// How far a revocation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enforced {
    /// Data planes that refuse what was revoked.
    pub applied: usize,
    /// Data planes whose policy stream is open at this control plane.
    pub connected: usize,
}

/// What whoever revokes is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = RevocationOutcome)]
pub struct Outcome {
    /// The revocation's number in its tenant.
    pub revision: i64,
    /// Data planes that refuse what was revoked.
    pub applied: usize,
    /// Data planes that are connected to the control plane that answers. Others learn of it by the same stream.
    pub connected: usize,
}

/// Revokes in the transaction; answers the number of the revocation in its tenant. What is revoked already, and can
/// never come to life again, keeps the number that it has.
///
/// Locks the tenant's row first, as every change of a tenant does. `reason` is for people, and never a secret.
///
/// # Errors
/// When Postgres is away.
pub async fn revoke(tx: &mut TenantTx, what: Revoked, reason: &str) -> Result<i64, sqlx::Error> {
    let subject = what.subject(tx.tenant());
    if what.is_final()
        && let Some(revision) = sql::find(tx, what.kind(), &subject).await?
    {
        return Ok(revision);
    }
    let now = sql::number(tx).await?;
    match &what {
        Revoked::GrantFamily(family) => sql::end_family(tx, *family, reason).await?,
        Revoked::Agent(agent) => {
            sql::void_tokens_of_agent(tx, *agent, now.issued_before).await?;
            sql::end_families_of_agent(tx, *agent, reason).await?;
        }
        Revoked::User(user) => {
            sql::void_tokens_of_user(tx, *user, now.issued_before).await?;
            sql::end_families_of_user(tx, *user, reason).await?;
        }
        Revoked::Tenant => {
            sql::void_tokens_of_tenant(tx, now.issued_before).await?;
            sql::end_all_families(tx, reason).await?;
        }
        Revoked::Token { .. } | Revoked::Key { .. } => {}
    }
    let row = sql::NewRevocation {
        revision: now.revision,
        kind: what.kind(),
        subject: &subject,
        agent: match what {
            Revoked::Agent(agent) => Some(agent),
            _ => None,
        },
        issued_before: (!what.is_final()).then_some(now.issued_before),
        reason,
        expires_at: match &what {
            Revoked::Token { expires_at, .. } => *expires_at + LEEWAY,
            _ => now.at + LONGEST_LIFE,
        },
    };
    sql::insert(tx, &row).await?;
    policy::wake(tx).await?;
    Ok(now.revision)
}

/// Waits until every data plane that is connected to this control plane has applied the revocation, at most for
/// `within`; answers how far it has come by then. Call it after the commit.
pub async fn enforced(app: &App, tenant: TenantId, revision: i64, within: Duration) -> Enforced {
    app.policy_changes.connected().enforced(tenant, revision.unsigned_abs(), within).await
}

/// Commits the transaction that revoked, and waits [`PATIENCE`] for the data planes.
///
/// # Errors
/// When Postgres is away; then nothing was revoked.
pub async fn commit(app: &App, tx: TenantTx, revision: i64) -> Result<Outcome, sqlx::Error> {
    let tenant = tx.tenant();
    tx.commit().await?;
    let Enforced { applied, connected } = enforced(app, tenant, revision, PATIENCE).await;
    Ok(Outcome { revision, applied, connected })
}

/// Deletes the tenant's revocations that speak of nothing any more.
///
/// # Errors
/// When Postgres is away.
pub async fn purge(app: &App, tenant: TenantId) -> Result<u64, sqlx::Error> {
    let mut tx = app.db.tenant(tenant).await?;
    let purged = sql::purge(&mut tx).await?;
    tx.commit().await?;
    Ok(purged)
}

impl Revoked {
    /// As the database writes it.
    const fn kind(&self) -> &'static str {
        match self {
            Self::Token { .. } => "token",
            Self::GrantFamily(_) => "grant_family",
            Self::Agent(_) => "agent",
            Self::User(_) => "user",
            Self::Tenant => "tenant",
            Self::Key { .. } => "key",
        }
    }

    fn subject(&self, tenant: TenantId) -> String {
        match self {
            Self::Token { jti, .. } => jti.to_string(),
            Self::GrantFamily(family) => family.to_string(),
            Self::Agent(agent) => agent.to_string(),
            Self::User(user) => user.to_string(),
            Self::Tenant => tenant.to_string(),
            Self::Key { kid } => kid.clone(),
        }
    }

    /// Whether nothing that it names is ever valid again. The others speak of what was issued before a moment.
    const fn is_final(&self) -> bool {
        matches!(self, Self::Token { .. } | Self::GrantFamily(_) | Self::Key { .. })
    }
}
