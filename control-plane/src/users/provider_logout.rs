//! Who has signed out at their identity provider is signed out here (OpenID Connect Back-Channel Logout 1.0 section
//! 2.7), and what agents were allowed to do for them ends with it.
//!
//! A logout token that names a session of the provider ends what began in it; one that names a user alone, or a session
//! that nobody here knows, ends everything of the user.
//!
//! Invariant: a logout token counts once, and it is used up, sessions end and grant families are revoked in one
//! transaction: when Postgres is away nothing has happened, and the provider may send it again.

use serde_json::json;
use tollgate_proto::UserId;

use super::{record, session::end_sessions, sql as users};
use crate::{
    app::App,
    db::TenantTx,
    error::ApiError,
    identity_providers::{
        self, Provider, ProviderError,
        logout_token::{self, Logout, LogoutFault, Whose},
    },
    revocations::{self, Revoked},
    secret::Digest,
};

pub mod api;
mod sql;

const REASON: &str = "the user signed out at the identity provider";

/// Why nobody was signed out.
#[derive(Debug, thiserror::Error)]
pub enum LogoutError {
    /// There is no such tenant, or it has no such provider.
    #[error("there is no such identity provider")]
    Unknown,
    /// The token breaks this rule.
    #[error("the logout token is not to be believed: {0}")]
    Untrusted(logout_token::Refusal),
    /// The token was used before.
    #[error("the logout token was used before (jti)")]
    Replayed,
    /// The keys of the provider cannot be read.
    #[error("whether the logout token is to be believed cannot be found out now")]
    Unusable(#[source] ProviderError),
    /// A defect of ours, or Postgres is away.
    #[error(transparent)]
    Ours(#[from] ApiError),
}

/// What has ended, and of whom.
struct Ended {
    user: UserId,
    sessions: usize,
    families: Option<usize>,
    /// The number of the last revocation; none when there was nothing to revoke.
    revision: Option<i64>,
}

/// Ends what a logout token of the provider of this name speaks of, and waits for the data planes as a revocation does.
/// Ending what has ended already is no error (section 2.7).
///
/// # Errors
/// [`LogoutError`].
pub async fn sign_out(app: &App, tenant: &str, provider: &str, token: &str) -> Result<(), LogoutError> {
    let provider = identity_providers::find(app, tenant, provider).await?.ok_or(LogoutError::Unknown)?;
    let logout = logout_token::read(app, &provider, token).await?;
    let mut tx = app.db.tenant(provider.tenant).await?;
    let name = Digest::of(&format!("{} {}", provider.id, logout.jti));
    if !sql::use_token(&mut tx, &name, logout.expires_at).await? {
        return Err(LogoutError::Replayed);
    }
    let ended = end(&mut tx, &provider, &logout).await?;
    let mut revision = None;
    for ended in ended {
        note(&mut tx, &provider, &ended).await?;
        revision = revision.max(ended.revision);
    }
    match revision {
        Some(revision) => revocations::commit(app, tx, revision).await.map(drop)?,
        None => tx.commit().await?,
    }
    Ok(())
}

/// Forgets what nobody can ask about any more: used tokens that have expired, and sessions of providers in which nothing
/// was allowed that could still be good.
///
/// # Errors
/// When Postgres is away.
pub async fn purge(app: &App, tenant: tollgate_proto::TenantId) -> Result<u64, sqlx::Error> {
    let mut tx = app.db.tenant(tenant).await?;
    let purged = sql::purge_tokens(&mut tx).await? + sql::purge_provider_sessions(&mut tx).await?;
    tx.commit().await?;
    Ok(purged)
}

async fn end(tx: &mut TenantTx, provider: &Provider, logout: &Logout) -> Result<Vec<Ended>, sqlx::Error> {
    let sub = match &logout.whose {
        Whose::User(sub) => Some(sub),
        Whose::Session { sid, sub } => {
            // Before any other row, as every revocation does.
            sql::lock_tenant(tx).await?;
            let known = sql::sessions(tx, provider.id, sid, sub.as_deref()).await?;
            if !known.is_empty() {
                return end_provider_session(tx, known).await;
            }
            sub.as_ref()
        }
    };
    let Some(sub) = sub else { return Ok(Vec::new()) };
    let Some(user) = users::linked(tx, provider.id, sub).await? else { return Ok(Vec::new()) };
    let user = UserId::from(user.id);
    let revision = revocations::revoke(tx, Revoked::User(user), REASON).await?;
    let sessions = end_sessions(tx, user).await?;
    Ok(vec![Ended { user, sessions, families: None, revision: Some(revision) }])
}

/// Ends the sign-in sessions that belong to one session of the provider, and what was allowed in them.
async fn end_provider_session(tx: &mut TenantTx, known: Vec<sql::Known>) -> Result<Vec<Ended>, sqlx::Error> {
    let mut all: Vec<Ended> = Vec::new();
    for known in known {
        let digest = known.session_digest;
        // First the session: what is just being allowed in it holds it, and is found afterwards.
        let sessions = sql::delete_session(tx, &digest).await?;
        let families = sql::families_of(tx, &digest).await?;
        let mut revision = None;
        for family in &families {
            revision = Some(revocations::revoke(tx, Revoked::GrantFamily(*family), REASON).await?);
        }
        let user = UserId::from(known.user_id);
        all.push(Ended { user, sessions, families: Some(families.len()), revision });
    }
    all.retain(|ended| ended.sessions > 0 || ended.revision.is_some());
    Ok(all)
}

async fn note(tx: &mut TenantTx, provider: &Provider, ended: &Ended) -> Result<(), sqlx::Error> {
    let email = users::by_id(tx, ended.user).await?.map(|user| user.email).unwrap_or_default();
    let detail = json!({
        "by": "identity-provider",
        "identity_provider": provider.name,
        "sessions": ended.sessions,
        // Null: all of the user's.
        "authorizations": ended.families,
        "revocation": ended.revision,
    });
    record(tx, &provider.actor(), "user.sign-out", ended.user, &email, detail).await
}

impl From<LogoutFault> for LogoutError {
    fn from(fault: LogoutFault) -> Self {
        match fault {
            LogoutFault::Refused(refusal) => Self::Untrusted(refusal),
            LogoutFault::Provider(ProviderError::Ours(error)) => Self::Ours(error),
            LogoutFault::Provider(error) => Self::Unusable(error),
        }
    }
}

impl From<sqlx::Error> for LogoutError {
    fn from(error: sqlx::Error) -> Self {
        Self::Ours(error.into())
    }
}
