//! How one signing key follows another: by command, by schedule, and when one is compromised.
//!
//! A new key is published first, and signs only once every connected data plane has acknowledged the policy that
//! contains it: so that no token is refused because its key is not known yet. What the old key signed is verified until
//! it has expired. A revoked key leaves at once, with all that it signed.
//!
//! Invariant: a step is decided and taken under the lock on the tenant's row, so that many control planes that want the
//! same step take it once.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tollgate_proto::{DataPlaneId, TenantId};
use utoipa::ToSchema;

use super::{KeyError, make, make_first, record, sql};
use crate::{
    app::App,
    caller::{Caller, Role},
    data_planes,
    db::TenantTx,
    error::ApiError,
    oauth, policy,
    revocations::{self, LONGEST_LIFE, Outcome, Revoked},
};

/// The schedule publishes a key this long before it signs: third parties keep the set for some minutes.
const LEAD_S: f64 = 3_600.0;
/// How long a command waits for data planes to acknowledge a new key.
const DISTRIBUTION_WAIT: Duration = Duration::from_secs(10);
/// How long a revocation does: the compromised key signs as long as that.
const EMERGENCY_WAIT: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Where a signing key is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// Published, so that everyone knows it before it signs.
    Next,
    /// It signs.
    Active,
    /// It signs no more; what it signed is good until it expires.
    Retiring,
    /// Everything it signed is refused.
    Revoked,
}

/// A signing key, without its private half.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = SigningKey)]
pub struct KeyView {
    /// RFC 7638 thumbprint; the `kid` of tokens.
    pub kid: String,
    /// The algorithm.
    #[schema(value_type = String, example = "ES256")]
    pub alg: Value,
    /// Where it is in its life.
    pub state: KeyState,
    /// When it was made and published.
    pub created_at: DateTime<Utc>,
    /// When it began to sign.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activated_at: Option<DateTime<Utc>>,
    /// When it is removed, because everything it signed has expired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removed_at: Option<DateTime<Utc>>,
}

/// A tenant's signing keys, the newest first.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SigningKeys {
    /// At most one is `next`, and at most one `active`.
    pub items: Vec<KeyView>,
}

/// All keys that are not removed yet.
///
/// # Errors
/// [`ApiError::Forbidden`]; or when Postgres is away.
pub async fn list(app: &App, caller: &Caller) -> Result<SigningKeys, ApiError> {
    caller.require(Role::Viewer)?;
    let mut tx = app.db.tenant(caller.tenant).await?;
    Ok(SigningKeys { items: sql::all(&mut tx).await?.into_iter().map(view).collect::<Result<_, _>>()? })
}

/// Lets a new key sign, as soon as every connected data plane knows it; `now` waits for none of them.
///
/// # Errors
/// [`ApiError::KeyNotDistributed`] when they do not in time: the key stays the next one. [`ApiError::Forbidden`]; or
/// when Postgres is away.
pub async fn rotate(app: &App, caller: &Caller, now: bool) -> Result<SigningKeys, ApiError> {
    caller.require(Role::Admin)?;
    let kid = publish_next(app, caller.tenant, &caller.actor).await?;
    let deadline = Instant::now() + if now { Duration::ZERO } else { DISTRIBUTION_WAIT };
    loop {
        let mut tx = locked(app, caller.tenant).await?;
        // Another control plane may have taken the step meanwhile: it is taken once.
        let Some(next) = sql::next_key(&mut tx).await?.filter(|next| next.kid == kid) else { break };
        let behind = if now { Vec::new() } else { lacking(&mut tx, next.published_revision).await? };
        if behind.is_empty() {
            switch(&mut tx, &kid, &caller.actor).await?;
            tx.commit().await?;
            break;
        }
        drop(tx);
        if Instant::now() >= deadline {
            return Err(ApiError::KeyNotDistributed { behind });
        }
        sleep(LOOK_EVERY).await;
    }
    list(app, caller).await
}

/// Revokes a key and all that it signed. Where it is the one that signs, a new one takes its place; data planes that do
/// not know that one within two seconds learn of it right after.
///
/// # Errors
/// [`ApiError::NotFound`], [`ApiError::Forbidden`]; or when Postgres is away.
pub async fn revoke(app: &App, caller: &Caller, kid: &str) -> Result<Outcome, ApiError> {
    caller.require(Role::Owner)?;
    let mut tx = app.db.tenant(caller.tenant).await?;
    if sql::state(&mut tx, kid).await?.as_deref() == Some("active") {
        tx.commit().await?;
        publish_next(app, caller.tenant, &caller.actor).await?;
        await_distribution(app, caller.tenant, EMERGENCY_WAIT).await?;
    }
    let mut tx = locked(app, caller.tenant).await?;
    let Some(state) = sql::state(&mut tx, kid).await? else {
        return Err(ApiError::NotFound { noun: "signing key", key: kid.to_owned() });
    };
    if state != "revoked" {
        policy::bump(&mut tx).await?;
        sql::revoke(&mut tx, kid, kept_s()).await?;
        record(&mut tx, &caller.actor, "signing_key.revoke", kid, json!({ "was": state })).await?;
        if state == "active" {
            match sql::next_key(&mut tx).await? {
                Some(next) => switch(&mut tx, &next.kid, &caller.actor).await?,
                // Revoked by somebody else since: one that nobody knows yet is better than none.
                None => make_first(&mut tx, &app.master_key).await.map_err(ApiError::from)?,
            }
        }
    }
    let what = Revoked::Key { kid: kid.to_owned() };
    let revision = revocations::revoke(&mut tx, what, "the key was revoked").await?;
    Ok(revocations::commit(app, tx, revision).await?)
}

