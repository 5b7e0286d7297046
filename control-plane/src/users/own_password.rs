//! Choosing and changing one's own password.
//!
//! Invariant: a new password ends every session of its user but the one that it is chosen in, which begins anew; and
//! where there was another before, everything that agents were allowed by whoever knew that one.

use std::net::IpAddr;

use serde_json::json;
use zeroize::Zeroizing;

use super::{
    SignInError, Subject, User,
    password::{self, Weakness},
    record,
    session::{Begun, How, Session, begin, end_sessions},
    sql, take_attempt,
};
use crate::{
    app::App,
    db::TenantTx,
    revocations::{self, Revoked},
};

/// Why a password was not set.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// The new one is too weak.
    #[error(transparent)]
    Weak(#[from] Weakness),
    /// The tenant has switched passwords off.
    #[error("signing in with a password is switched off in this tenant")]
    Off,
    /// The old one had to be given, and is wrong or could not be checked.
    #[error(transparent)]
    Old(#[from] SignInError),
}

/// Sets the password of who is signed in, ends all their sessions and begins a new one. The old password is asked
/// for when there is one and the session was not begun by a link.
///
/// # Errors
/// [`PasswordError`].
pub async fn set_password(
    app: &App,
    session: &Session,
    old: Zeroizing<String>,
    new: Zeroizing<String>,
    peer: IpAddr,
) -> Result<Begun, PasswordError> {
    let user = &session.user;
    let mut tx = app.db.tenant(user.tenant_id).await.map_err(SignInError::from)?;
    if !sql::local_sign_in(&mut tx).await.map_err(SignInError::from)? {
        return Err(PasswordError::Off);
    }
    // Hashing takes a while, in which no connection is held.
    drop(tx);
    password::check_strength(&new, &user.email)?;
    if asks_old_password(session) {
        check_password(app, user, old, peer).await?;
    }
    let phc = app.sign_ins.hashing.hash(new).await.map_err(SignInError::from)?;
    let mut tx = app.db.tenant(user.tenant_id).await.map_err(SignInError::from)?;
    replace_password(&mut tx, user, &phc).await.map_err(SignInError::from)?;
    Ok(begin(tx, user.id, How::Password).await?)
}

/// Whether [`set_password`] wants the old password too.
#[must_use]
pub const fn asks_old_password(session: &Session) -> bool {
    session.user.has_password && !session.by_link
}

async fn check_password(app: &App, user: &User, given: Zeroizing<String>, peer: IpAddr) -> Result<(), SignInError> {
    let subject = Subject::account(&user.tenant, &user.email, peer);
    take_attempt(app, subject)?;
    let stored = sql::by_id(&mut app.db.tenant(user.tenant_id).await?, user.id).await?;
    if !app.sign_ins.hashing.verify(given, stored.and_then(|user| user.password_phc)).await? {
        return Err(SignInError::Wrong);
    }
    app.sign_ins.attempts.forgive(&subject);
    Ok(())
}

async fn replace_password(tx: &mut TenantTx, user: &User, phc: &str) -> Result<(), sqlx::Error> {
    if user.has_password {
        revocations::revoke(tx, Revoked::User(user.id), "the user's password was changed").await?;
    }
    sql::set_password(tx, user.id, phc).await?;
    end_sessions(tx, user.id).await?;
    record(tx, &user.actor(), "user.password.set", user.id, &user.email, json!({})).await
}
