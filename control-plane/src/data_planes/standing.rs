//! Which data planes there are, how each stands, and sending one away.
//!
//! Invariant: a data plane that was revoked stays revoked; every control plane learns of it with the next look at the
//! database, which the revocation itself calls for.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tollgate_proto::DataPlaneId;
use utoipa::ToSchema;

use super::sql;
use crate::{
    app::App,
    audit,
    caller::{InstallationCaller, Role},
    error::ApiError,
    policy::{self, RevocationTimes},
};

const NOUN: &str = "data plane";
const KIND: &str = "data_plane";

/// How a data plane stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Its policy stream was open within the last 5 s.
    Connected,
    /// It was not, and may come back by itself.
    Away,
    /// Its certificate has expired: it has to be enrolled anew.
    Expired,
    /// It was sent away.
    Revoked,
}

/// A data plane.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DataPlane {
    /// `dpl_…`.
    #[schema(value_type = String)]
    pub id: DataPlaneId,
    /// How it stands.
    pub state: Standing,
    /// The version that it said to be.
    pub version: String,
    /// When it was heard first.
    pub first_seen_at: DateTime<Utc>,
    /// When it was heard last.
    pub last_seen_at: DateTime<Utc>,
    /// When it showed an enrollment token last.
    pub enrolled_at: Option<DateTime<Utc>>,
    /// The serial number of its newest certificate in hex.
    pub certificate_serial: Option<String>,
    /// When that ends.
    pub certificate_expires_at: Option<DateTime<Utc>>,
    /// When it was sent away.
    pub revoked_at: Option<DateTime<Utc>>,
    /// What it serves, by tenant.
    pub policies: Vec<PolicyInForce>,
    /// When the lease of its policy ended, at the latest, unless it has heard of a control plane that is not one of this
    /// installation's database: since then it does what its tenants want of a data plane that hears nothing.
    pub stale_since: Option<DateTime<Utc>>,
    /// How fast it enforces revocations, as the control plane that it follows knew within the last seconds; while it is
    /// away, as it was known last.
    pub revocations: Option<RevocationTimes>,
}

/// What a data plane serves of one tenant.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PolicyInForce {
    /// The tenant's name.
    pub tenant: String,
    /// The revision that it serves; absent while it serves none.
    pub revision: Option<i64>,
    /// The newest revision there is.
    pub newest_revision: i64,
    /// A revision that it refused.
    pub refused_revision: Option<i64>,
    /// Why.
    pub refused_because: Option<String>,
}

/// The data planes of the installation.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DataPlanePage {
    /// The data planes, the newest first.
    pub items: Vec<DataPlane>,
    /// Always null: there is one page.
    pub next_cursor: Option<String>,
    /// How fast revocations are enforced by those who are connected to the control plane that answers.
    pub revocations: FleetRevocations,
}

/// How fast revocations are enforced.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct FleetRevocations {
    /// Whether everyone who is connected is connected to the control plane that answers. Where that is not so, others
    /// know the rest: the figures of each data plane are whole all the same.
    pub complete: bool,
    /// What it has heard.
    #[serde(flatten)]
    pub times: RevocationTimes,
}

impl DataPlane {
    /// How many tenants it serves at the newest revision.
    #[must_use]
    pub fn in_step(&self) -> usize {
        self.policies.iter().filter(|policy| policy.revision == Some(policy.newest_revision)).count()
    }
}

impl Standing {
    /// As the API writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Away => "away",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

/// The data planes that were seen lately, the newest first.
///
/// # Errors
/// [`ApiError::Forbidden`]; or when Postgres is away.
pub async fn list(app: &App, caller: &InstallationCaller) -> Result<DataPlanePage, ApiError> {
    caller.require(Role::Viewer)?;
    let mut tx = app.db.platform().await?;
    let items = sql::fleet(&mut tx).await?;
    let connected = app.policy_changes.connected();
    let elsewhere = |plane: &DataPlane| plane.state == Standing::Connected && !connected.has(plane.id);
    let complete = !items.iter().any(elsewhere);
    let revocations = FleetRevocations { complete, times: connected.revocation_times() };
    Ok(DataPlanePage { items, next_cursor: None, revocations })
}

/// Sends a data plane away for good. Repeating it changes nothing.
///
/// # Errors
/// [`ApiError::NotFound`], [`ApiError::Forbidden`]; or when Postgres is away.
pub async fn revoke(app: &App, caller: &InstallationCaller, id: &str) -> Result<(), ApiError> {
    caller.require(Role::Admin)?;
    let not_found = || ApiError::NotFound { noun: NOUN, key: id.to_owned() };
    let data_plane: DataPlaneId = id.parse().map_err(|_| not_found())?;
    let mut tx = app.db.tenant(caller.as_caller().tenant).await?;
    match sql::revoke(&mut tx, data_plane).await? {
        None => return Err(not_found()),
        Some(false) => return Ok(()),
        Some(true) => {}
    }
    sql::count_revocation(&mut tx).await?;
    let event = audit::Event {
        actor: &caller.as_caller().actor,
        action: "data_plane.revoke",
        object_kind: KIND,
        object_id: id,
        object_name: id,
        detail: json!({}),
    };
    audit::record(&mut tx, event).await?;
    policy::wake(&mut tx).await?;
    tx.commit().await?;
    Ok(())
}
