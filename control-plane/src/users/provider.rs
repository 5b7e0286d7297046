//! Signing in through an identity provider: who was proven becomes a user, or stays one.
//!
//! Invariant: a user is found by provider and subject alone. An e-mail address links nobody: who has the address of
//! another user is refused, whatever the provider says.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use serde_json::json;
use tollgate_proto::{Name, TeamId, UserId};

use super::{
    SignInError, Subject, UserState, directory, is_address, record,
    session::{Begun, How, Through, begin, end_sessions},
    sql,
};
use crate::{
    app::App,
    audit,
    caller::Role,
    db::TenantTx,
    error::{ApiError, Faults},
    identity_providers::{
        self, Callback, Departure, IdentityProviderSpec, Mapped, Proof, Provider, ProviderError, Wish, attempt::Attempt,
    },
    policy,
    resource::Kind as _,
    revocations::{self, Revoked},
    teams,
};

/// Why somebody who came through a provider was not signed in.
#[derive(Debug, thiserror::Error)]
pub enum ProviderSignInError {
    /// The tenant has no such provider, or has none any more.
    #[error("there is no such identity provider")]
    Unknown,
    /// Too many sign-ins from this peer.
    #[error("too many attempts")]
    Limited {
        /// How long to wait.
        retry_after: Duration,
    },
    /// The provider proved nothing.
    #[error(transparent)]
    Provider(ProviderError),
    /// They were proven, and may not come in.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A defect of ours, or Postgres is away.
    #[error(transparent)]
    Ours(ApiError),
}

/// Why somebody who was proven may not come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// They are in no group that gives a role.
    #[error("none of the user's groups gives a role here")]
    NoRole,
    /// They come for the first time, and the provider makes no users.
    #[error("the identity provider makes no users")]
    NotInvited,
    /// The provider does not say which address is theirs, or that nobody verified it.
    #[error("the identity provider names no verified e-mail address")]
    NoAddress,
    /// Somebody else here has their address.
    #[error("the e-mail address belongs to another user")]
    AddressTaken,
    /// An administrator disabled them.
    #[error("the user is disabled")]
    Disabled,
}

/// What came out of [`admit`]: a refusal is to be remembered as well.
type Admission = Result<UserId, Refusal>;

/// Begins a sign-in through the provider of this name.
///
/// # Errors
/// [`ProviderSignInError`].
pub async fn leave_for(
    app: &App,
    tenant: &str,
    provider: &str,
    wish: Wish<'_>,
    peer: IpAddr,
) -> Result<Departure, ProviderSignInError> {
    take_attempt(app, peer)?;
    let provider = identity_providers::find(app, tenant, provider).await?.ok_or(ProviderSignInError::Unknown)?;
    let departure = identity_providers::begin(app, &provider, wish).await;
    if let Err(error) = &departure {
        tracing::warn!(tenant, provider = provider.name, %error, "a sign-in could not begin");
    }
    Ok(departure?)
}

/// Finishes a sign-in: checks what the provider answered, makes or updates the user, and begins a session.
///
/// # Errors
/// [`ProviderSignInError`]. What the provider or we refuse is audited.
pub async fn return_from(
    app: &App,
    attempt: &Attempt,
    callback: Callback,
    peer: IpAddr,
) -> Result<Begun, ProviderSignInError> {
    take_attempt(app, peer)?;
    let found = identity_providers::load(app, attempt.tenant(), attempt.provider()).await?;
    let provider = found.ok_or(ProviderSignInError::Unknown)?;
    let proof = match identity_providers::finish(app, &provider, attempt, callback).await {
        Ok(proof) => proof,
        Err(error) => return Err(note_failure(app, &provider, error).await?),
    };
    let mut tx = app.db.tenant(provider.tenant).await?;
    match admit(&mut tx, &provider, &proof).await? {
        Ok(user) => {
            let through = Through {
                provider: provider.id,
                name: &provider.name,
                sid: proof.session.as_deref(),
                proven_at: proof.proven_at,
            };
            Ok(begin(tx, user, How::Provider(through)).await?)
        }
        Err(refusal) => {
            refuse(&mut tx, &provider, Some(&proof.subject), &refusal.to_string()).await?;
            tx.commit().await?;
            Err(refusal.into())
        }
    }
}

/// Sign-ins through providers are counted per peer with those by password.
fn take_attempt(app: &App, peer: IpAddr) -> Result<(), ProviderSignInError> {
    let limited = |retry_after| ProviderSignInError::Limited { retry_after };
    app.sign_ins.attempts.take(Subject::peer(peer), Instant::now()).map_err(limited)
}

/// Makes or updates the user that was proven.
async fn admit(tx: &mut TenantTx, provider: &Provider, proof: &Proof) -> Result<Admission, sqlx::Error> {
    if let Some(user) = sql::linked(tx, provider.id, &proof.subject).await? {
        return update(tx, provider, proof, user).await;
    }
    // Of two first sign-ins at the same time the second waits here, and then finds what the first made.
    policy::bump(tx).await?;
    match sql::linked(tx, provider.id, &proof.subject).await? {
        Some(user) => update(tx, provider, proof, user).await,
        None => create(tx, provider, proof).await,
    }
}

