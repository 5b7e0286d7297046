//! How the instances of servers do, as each data plane says.
//!
//! Invariant: nothing here decides anything, and a row is written only when its data plane says something else than
//! before. Who is not connected says nothing: its rows are shown to nobody.

use std::{
    collections::{BTreeMap, HashMap},
    error::Error,
    time::Duration,
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{MissedTickBehavior, interval},
};
use tollgate_proto::{
    DataPlaneId, InstanceId, TenantId,
    policy::v1::{self as wire, InstanceReport, InstanceState},
};
use utoipa::ToSchema;

use crate::{app::App, db::Db};

mod sql;
#[cfg(test)]
mod tests;

/// What could not be written is tried again after this.
const RETRY_EVERY: Duration = Duration::from_secs(1);
const REPORTS_AT_ONCE: usize = 64;
/// Of what a data plane says in words.
const WORD_CHARS_MAX: usize = 40;

/// How an instance does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Nobody has asked it for anything yet.
    Unknown,
    /// It answers.
    Healthy,
    /// It answers again, and gets a share of the work that grows.
    Returning,
    /// It failed what it was asked last, and gets its share all the same.
    Unhealthy,
    /// It failed for good, and gets no work while another instance answers.
    Ejected,
}

/// How one data plane sees an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Sight {
    /// How it does.
    pub health: Health,
    /// Since when that is so; null while nobody has said anything.
    pub since: Option<DateTime<Utc>>,
    /// `legacy` or `modern`, as registered or as found out; null while that is not known.
    pub era: Option<String>,
    /// The newest revision that it was heard to speak; null while that is not known.
    #[schema(example = "2025-11-25")]
    pub protocol_version: Option<String>,
    /// Why it is not healthy: `unreachable` (no connection, or it broke off), `timeout`, or `unable` (it says 502, 503 or
    /// 504).
    pub last_error: Option<String>,
}

/// What was said and is not written yet.
#[derive(Debug, Default)]
struct Unwritten {
    /// Whatever was said before and is not among these is gone.
    complete: bool,
    sights: BTreeMap<InstanceId, Sight>,
}

impl Health {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Returning => "returning",
            Self::Unhealthy => "unhealthy",
            Self::Ejected => "ejected",
        }
    }
}

impl Sight {
    /// Of an instance that nobody says anything of.
    #[must_use]
    pub const fn none() -> Self {
        Self { health: Health::Unknown, since: None, era: None, protocol_version: None, last_error: None }
    }
}

impl From<&InstanceState> for Sight {
    fn from(said: &InstanceState) -> Self {
        let health = match said.health() {
            wire::InstanceHealth::Unspecified | wire::InstanceHealth::Unknown => Health::Unknown,
            wire::InstanceHealth::Healthy => Health::Healthy,
            wire::InstanceHealth::Unhealthy => Health::Unhealthy,
            wire::InstanceHealth::Ejected => Health::Ejected,
            wire::InstanceHealth::Returning => Health::Returning,
        };
        let era = match said.era() {
            wire::Era::Unspecified => None,
            wire::Era::Legacy => Some("legacy".to_owned()),
            wire::Era::Modern => Some("modern".to_owned()),
        };
        Self {
            health,
            since: DateTime::from_timestamp_millis(said.since_ms),
            era,
            protocol_version: word(&said.protocol_version),
            last_error: word(&said.last_error),
        }
    }
}

/// Keeps what one data plane says while its stream is open. Ends once `reports` is closed and written, or cannot be
/// written at the end. While Postgres is away the newest of each instance waits.
pub async fn keep(db: Db, data_plane: DataPlaneId, mut reports: UnboundedReceiver<InstanceReport>) {
    let mut retry = interval(RETRY_EVERY);
    retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut unwritten, mut failing, mut open) = (HashMap::new(), false, true);
    while open {
        let mut received = Vec::new();
        tokio::select! {
            count = reports.recv_many(&mut received, REPORTS_AT_ONCE) => open = count > 0,
            _ = retry.tick(), if !unwritten.is_empty() => {}
        }
        received.iter().for_each(|report| take_in(&mut unwritten, report));
        match write(&db, data_plane, &mut unwritten).await {
            Ok(()) => failing = false,
            Err(error) => {
                if !failing {
                    tracing::warn!(%data_plane, error = &error as &dyn Error, "cannot record how instances do");
                }
                failing = true;
            }
        }
    }
}

/// Removes what data planes said that have been gone for an hour.
///
/// # Errors
/// When Postgres is away.
pub async fn purge(app: &App, tenant: TenantId) -> Result<(), sqlx::Error> {
    let mut tx = app.db.tenant(tenant).await?;
    sql::purge(&mut tx).await?;
    tx.commit().await
}

/// What is no id is said of nothing that is known here.
fn take_in(unwritten: &mut HashMap<TenantId, Unwritten>, report: &InstanceReport) {
    for tenant in report.complete_tenant_ids.iter().filter_map(|id| id.parse().ok()) {
        unwritten.insert(tenant, Unwritten { complete: true, sights: BTreeMap::new() });
    }
    for said in &report.instances {
        if let (Ok(tenant), Ok(instance)) = (said.tenant_id.parse(), said.instance_id.parse()) {
            unwritten.entry(tenant).or_default().sights.insert(instance, said.into());
        }
    }
}

/// Tenant by tenant; what is written is forgotten.
async fn write(
    db: &Db,
    data_plane: DataPlaneId,
    unwritten: &mut HashMap<TenantId, Unwritten>,
) -> Result<(), sqlx::Error> {
    while let Some((&tenant, said)) = unwritten.iter().next() {
        let mut tx = db.tenant(tenant).await?;
        if said.complete {
            let ids: Vec<_> = said.sights.keys().map(|id| id.uuid()).collect();
            sql::keep_only(&mut tx, data_plane, &ids).await?;
        }
        sql::put(&mut tx, data_plane, &said.sights).await?;
        tx.commit().await?;
        unwritten.remove(&tenant);
    }
    Ok(())
}

/// A word as Postgres and people can take it.
fn word(text: &str) -> Option<String> {
    let word: String = text.chars().filter(char::is_ascii_graphic).take(WORD_CHARS_MAX).collect();
    (!word.is_empty()).then_some(word)
}
