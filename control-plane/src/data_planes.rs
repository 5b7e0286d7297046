//! Data planes: who is there, what each made of its policies, and how far its usage is stored.
//!
//! `enrolment.rs` certifies them, `record.rs` keeps what they say, `standing.rs` lists them and sends them away.
//!
//! Invariant: nothing in this file decides anything. A data plane's record is what it said last, kept so that people see
//! it; only the usage position is relied upon, and it is read under its row's lock.

pub mod api;
pub(crate) mod enrolment;
mod record;
mod sql;
pub mod standing;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, time::Duration};

use serde::Serialize;
use sqlx::PgConnection;
use tollgate_proto::DataPlaneId;
use utoipa::ToSchema;

use crate::db::TenantTx;
pub use record::{Answer, Record, Records, Seen, Verdict, records};

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
