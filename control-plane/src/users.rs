//! People: who may use the console, and how they sign in.
//!
//! Invariant: the text of a link or of a session is known to its holder only; the database keeps digests, and a
//! link is spent by the one statement that finds it unspent.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tollgate_proto::{TenantId, UserId};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::{
    app::App,
    audit,
    caller::{Caller, Role},
    db::TenantTx,
    error::ApiError,
    identity_providers::{self, Choice},
    secret::{self, Digest, Purpose},
};

pub mod api;
mod attempts;
pub mod directory;
mod own_password;
mod password;
pub mod provider;
pub mod provider_logout;
mod session;
mod sql;
#[cfg(test)]
mod tests;

pub use own_password::{PasswordError, asks_old_password, set_password};
pub use password::{Busy, Weakness};
pub use session::{Begun, Session, purge, resume, sign_out};

use attempts::{Attempts, Subject};
use password::Hashing;
use session::{How, begin, end_sessions};

const EMAIL_LENGTH_MAX: usize = 254;

/// What sign-ins share in one process: the queue of hashes and the count of failures.
#[derive(Debug)]
pub struct SignIns {
    hashing: Hashing,
    attempts: Attempts,
}

impl SignIns {
    /// Nobody has tried yet.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "made once, by name")]
    pub fn new() -> Self {
        Self { hashing: Hashing::new(), attempts: Attempts::default() }
    }

    /// Forgets how often a peer has signed in.
    #[cfg(test)]
    pub(crate) fn forgive_peer(&self, peer: IpAddr) {
        self.attempts.forgive(&Subject::peer(peer));
    }
}

/// Whether a user may sign in, and agents act for them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UserState {
    /// They may.
    #[default]
    Active,
    /// They may not.
    Disabled,
}

impl UserState {
    /// As the database writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
        }
    }
}

/// A human in a tenant.
#[derive(Debug, Clone)]
pub struct User {
    /// The id.
    pub id: UserId,
    /// The tenant.
    pub tenant_id: TenantId,
    /// The tenant's name.
    pub tenant: String,
    /// The address to sign in with, as first written.
    pub email: String,
    /// What the user may do.
    pub role: Role,
    /// Whether a password was chosen.
    pub has_password: bool,
}

impl User {
    /// As audit events name the user.
    #[must_use]
    pub fn actor(&self) -> String {
        format!("user:{}", self.email)
    }

    /// The user as every operation sees them.
    #[must_use]
    pub fn caller(&self) -> Caller {
        Caller {
            actor: self.actor(),
            role: self.role,
            tenant: self.tenant_id,
            tenant_name: self.tenant.clone(),
            platform: false,
        }
    }
}

/// A one-time sign-in link.
pub struct SignInLink {
    /// The address to open; whoever opens it first is signed in.
    pub url: String,
    /// When it stops working.
    pub expires_at: DateTime<Utc>,
}

/// How people of a tenant may sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ways {
    /// With a password.
    pub password: bool,
    /// Through these identity providers.
    pub providers: Vec<Choice>,
}

/// Why somebody was not signed in.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// Unknown tenant or user, or wrong password; which of them is nobody's business.
    #[error("the e-mail address or the password is wrong")]
    Wrong,
    /// The link is spent, expired or was never made.
    #[error("the link is spent or expired")]
    Spent,
    /// The tenant has switched passwords off.
    #[error("signing in with a password is switched off in this tenant")]
    PasswordsOff,
    /// Too many failures for this address from this peer, or too many sign-ins from this peer.
    #[error("too many attempts")]
    Limited {
        /// How long to wait.
        retry_after: Duration,
    },
    /// Too many sign-ins at once.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// Postgres is away.
    #[error("the database is unavailable")]
    Database(#[from] sqlx::Error),
}

/// Makes a user, without a password, when the tenant has none with this address; answers whether it did. Who is not
/// named by the system comes by [`directory::create`], which has the rules.
///
/// # Errors
/// When Postgres is away.
pub async fn ensure(tx: &mut TenantTx, actor: &str, email: &str, role: Role) -> Result<bool, sqlx::Error> {
    let new = sql::NewUser { email, role, team: None, display_name: "", state: UserState::Active };
    Ok(directory::insert(tx, actor, new).await?.is_some())
}

/// Makes a link that signs the user with this address in once, within `ttl`.
///
/// # Errors
/// [`ApiError::Forbidden`] to all but admins and owners, and to admins when the user is an owner;
/// [`ApiError::NotFound`]; [`ApiError::UserDisabled`]; or when Postgres is away.
pub async fn create_sign_in_link(
    app: &App,
    caller: &Caller,
    email: &str,
    ttl: Duration,
) -> Result<SignInLink, ApiError> {
    caller.require(Role::Admin)?;
    let mut tx = app.db.tenant(caller.tenant).await?;
    let unknown = || ApiError::NotFound { noun: "user", key: email.to_owned() };
    let user = sql::by_email(&mut tx, email).await?.ok_or_else(unknown)?;
    // Whoever opens the link acts as the user: nobody may give out more than they have.
    caller.require(user.role.parse().map_err(ApiError::internal)?)?;
    if !user.active {
        return Err(ApiError::UserDisabled);
    }
    let link = secret::generate(Purpose::SignInLink);
    let expires_at = sql::insert_link(&mut tx, &link.digest, user.id.into(), ttl.as_secs_f64()).await?;
    let detail = json!({ "expires_at": expires_at });
    record(&mut tx, &caller.actor, "user.sign-in-link.create", user.id.into(), &user.email, detail).await?;
    tx.commit().await?;
    Ok(SignInLink { url: format!("{}/sign-in?token={}", app.urls.control, *link.text), expires_at })
}

