//! Sessions as operators look at them: found by a handle, page by page, the newest first.
//!
//! Invariant: a handle leads to a session and cannot be used in its place; being looked at keeps no session alive.

use aws_lc_rs::digest;
use tollgate_proto::{AgentId, ServerId, SessionHandle, TenantId};
use uuid::Builder;

use super::{BridgeLeg, Leg, Owner, Session, SessionId, Store, StoreError};

/// What a handle takes of the digest of what it stands for.
const DIGEST_BYTES: usize = 10;

/// A session that is kept, and what the store knows of its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What people call it by.
    pub handle: SessionHandle,
    /// What it is.
    pub kept: Kept,
    /// When it was last used, in seconds since the Unix epoch on the store's clock.
    pub last_used_at_s: u64,
    /// When it is forgotten unless it is used again.
    pub expires_at_s: u64,
}

/// What is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// The session of a legacy agent.
    Session(SessionId, Session),
    /// An upstream session that serves a modern agent.
    Upstream(UpstreamKey, BridgeLeg),
}

/// Which upstream session of a modern agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamKey {
    /// Whom it serves.
    pub owner: Owner,
    /// Where it is.
    pub server: ServerId,
    /// Of the capabilities that the agent declares.
    pub fingerprint: String,
}

/// A page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// The newest first.
    pub found: Vec<Listed>,
    /// The last session that was looked at, when there may be more behind it.
    pub reached: Option<SessionHandle>,
}

impl Kept {
    /// Whose it is.
    #[must_use]
    pub const fn owner(&self) -> Owner {
        match self {
            Self::Session(_, session) => session.owner,
            Self::Upstream(key, _) => key.owner,
        }
    }

    /// Its upstream ends.
    pub fn legs(&self) -> impl Iterator<Item = (ServerId, &Leg)> {
        let (session, upstream) = match self {
            Self::Session(_, session) => (Some(session), None),
            Self::Upstream(key, bridge) => (None, Some((key.server, &bridge.leg))),
        };
        session.into_iter().flat_map(|session| session.legs.iter().map(|(server, leg)| (*server, leg))).chain(upstream)
    }
}

impl Listed {
    /// When it was opened, in milliseconds since the Unix epoch on the clock of the data plane that did.
    #[must_use]
    pub fn created_at_ms(&self) -> u64 {
        let at = self.handle.uuid().get_timestamp().map(|at| at.to_unix());
        at.map_or(0, |(seconds, nanos)| seconds * 1_000 + u64::from(nanos / 1_000_000))
    }
}

impl Store {
    /// A tenant's sessions that were opened before one of them: the first `count_max` of all, of which those of other
    /// agents are left out where one is asked for.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn sessions(
        &self,
        tenant: TenantId,
        before: Option<SessionHandle>,
        agent: Option<AgentId>,
        count_max: usize,
    ) -> Result<Listing, StoreError> {
        match self {
            Self::Memory(store) => Ok(store.sessions(tenant, before, agent, count_max)),
            Self::Redis(store) => store.sessions(tenant, before, agent, count_max).await,
        }
    }

    /// The session of a tenant that a handle leads to.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn session(&self, tenant: TenantId, handle: SessionHandle) -> Result<Option<Listed>, StoreError> {
        match self {
            Self::Memory(store) => Ok(store.session(tenant, handle)),
            Self::Redis(store) => store.session(tenant, handle).await,
        }
    }

    /// Forgets an upstream session of a modern agent, unless another one has taken its place; whether it did.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn remove_bridge_leg(&self, key: &UpstreamKey, leg: &Leg) -> Result<bool, StoreError> {
        match self {
            Self::Memory(store) => Ok(store.remove_bridge_leg(key, leg)),
            Self::Redis(store) => store.remove_bridge_leg(key, leg).await,
        }
    }
}

/// Leads to the session with this id. It cannot be turned back into the id, of which it says a part of the digest.
pub(super) fn handle_of_session(id: &SessionId, session: &Session) -> SessionHandle {
    handle(session.created_at_ms, id.to_string().as_bytes())
}

/// Leads to an upstream session that was opened at this time, in milliseconds since the Unix epoch.
pub(super) fn handle_of_upstream(key: &UpstreamKey, leg: &Leg, opened_at_ms: u64) -> SessionHandle {
    let UpstreamKey { owner: Owner { tenant, agent, user }, server, fingerprint } = key;
    let user = user.map(|user| user.to_string()).unwrap_or_default();
    let session = leg.upstream_session.as_deref().unwrap_or_default();
    let named = format!("{tenant} {agent} {user} {server} {fingerprint} {} {session}", leg.instance);
    handle(opened_at_ms, named.as_bytes())
}

/// A UUIDv7, so that handles are in the order of their sessions' openings, with a digest where others are random.
fn handle(at_ms: u64, secret: &[u8]) -> SessionHandle {
    let digest = digest::digest(&digest::SHA256, secret);
    let mut taken = [0; DIGEST_BYTES];
    taken.copy_from_slice(&digest.as_ref()[..DIGEST_BYTES]);
    Builder::from_unix_timestamp_millis(at_ms, &taken).into_uuid().into()
}
