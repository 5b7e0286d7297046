//! Marks of what goes on over several data planes: which call one of them holds, which round of answers was taken, who has
//! a lease, and who takes part.
//!
//! Invariant: every mark ends by itself, so that none outlives a data plane that is gone.

use uuid::Uuid;

use super::{MailboxId, Owner, Store, StoreError};

impl Store {
    /// Says for `ttl_s` seconds that a data plane reads the stream of this waiting call.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn hold(&self, owner: Owner, waiting: MailboxId, ttl_s: u64) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => {
                store.hold(owner, waiting, ttl_s);
                Ok(())
            }
            Self::Redis(store) => store.hold(owner, waiting, ttl_s).await,
        }
    }

    /// Says that no data plane reads it any more.
    ///
    /// # Errors
    /// When the store is away; what was said last then holds for its time.
    pub async fn release(&self, owner: Owner, waiting: MailboxId) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => {
                store.release(owner, waiting);
                Ok(())
            }
            Self::Redis(store) => store.release(owner, waiting).await,
        }
    }

    /// Whether a data plane reads the stream of this waiting call.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn is_held(&self, owner: Owner, waiting: MailboxId) -> Result<bool, StoreError> {
        match self {
            Self::Memory(store) => Ok(store.is_held(owner, waiting)),
            Self::Redis(store) => store.is_held(owner, waiting).await,
        }
    }

    /// Takes a round of answers of a waiting call; false when it was taken within the last `ttl_s` seconds.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn claim(&self, owner: Owner, waiting: MailboxId, round: u32, ttl_s: u64) -> Result<bool, StoreError> {
        match self {
            Self::Memory(store) => Ok(store.claim(owner, waiting, round, ttl_s)),
            Self::Redis(store) => store.claim(owner, waiting, round, ttl_s).await,
        }
    }

    /// Takes or renews a lease for `ttl_s` seconds; false when another one has it.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn lease(&self, owner: Owner, what: MailboxId, by: Uuid, ttl_s: u64) -> Result<bool, StoreError> {
        match self {
            Self::Memory(store) => Ok(store.lease(owner, what, by, ttl_s)),
            Self::Redis(store) => store.lease(owner, what, by, ttl_s).await,
        }
    }

    /// Gives a lease back, if this one has it.
    ///
    /// # Errors
    /// When the store is away; the lease then runs out.
    pub async fn end_lease(&self, owner: Owner, what: MailboxId, by: Uuid) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => {
                store.end_lease(owner, what, by);
                Ok(())
            }
            Self::Redis(store) => store.end_lease(owner, what, by).await,
        }
    }

    /// Counts a member in for `ttl_s` seconds.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn join(&self, owner: Owner, what: MailboxId, member: Uuid, ttl_s: u64) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => {
                store.join(owner, what, member, ttl_s);
                Ok(())
            }
            Self::Redis(store) => store.join(owner, what, member, ttl_s).await,
        }
    }

    /// Counts a member out; answers how many are left.
    ///
    /// # Errors
    /// When the store is away; the member is then counted until its time is over.
    pub async fn leave(&self, owner: Owner, what: MailboxId, member: Uuid) -> Result<u64, StoreError> {
        match self {
            Self::Memory(store) => Ok(store.leave(owner, what, member)),
            Self::Redis(store) => store.leave(owner, what, member).await,
        }
    }
}
