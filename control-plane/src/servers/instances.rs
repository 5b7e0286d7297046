//! The instances of a server as its status has them: what each data plane says, and what that comes to.
//!
//! Invariant: the worst that a data plane says of an instance is what is said of it on the whole.

use serde::{Deserialize, Serialize};
use tollgate_proto::{DataPlaneId, InstanceId};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::instance_health::Sight;

/// A running copy and how it does: on the whole as the data plane that sees it worst says.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct InstanceStatus {
    /// Its id.
    #[schema(value_type = String, example = "ins_01k5z7v9k3f0q8r2m4n6p8s0t2")]
    pub id: InstanceId,
    /// Its MCP endpoint.
    pub url: String,
    /// Whether it gets no new work.
    pub draining: bool,
    /// The worst that a connected data plane says.
    #[serde(flatten)]
    pub sight: Sight,
    /// What each connected data plane says; one that does not know the instance yet says nothing.
    pub data_planes: Vec<SightFrom>,
}

/// How one data plane sees an instance.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SightFrom {
    /// `dpl_…`.
    #[schema(value_type = String)]
    pub id: DataPlaneId,
    /// What it says.
    #[serde(flatten)]
    pub sight: Sight,
}

/// As the query has it.
#[derive(Debug, Deserialize)]
pub(super) struct Known {
    id: Uuid,
    url: String,
    draining: bool,
    seen: Vec<Seen>,
}

#[derive(Debug, Deserialize)]
struct Seen {
    data_plane: Uuid,
    #[serde(flatten)]
    sight: Sight,
}

impl From<Known> for InstanceStatus {
    fn from(known: Known) -> Self {
        let data_planes: Vec<_> =
            known.seen.into_iter().map(|seen| SightFrom { id: seen.data_plane.into(), sight: seen.sight }).collect();
        let worst = data_planes.iter().map(|from| &from.sight).max_by_key(|sight| sight.health);
        let sight = worst.cloned().unwrap_or_else(Sight::none);
        Self { id: known.id.into(), url: known.url, draining: known.draining, sight, data_planes }
    }
}