/// Takes the steps that the tenant's schedule asks for: publishes the next key, lets it sign, removes what has retired.
///
/// # Errors
/// When Postgres is away, or a key cannot be made.
pub async fn tend(app: &App, tenant: TenantId) -> Result<(), KeyError> {
    let mut tx = app.db.tenant(tenant).await?;
    let due = sql::due(&mut tx, LEAD_S).await?;
    tx.commit().await?;
    if due.publish {
        publish_next(app, tenant, "system").await?;
    }
    if due.activate {
        activate_on_schedule(app, tenant).await?;
    }
    if due.remove {
        remove_retired(app, tenant).await?;
    }
    Ok(())
}

/// Makes the next key unless there is one, with a first one where there is none; answers its `kid`.
async fn publish_next(app: &App, tenant: TenantId, actor: &str) -> Result<String, KeyError> {
    let mut tx = locked(app, tenant).await?;
    make_first(&mut tx, &app.master_key).await?;
    let kid = match sql::next_key(&mut tx).await? {
        Some(next) => next.kid,
        None => make(&mut tx, &app.master_key, sql::State::Next, actor).await?,
    };
    tx.commit().await?;
    Ok(kid)
}

async fn activate_on_schedule(app: &App, tenant: TenantId) -> Result<(), KeyError> {
    let mut tx = locked(app, tenant).await?;
    // Asked again under the lock: whoever held it may have taken the step.
    if !sql::due(&mut tx, LEAD_S).await?.activate {
        return Ok(());
    }
    let Some(next) = sql::next_key(&mut tx).await? else { return Ok(()) };
    let behind = lacking(&mut tx, next.published_revision).await?;
    if !behind.is_empty() {
        tracing::warn!(%tenant, kid = next.kid, ?behind, "a signing key is due, but data planes do not know it yet");
        return Ok(());
    }
    switch(&mut tx, &next.kid, "system").await?;
    Ok(tx.commit().await?)
}

async fn remove_retired(app: &App, tenant: TenantId) -> Result<(), KeyError> {
    let mut tx = locked(app, tenant).await?;
    let removed = sql::delete_retired(&mut tx).await?;
    if removed.is_empty() {
        return Ok(());
    }
    policy::bump(&mut tx).await?;
    for kid in &removed {
        record(&mut tx, "system", "signing_key.remove", kid, json!({})).await?;
    }
    Ok(tx.commit().await?)
}

/// Lets `kid` sign in place of the active key, if there is one.
async fn switch(tx: &mut TenantTx, kid: &str, actor: &str) -> Result<(), sqlx::Error> {
    let before = sql::active_kid(tx).await?;
    sql::retire_active(tx, kept_s()).await?;
    sql::activate(tx, kid).await?;
    record(tx, actor, "signing_key.activate", kid, json!({ "in_place_of": before })).await
}

/// Waits until every connected data plane knows the next key, at most for `within`.
async fn await_distribution(app: &App, tenant: TenantId, within: Duration) -> Result<(), sqlx::Error> {
    let deadline = Instant::now() + within;
    while Instant::now() < deadline {
        let mut tx = app.db.tenant(tenant).await?;
        let Some(next) = sql::next_key(&mut tx).await? else { return Ok(()) };
        if lacking(&mut tx, next.published_revision).await?.is_empty() {
            return Ok(());
        }
        drop(tx);
        sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// The data planes, connected to whichever control plane, that have not acknowledged this revision of the policy.
async fn lacking(tx: &mut TenantTx, revision: i64) -> Result<Vec<DataPlaneId>, sqlx::Error> {
    let status = data_planes::policy_status(tx).await?;
    let behind = status
        .data_planes
        .into_iter()
        .filter(|data_plane| data_plane.connected && data_plane.acked_revision.is_none_or(|acked| acked < revision));
    Ok(behind.map(|data_plane| data_plane.id).collect())
}

async fn locked(app: &App, tenant: TenantId) -> Result<TenantTx, sqlx::Error> {
    let mut tx = app.db.tenant(tenant).await?;
    oauth::sql::lock_tenant(&mut tx).await?;
    Ok(tx)
}

/// Until the last token that it signed has expired, whatever the tenant's tokens live at present.
fn kept_s() -> f64 {
    LONGEST_LIFE.as_seconds_f64()
}

fn view(row: sql::KeyRow) -> Result<KeyView, ApiError> {
    Ok(KeyView {
        kid: row.kid,
        alg: row.public_jwk["alg"].clone(),
        state: KeyState::deserialize(Value::from(row.state)).map_err(ApiError::internal)?,
        created_at: row.created_at,
        activated_at: row.activated_at,
        removed_at: row.retired_at,
    })
}

#[cfg(test)]
mod tests;
