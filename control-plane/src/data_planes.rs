//! Data planes: who is there, what each made of its policies, and how far its usage is stored.
//!
//! `enrolment.rs` certifies them, `standing.rs` lists them and sends them away.
//!
//! Invariant: nothing in this file decides anything. A data plane's record is what it said last, kept so that people see
//! it; only the usage position is relied upon, and it is read under its row's lock.

pub mod api;
pub(crate) mod enrolment;
mod sql;
pub mod standing;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, error::Error, time::Duration};

use serde::Serialize;
use sqlx::PgConnection;
use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{MissedTickBehavior, interval},
};
use tollgate_proto::{DataPlaneId, TenantId};
use utoipa::ToSchema;

use crate::{
    db::{Db, TenantTx},
    policy::Connected,
};

/// How often an open stream renews `last_seen_at`; a data plane counts as connected for 5 s after.
const SEEN_EVERY: Duration = Duration::from_secs(2);
const ANSWERS_AT_ONCE: usize = 256;

/// What a data plane made of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It serves it.
    Acknowledged,
    /// It goes on with the one before.
    Refused {
        /// Why, in the data plane's words.
        reason: String,
    },
}

/// One answer of a data plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Whose policy.
    pub tenant: TenantId,
    /// At which revision.
    pub revision: u64,
    /// What became of it.
    pub verdict: Verdict,
}

/// What keeps being true of a data plane while its stream is open.
#[derive(Debug)]
pub struct Seen {
    /// Who it is.
    pub data_plane: DataPlaneId,
    /// The version that it says to be.
    pub version: String,
    /// How long its policy is current without another heartbeat.
    pub lease: Duration,
    /// Knows how fast it enforces revocations.
    pub connected: Connected,
}

/// How far a tenant's policy has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PolicyStatus {
    /// The newest revision.
    pub revision: i64,
    /// Every data plane seen within the last hour.
    pub data_planes: Vec<DataPlaneStatus>,
}

/// What one data plane serves of a tenant's policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct DataPlaneStatus {
    /// `dpl_…`.
    #[schema(value_type = String)]
    pub id: DataPlaneId,
    /// Whether its policy stream was open within the last 5 s.
    pub connected: bool,
    /// The revision that it serves; absent while it serves none.
    pub acked_revision: Option<i64>,
    /// A newer revision that it refused.
    pub nacked_revision: Option<i64>,
    /// Why it refused that revision.
    pub nack_reason: Option<String>,
}

/// How far the tenant's policy has come, for the tenant of `tx`.
///
/// # Errors
/// When Postgres is away.
pub async fn policy_status(tx: &mut TenantTx) -> Result<PolicyStatus, sqlx::Error> {
    let tenant = tx.tenant();
    let revision = sql::policy_revision(tx, tenant).await?;
    Ok(PolicyStatus { revision, data_planes: sql::data_planes(tx, tenant).await? })
}

/// Every data plane that was sent away, and how long ago.
///
/// # Errors
/// When Postgres is away.
pub async fn revoked(connection: &mut PgConnection) -> Result<HashMap<DataPlaneId, Duration>, sqlx::Error> {
    Ok(sql::revoked(connection).await?.into_iter().collect())
}

/// Keeps one data plane's record while its stream is open: that it is there, and each of its answers. Ends once
/// `answers` is closed and written. While Postgres is away answers wait; there is at most one for each policy that
/// was sent, and nothing is found to send without Postgres.
pub async fn keep_record(db: Db, seen: Seen, mut answers: UnboundedReceiver<Answer>) {
    let mut again = interval(SEEN_EVERY);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut unwritten = Vec::new();
    let mut failing = false;
    let mut open = true;
    while open {
        tokio::select! {
            received = answers.recv_many(&mut unwritten, ANSWERS_AT_ONCE) => open = received > 0,
            _ = again.tick() => {}
        }
        match write(&db, &seen, &unwritten).await {
            Ok(()) => {
                unwritten.clear();
                failing = false;
            }
            Err(error) => {
                if !failing {
                    tracing::warn!(data_plane = %seen.data_plane, error = &error as &dyn Error, "cannot record what a data plane said");
                }
                failing = true;
            }
        }
    }
}

async fn write(db: &Db, seen: &Seen, answers: &[Answer]) -> Result<(), sqlx::Error> {
    let data_plane = seen.data_plane;
    let revocations = seen.connected.revocation_times_of(data_plane);
    let mut tx = db.platform().await?;
    sql::see(&mut tx, seen, revocations.as_ref()).await?;
    for answer in answers {
        // Revisions come from a signed column, so that a larger one is none of ours.
        let Ok(revision) = i64::try_from(answer.revision) else { continue };
        match &answer.verdict {
            Verdict::Acknowledged => sql::acknowledge(&mut tx, data_plane, answer.tenant, revision).await?,
            Verdict::Refused { reason } => sql::refuse(&mut tx, data_plane, answer.tenant, revision, reason).await?,
        }
    }
    tx.commit().await
}

/// The position up to which the data plane's usage is stored, locked until the transaction ends.
///
/// # Errors
/// When Postgres is away.
pub async fn lock_usage_position(connection: &mut PgConnection, data_plane: DataPlaneId) -> Result<i64, sqlx::Error> {
    sql::lock_usage_position(connection, data_plane).await
}

/// Moves the position, in the transaction that stores the usage and locked it.
///
/// # Errors
/// When Postgres is away.
pub async fn set_usage_position(
    connection: &mut PgConnection,
    data_plane: DataPlaneId,
    position: i64,
) -> Result<(), sqlx::Error> {
    sql::set_usage_position(connection, data_plane, position).await
}