/// How people of the tenant of this name may sign in. Whether there is such a tenant does not show.
///
/// # Errors
/// When Postgres is away.
pub async fn ways(app: &App, tenant: &str) -> Result<Ways, sqlx::Error> {
    let Some(tenant) = sql::tenant_by_name(&mut *app.db.platform().await?, tenant).await? else {
        return Ok(Ways { password: true, providers: Vec::new() });
    };
    let mut tx = app.db.tenant(tenant.id.into()).await?;
    Ok(Ways { password: tenant.local_sign_in, providers: identity_providers::choices(&mut tx).await? })
}

/// Spends a one-time link and begins a session.
///
/// # Errors
/// [`SignInError::Spent`] for every link but a live one.
pub async fn redeem_link(app: &App, text: &str) -> Result<Begun, SignInError> {
    if !secret::well_formed(Purpose::SignInLink, text) {
        return Err(SignInError::Spent);
    }
    let digest = Digest::of(text);
    let mut platform = app.db.platform().await?;
    let tenant = sql::tenant_of_link(&mut platform, &digest).await?.ok_or(SignInError::Spent)?;
    drop(platform);
    let mut tx = app.db.tenant(tenant).await?;
    let user = sql::consume_link(&mut tx, &digest).await?.ok_or(SignInError::Spent)?;
    begin(tx, user, How::Link).await
}

/// Checks a password and begins a session.
///
/// # Errors
/// [`SignInError::Wrong`] after the time of one hash whether or not the user exists; [`SignInError::Limited`] after
/// ten failures in a quarter of an hour.
pub async fn sign_in(
    app: &App,
    tenant: &str,
    email: &str,
    password: Zeroizing<String>,
    peer: IpAddr,
) -> Result<Begun, SignInError> {
    let subject = Subject::account(tenant, email, peer);
    take_attempt(app, Subject::peer(peer))?;
    take_attempt(app, subject)?;
    let tenant = sql::tenant_by_name(&mut *app.db.platform().await?, tenant).await?;
    if tenant.as_ref().is_some_and(|tenant| !tenant.local_sign_in) {
        return Err(SignInError::PasswordsOff);
    }
    let tenant = tenant.map(|tenant| TenantId::from(tenant.id));
    let user = match tenant {
        Some(tenant) => sql::by_email(&mut app.db.tenant(tenant).await?, email).await?,
        None => None,
    };
    let phc = user.as_ref().and_then(|user| user.password_phc.clone());
    let right = app.sign_ins.hashing.verify(password, phc).await?;
    let Some(tenant) = tenant else { return Err(SignInError::Wrong) };
    let mut tx = app.db.tenant(tenant).await?;
    match user {
        Some(user) if right && user.active => {
            app.sign_ins.attempts.forgive(&subject);
            begin(tx, user.id.into(), How::Password).await
        }
        user => {
            record_failure(&mut tx, user.as_ref(), peer).await?;
            tx.commit().await?;
            Err(SignInError::Wrong)
        }
    }
}

fn take_attempt(app: &App, subject: Subject) -> Result<(), SignInError> {
    let limited = |retry_after| SignInError::Limited { retry_after };
    app.sign_ins.attempts.take(subject, Instant::now()).map_err(limited)
}

/// What was typed as an unknown address is not kept: it may be a password.
async fn record_failure(tx: &mut TenantTx, user: Option<&sql::UserRow>, peer: IpAddr) -> Result<(), sqlx::Error> {
    let object_id = user.map(|user| UserId::from(user.id).to_string()).unwrap_or_default();
    let event = audit::Event {
        actor: "anonymous",
        action: "user.sign-in.refuse",
        object_kind: "user",
        object_id: &object_id,
        object_name: user.map(|user| user.email.as_str()).unwrap_or_default(),
        detail: json!({ "by": "password", "peer": peer.to_string() }),
    };
    audit::record(tx, event).await
}

async fn record(
    tx: &mut TenantTx,
    actor: &str,
    action: &str,
    user: UserId,
    email: &str,
    detail: serde_json::Value,
) -> Result<(), sqlx::Error> {
    let object_id = user.to_string();
    let event = audit::Event { actor, action, object_kind: "user", object_id: &object_id, object_name: email, detail };
    audit::record(tx, event).await
}

/// As much of an address as can be checked without writing to it.
fn is_address(email: &str) -> bool {
    email.len() <= EMAIL_LENGTH_MAX
        && !email.chars().any(|char| char.is_whitespace() || char.is_control())
        && email.split_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty())
}