async fn create(tx: &mut TenantTx, provider: &Provider, proof: &Proof) -> Result<Admission, sqlx::Error> {
    if !provider.spec.creates_users() {
        return Ok(Err(Refusal::NotInvited));
    }
    let Some(role) = provider.spec.first_role(&proof.groups) else { return Ok(Err(Refusal::NoRole)) };
    let Some(email) = proof.email.as_deref().filter(|email| is_address(email)) else {
        return Ok(Err(Refusal::NoAddress));
    };
    let team = match provider.spec.team(&proof.groups) {
        Mapped::To(team) => team_id(tx, team).await?,
        Mapped::Unmanaged | Mapped::Nothing => None,
    };
    let new = sql::NewUser { email, role, team, display_name: &proof.display_name, state: UserState::Active };
    let Some(user) = directory::insert(tx, &provider.actor(), new).await? else {
        return Ok(Err(Refusal::AddressTaken));
    };
    sql::link(tx, provider.id, &proof.subject, user).await?;
    Ok(Ok(user))
}

/// Brings role and team up to what the groups say now.
async fn update(
    tx: &mut TenantTx,
    provider: &Provider,
    proof: &Proof,
    user: sql::LinkedRow,
) -> Result<Admission, sqlx::Error> {
    let id = UserId::from(user.id);
    if !user.active {
        return Ok(Err(Refusal::Disabled));
    }
    // A role that this version does not know is the provider's to replace.
    let current = user.role.parse().unwrap_or(Role::Viewer);
    let mut role = match provider.spec.next_role(&proof.groups, current) {
        Mapped::Unmanaged => current,
        Mapped::To(role) => role,
        Mapped::Nothing => {
            dismiss(tx, provider, &user, current).await?;
            return Ok(Err(Refusal::NoRole));
        }
    };
    let before = user.team_id.map(TeamId::from);
    let team = match provider.spec.team(&proof.groups) {
        Mapped::Unmanaged => before,
        Mapped::To(team) => team_id(tx, team).await?,
        Mapped::Nothing => None,
    };
    if role == current && team == before {
        sql::see(tx, provider.id, &proof.subject).await?;
        return Ok(Ok(id));
    }
    // Takes the tenant's row, under which nobody else takes away an owner; before any other row, as all do.
    policy::bump(tx).await?;
    sql::see(tx, provider.id, &proof.subject).await?;
    if current == Role::Owner && role != Role::Owner && !sql::has_other_owner(tx, id).await? {
        role = Role::Owner;
    }
    sql::set_authority(tx, id, role, team).await?;
    let detail = json!({
        "before": { "role": current, "team": before.map(|team| team.to_string()) },
        "after": { "role": role, "team": team.map(|team| team.to_string()) },
    });
    record(tx, &provider.actor(), "user.update", id, &user.email, detail).await?;
    Ok(Ok(id))
}

/// Takes from somebody whose groups give no role any more what they had: role, sessions, and what agents may do for
/// them. The last owner stays one, so that somebody is left.
async fn dismiss(
    tx: &mut TenantTx,
    provider: &Provider,
    user: &sql::LinkedRow,
    current: Role,
) -> Result<(), sqlx::Error> {
    let id = UserId::from(user.id);
    if current != Role::None {
        // Before any other row, as in `update`.
        policy::bump(tx).await?;
    }
    end_sessions(tx, id).await?;
    let is_last_owner = current == Role::Owner && !sql::has_other_owner(tx, id).await?;
    if current == Role::None || is_last_owner {
        return Ok(());
    }
    revocations::revoke(tx, Revoked::User(id), "the user's groups give no role any more").await?;
    sql::set_authority(tx, id, Role::None, user.team_id.map(TeamId::from)).await?;
    let detail = json!({ "before": { "role": current }, "after": { "role": Role::None } });
    record(tx, &provider.actor(), "user.update", id, &user.email, detail).await
}

/// The id of a team of a mapping; none when it is gone since.
async fn team_id(tx: &mut TenantTx, name: &Name) -> Result<Option<TeamId>, sqlx::Error> {
    teams::look_up(tx, name, "", &mut Faults::default()).await
}

async fn note_failure(
    app: &App,
    provider: &Provider,
    error: ProviderError,
) -> Result<ProviderSignInError, ProviderSignInError> {
    if let ProviderError::Ours(error) = error {
        return Ok(ProviderSignInError::Ours(error));
    }
    tracing::warn!(tenant = provider.tenant_name, provider = provider.name, %error, "a sign-in failed");
    let mut tx = app.db.tenant(provider.tenant).await?;
    refuse(&mut tx, provider, None, &error.to_string()).await?;
    tx.commit().await?;
    Ok(ProviderSignInError::Provider(error))
}

async fn refuse(
    tx: &mut TenantTx,
    provider: &Provider,
    subject: Option<&str>,
    reason: &str,
) -> Result<(), sqlx::Error> {
    let event = audit::Event {
        actor: &provider.actor(),
        action: "user.sign-in.refuse",
        object_kind: IdentityProviderSpec::NOUN,
        object_id: &provider.id.to_string(),
        object_name: &provider.name,
        detail: json!({ "reason": reason, "subject": subject }),
    };
    audit::record(tx, event).await
}

impl From<ProviderError> for ProviderSignInError {
    fn from(error: ProviderError) -> Self {
        match error {
            ProviderError::Ours(error) => Self::Ours(error),
            error => Self::Provider(error),
        }
    }
}

impl From<ApiError> for ProviderSignInError {
    fn from(error: ApiError) -> Self {
        Self::Ours(error)
    }
}

impl From<sqlx::Error> for ProviderSignInError {
    fn from(error: sqlx::Error) -> Self {
        Self::Ours(error.into())
    }
}

impl From<SignInError> for ProviderSignInError {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::Database(error) => error.into(),
            // Disabled between two statements.
            _ => Self::Refused(Refusal::Disabled),
        }
    }
}
