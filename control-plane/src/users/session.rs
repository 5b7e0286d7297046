//! Sign-in sessions: for whom a browser speaks, since when, and until when.
//!
//! Invariant: a session ends with what it rests on: with the user, with a revocation of theirs, and with the session at
//! the identity provider that it was begun through. What an agent was allowed in it is ended by who ends it.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use tollgate_proto::{IdentityProviderId, UserId};
use zeroize::Zeroizing;

use super::{SignInError, User, record, sql as users};
use crate::{
    app::App,
    caller::Role,
    db::TenantTx,
    secret::{self, Digest, Purpose},
};

pub(super) mod sql;

/// How long ago somebody may have proven who they are, to touch a secret, a key or how people sign in.
const RECENT: TimeDelta = TimeDelta::minutes(5);
/// A session of who uses the console ends after this long without a request.
const CONSOLE_IDLE: TimeDelta = TimeDelta::minutes(30);
/// The same of who has no role, and only allows agents something.
const CONSENT_IDLE: TimeDelta = TimeDelta::hours(8);

/// A live sign-in session.
#[derive(Debug, Clone)]
pub struct Session {
    /// Who is signed in.
    pub user: User,
    /// What the session is stored under.
    pub digest: Digest,
    /// Begun by a one-time link.
    pub by_link: bool,
    /// When it began.
    pub began_at: DateTime<Utc>,
    /// When the user proved who they are; none where their identity provider does not say.
    pub proven_at: Option<DateTime<Utc>>,
}

/// A session just begun: its text goes into the cookie and nowhere else.
pub struct Begun {
    /// What the cookie holds.
    pub text: Zeroizing<String>,
    /// The tenant's name.
    pub tenant: String,
}

/// What a session was begun by.
#[derive(Debug, Clone, Copy)]
pub(super) enum How<'a> {
    Password,
    Link,
    Provider(Through<'a>),
}

/// The identity provider that a session was begun through.
#[derive(Debug, Clone, Copy)]
pub(super) struct Through<'a> {
    pub(super) provider: IdentityProviderId,
    /// Its name.
    pub(super) name: &'a str,
    /// What it calls its own session (OpenID Connect Back-Channel Logout 1.0 section 2.1, `sid`).
    pub(super) sid: Option<&'a str>,
    /// When the user proved to it who they are.
    pub(super) proven_at: Option<DateTime<Utc>>,
}

impl Session {
    /// Whether the user proved within the last five minutes who they are.
    #[must_use]
    pub fn is_recent(&self, now: DateTime<Utc>) -> bool {
        self.proven_at.is_some_and(|proven_at| now - proven_at <= RECENT)
    }

    /// When the user proved who they are, as far as anybody knows: the `auth_time` of what they allow in the session.
    #[must_use]
    pub fn authenticated_at(&self) -> DateTime<Utc> {
        self.proven_at.unwrap_or(self.began_at)
    }
}

/// The live session that a cookie's text names.
///
/// # Errors
/// When Postgres is away.
pub async fn resume(app: &App, text: &str) -> Result<Option<Session>, sqlx::Error> {
    if !secret::well_formed(Purpose::Session, text) {
        return Ok(None);
    }
    let digest = Digest::of(text);
    let mut platform = app.db.platform().await?;
    let Some(session) = sql::session(&mut platform, &digest).await? else { return Ok(None) };
    drop(platform);
    let tenant_id = session.tenant_id.into();
    let mut tx = app.db.tenant(tenant_id).await?;
    let user = users::by_id(&mut tx, session.user_id.into()).await?;
    // A revocation of the user ends their sessions too.
    let lives = |user: &users::UserRow| user.active && session.began_at.timestamp() >= user.tokens_valid_from;
    let Some(user) = user.filter(lives) else { return Ok(None) };
    // A role that this version does not know is no role.
    let Ok(role) = user.role.parse() else { return Ok(None) };
    if session.idle_s > idle_of(role).as_seconds_f64() {
        return Ok(None);
    }
    sql::see(&mut tx, &digest).await?;
    tx.commit().await?;
    let user = User {
        id: user.id.into(),
        tenant_id,
        tenant: session.tenant,
        email: user.email,
        role,
        has_password: user.password_phc.is_some(),
    };
    let sql::SessionRow { by_link, began_at, proven_at, .. } = session;
    Ok(Some(Session { user, digest, by_link, began_at, proven_at }))
}

/// Ends a session.
///
/// # Errors
/// When Postgres is away.
pub async fn sign_out(app: &App, session: &Session) -> Result<(), sqlx::Error> {
    let user = &session.user;
    let mut tx = app.db.tenant(user.tenant_id).await?;
    sql::delete(&mut tx, &session.digest).await?;
    record(&mut tx, &user.actor(), "user.sign-out", user.id, &user.email, json!({})).await?;
    tx.commit().await
}

/// Ends every session of a user; answers how many there were.
pub(super) async fn end_sessions(tx: &mut TenantTx, user: UserId) -> Result<usize, sqlx::Error> {
    sql::delete_all_of(tx, user).await
}

/// Forgets the sessions and the one-time links of all tenants whose time is over.
///
/// # Errors
/// When Postgres is away.
pub async fn purge(app: &App) -> Result<(), sqlx::Error> {
    let mut tx = app.db.platform().await?;
    sql::delete_expired(&mut tx).await?;
    users::delete_expired_links(&mut tx).await?;
    tx.commit().await
}

/// Begins a session and commits.
pub(super) async fn begin(mut tx: TenantTx, user: UserId, how: How<'_>) -> Result<Begun, SignInError> {
    let user = users::by_id(&mut tx, user).await?.filter(|user| user.active).ok_or(SignInError::Spent)?;
    let tenant = users::tenant_name(&mut tx).await?;
    let session = secret::generate(Purpose::Session);
    sql::insert(&mut tx, &session.digest, user.id.into(), &how).await?;
    if let How::Provider(Through { provider, sid: Some(sid), .. }) = how {
        sql::insert_provider_session(&mut tx, provider, sid, &session.digest, user.id.into()).await?;
    }
    let actor = format!("user:{}", user.email);
    let detail = match how {
        How::Password => json!({ "by": "password" }),
        How::Link => json!({ "by": "link" }),
        How::Provider(through) => json!({ "by": "identity-provider", "identity_provider": through.name }),
    };
    record(&mut tx, &actor, "user.sign-in", user.id.into(), &user.email, detail).await?;
    tx.commit().await?;
    Ok(Begun { text: session.text, tenant })
}

/// How long a session may lie unused.
const fn idle_of(role: Role) -> TimeDelta {
    match role {
        Role::None => CONSENT_IDLE,
        Role::Owner | Role::Admin | Role::Operator | Role::Finance | Role::Viewer => CONSOLE_IDLE,
    }
}
