//! The upstream session that a modern agent's calls at a legacy server share.
//!
//! Invariant: one upstream session is never shared by two owners.

use tollgate_proto::{ServerId, TenantId};

use super::{Leg, Owner, Store, StoreError};
use crate::mcp::level::Level;

/// An upstream session that serves a modern agent.
#[derive(Clone, PartialEq, Eq)]
pub struct BridgeLeg {
    /// Where it leads.
    pub leg: Leg,
    /// The server's result of `initialize`, as JSON text.
    pub initialized: String,
    /// The least severe log message that the server was asked for.
    pub level: Option<Level>,
}

impl std::fmt::Debug for BridgeLeg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BridgeLeg").field("leg", &self.leg).field("level", &self.level).finish_non_exhaustive()
    }
}

impl Store {
    /// The upstream session in which a server serves a modern agent that declares these capabilities; asking keeps it.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn bridge_leg(
        &self,
        owner: Owner,
        server: ServerId,
        fingerprint: &str,
    ) -> Result<Option<BridgeLeg>, StoreError> {
        match self {
            Self::Memory(store) => Ok(store.bridge_leg(owner, server, fingerprint)),
            Self::Redis(store) => store.bridge_leg(owner, server, fingerprint).await,
        }
    }

    /// Keeps an upstream session that was opened, unless there is another one already, which is answered then.
    /// `replaced`: the one that the server has forgotten.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn put_bridge_leg(
        &self,
        owner: Owner,
        server: ServerId,
        fingerprint: &str,
        new: &BridgeLeg,
        replaced: Option<&Leg>,
    ) -> Result<Option<BridgeLeg>, StoreError> {
        match self {
            Self::Memory(store) => Ok(store.put_bridge_leg(owner, server, fingerprint, new, replaced)),
            Self::Redis(store) => store.put_bridge_leg(owner, server, fingerprint, new, replaced).await,
        }
    }

    /// Takes out upstream sessions of the tenant's modern agents that nobody has used for [`super::SESSION_IDLE_S`], so many at
    /// most. Each is given to one that asks.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn expired_bridge_legs(
        &self,
        tenant: TenantId,
        count_max: usize,
    ) -> Result<Vec<(Owner, ServerId, Leg)>, StoreError> {
        match self {
            Self::Memory(store) => Ok(store.expired_bridge_legs(tenant, count_max)),
            Self::Redis(store) => store.expired_bridge_legs(tenant, count_max).await,
        }
    }

    /// Notes which log messages the server was asked for in this upstream session.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn set_bridge_level(
        &self,
        owner: Owner,
        server: ServerId,
        fingerprint: &str,
        leg: &Leg,
        level: Level,
    ) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => {
                store.set_bridge_level(owner, server, fingerprint, leg, level);
                Ok(())
            }
            Self::Redis(store) => store.set_bridge_level(owner, server, fingerprint, leg, level).await,
        }
    }
}
