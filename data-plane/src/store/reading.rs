//! What is counted at this moment, for people who want to know how much of limits is used.
//!
//! Invariant: looking charges nothing, and what is counted leaves neither earlier nor later for it.

use tollgate_proto::{LimitId, TenantId};
use uuid::Uuid;

use super::{RingKey, Store, StoreError};

/// What is looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Look {
    /// Rings, with the length of their windows in seconds, as they are charged.
    pub rings: Vec<(RingKey, u32)>,
    /// Limits whose running calls are counted.
    pub running: Vec<LimitId>,
}

/// What was there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The store's own id: whoever shares it sees the same one, and no two stores have one.
    pub store: Uuid,
    /// What each ring holds, in their order.
    pub rings: Vec<u64>,
    /// How many calls run under each limit, in their order.
    pub running: Vec<u32>,
}

impl Store {
    /// What a tenant's counters hold. One round trip.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn look(&self, tenant: TenantId, look: &Look) -> Result<Seen, StoreError> {
        match self {
            Self::Memory(store) => Ok(store.look(tenant, look)),
            Self::Redis(store) => store.look(tenant, look).await,
        }
    }
}
