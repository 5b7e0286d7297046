//! What data planes share for a short time and can build again: legacy sessions, request counters, the mapping of
//! shortened tool names, and what data planes tell each other. Never a record of usage or audit.
//!
//! Invariant: an admission charges every ring that it names or none, whichever implementation runs, and a
//! session is found by its owner only. One test suite runs against both implementations.

mod admission;
mod announcement;
mod bell;
mod bridge_leg;
mod listing;
mod mailbox;
pub mod memory;
mod reading;
pub mod redis;
mod ring;
mod session;
mod spending;
mod waiting;

#[cfg(test)]
pub(crate) mod tests;

pub use admission::{
    Admission, Charge, ChargedAt, Class, Demand, Loaded, Meter, Place, RingKey, RingState, Settled, Settlement, Shown,
    Verdict,
};
pub use announcement::{Announcement, Announcements, ChangedList, SessionChange};
pub use bridge_leg::BridgeLeg;
pub use listing::{Kept, Listed, Listing, UpstreamKey};
pub use mailbox::{MAIL_BYTES_MAX, MAIL_MAX, Mail, MailboxId, MailboxIdError};
pub use reading::{Look, Seen};
pub use ring::Ring;
pub use session::{Leg, Owner, Session, SessionId, SessionIdError, Subscribed, Subscription};
pub use spending::{BudgetKey, Fit, SPENT_MAX, Spend, SpendState, Spent};
use std::{pin::pin, time::Duration};

use bytes::Bytes;
use tokio::time::{Instant, timeout};
use tollgate_proto::{ServerId, TenantId};

/// A session that nobody uses for this long is forgotten, in seconds.
pub const SESSION_IDLE_S: u64 = 30 * 60;
/// A session is forgotten this long after its creation, however busy it is, in seconds.
pub const SESSION_LIFE_S: u64 = 24 * 60 * 60;
/// A session that is over is kept for so long, for whoever ends its upstream sessions, in seconds.
const SESSION_GRACE_S: u64 = 10 * 60;
/// Resources that one session may have subscribed to.
pub const SUBSCRIPTIONS_MAX: usize = 256;
/// A call that takes a place among those that run at once, and of which nothing is heard for this long, is taken for
/// lost with its data plane, in seconds.
pub const PLACE_S: u64 = 60;
/// A shortened tool name that nobody uses for this long is forgotten, in seconds.
pub const NAME_IDLE_S: u64 = 24 * 60 * 60;

/// The store of one data plane: in this process, or shared through Redis.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "a data plane has one, which stays where it is")]
pub enum Store {
    /// In this process: exact for one data plane, lost with it.
    Memory(memory::Store),
    /// In Redis or Redis Cluster: exact for all data planes together.
    Redis(redis::Store),
}

/// Why the store did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Redis is away, too slow or refuses; the call may be tried again in a second. Whether a charge that timed
    /// out took place is not known: it errs towards the limit.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The addresses in the configuration are no Redis URLs.
    #[error("the store's address is not usable: {0}")]
    Address(String),
    /// What is stored cannot be read, or what should be stored cannot be written.
    #[error("a stored value is not readable: {0}")]
    Value(String),
    /// The system's random generator failed.
    #[error("no random id could be made")]
    Random,
    /// A mailbox has no room: nobody reads it, or what is sent is too large.
    #[error("the mailbox is full")]
    MailboxFull,
}

impl Store {
    /// The store in this process.
    #[must_use]
    pub fn memory() -> Self {
        Self::Memory(memory::Store::default())
    }

    /// The store in Redis: one URL for one server, several for the nodes of a cluster. It connects in the
    /// background, so that a data plane starts while Redis is away. An operation that takes longer than `deadline` is
    /// given up. Must be called in a Tokio runtime.
    ///
    /// # Errors
    /// [`StoreError::Address`] when a URL is not usable.
    pub fn redis(urls: &[String], deadline: Duration) -> Result<Self, StoreError> {
        redis::Store::open(urls, redis::Settings { deadline, ..redis::Settings::default() }).map(Self::Redis)
    }

    /// Goes there and back: what a round trip takes. In a cluster it goes to any node.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn ping(&self) -> Result<(), StoreError> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Redis(store) => store.ping().await,
        }
    }

    /// Keeps a new session under a new id.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn create_session(&self, session: &Session) -> Result<SessionId, StoreError> {
        match self {
            Self::Memory(store) => store.create_session(session),
            Self::Redis(store) => store.create_session(session).await,
        }
    }

    /// Adds or replaces one server's leg and touches no other; false when the owner has no such session (any more).
    ///
    /// # Errors
    /// When the store is away.
    pub async fn put_leg(&self, owner: Owner, id: &SessionId, server: ServerId, leg: &Leg) -> Result<bool, StoreError> {
        match self {
            Self::Memory(store) => Ok(store.put_leg(owner, id, server, leg)),
            Self::Redis(store) => store.put_leg(owner, id, server, leg).await,
        }
    }

    /// Keeps the log level that the agent asked for; false when the owner has no such session (any more).
    ///
    /// # Errors
    /// When the store is away.
    pub async fn put_log_level(&self, owner: Owner, id: &SessionId, level: &str) -> Result<bool, StoreError> {
        match self {
            Self::Memory(store) => Ok(store.put_log_level(owner, id, level)),
            Self::Redis(store) => store.put_log_level(owner, id, level).await,
        }
    }

    /// Adds a subscription to a session.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn subscribe(
        &self,
        owner: Owner,
        id: &SessionId,
        subscription: &Subscription,
    ) -> Result<Subscribed, StoreError> {
        match self {
            Self::Memory(store) => Ok(store.subscribe(owner, id, subscription)),
            Self::Redis(store) => store.subscribe(owner, id, subscription).await,
        }
    }

    /// Takes a subscription out of a session; false when the owner has no such session (any more).
    ///
    /// # Errors
    /// When the store is away.
    pub async fn unsubscribe(
        &self,
        owner: Owner,
        id: &SessionId,
        subscription: &Subscription,
    ) -> Result<bool, StoreError> {
        match self {
            Self::Memory(store) => Ok(store.unsubscribe(owner, id, subscription)),
            Self::Redis(store) => store.unsubscribe(owner, id, subscription).await,
        }
    }

    /// Ends a session: forgets it, and tells every data plane. Returns it, so that its upstream sessions can be closed.
    ///
    /// # Errors
    /// When the store is away. That another data plane was not told is none: it finds out when it looks.
    pub async fn end_session(&self, owner: Owner, id: &SessionId) -> Result<Option<Session>, StoreError> {
        let removed = self.remove_session(owner, id).await?;
        if removed.is_some() {
            let (tenant, change) = (owner.tenant, SessionChange::Ended);
            let _ = self.announce(Announcement::SessionChanged { tenant, session: *id, change }).await;
        }
        Ok(removed)
    }

    /// Forgets a session and returns it, so that its upstream sessions can be closed.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn remove_session(&self, owner: Owner, id: &SessionId) -> Result<Option<Session>, StoreError> {
        match self {
            Self::Memory(store) => Ok(store.remove_session(owner, id)),
            Self::Redis(store) => store.remove_session(owner, id).await,
        }
    }

    /// Forgets sessions of a tenant whose time is up, at most `count_max`, and returns them, so that their upstream
    /// sessions can be ended. Of all data planes that ask, one gets each.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn expired_sessions(
        &self,
        tenant: TenantId,
        count_max: usize,
    ) -> Result<Vec<(SessionId, Session)>, StoreError> {
        match self {
            Self::Memory(store) => Ok(store.expired_sessions(tenant, count_max)),
            Self::Redis(store) => store.expired_sessions(tenant, count_max).await,
        }
    }

    /// Loads the session, if one is named, and slides its expiry; then tests every ring, every place and every budget and
    /// charges all of them or none. One round trip. A missing session and a refusal charge nothing.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn admit(
        &self,
        owner: Owner,
        session: Option<&SessionId>,
        demand: &Demand,
    ) -> Result<Admission, StoreError> {
        match self {
            Self::Memory(store) => store.admit(owner, session, demand),
            Self::Redis(store) => store.admit(owner, session, demand).await,
        }
    }

    /// The session, whose expiry slides; none when the owner has no such session (any more).
    ///
    /// # Errors
    /// When the store is away.
    pub async fn own_session(&self, owner: Owner, id: &SessionId) -> Result<Option<Session>, StoreError> {
        Ok(match self.admit(owner, Some(id), &Demand::default()).await?.session {
            Loaded::Found(session) => Some(*session),
            Loaded::Missing | Loaded::NotAsked => None,
        })
    }

    /// Corrects what an admission charged by what it came to, and gives places back. To be sent at most once: a second
    /// settlement would be credit.
    ///
    /// # Errors
    /// When the store is away; the charges then stay until they leave the window, the places for [`PLACE_S`], and what was
    /// expected of budgets for the period.
    pub async fn settle(&self, tenant: TenantId, settled: Settled<'_>) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => {
                store.settle(tenant, settled);
                Ok(())
            }
            Self::Redis(store) => store.settle(tenant, settled).await,
        }
    }

    /// Says that the call which took these places goes on.
    ///
    /// # Errors
    /// When the store is away; the places are then free [`PLACE_S`] after it was said last.
    pub async fn keep_places(&self, tenant: TenantId, places: &[Place]) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => {
                store.keep_places(tenant, places);
                Ok(())
            }
            Self::Redis(store) => store.keep_places(tenant, places).await,
        }
    }

    /// Remembers which tool a shortened federated name stands for.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn remember_name(
        &self,
        tenant: TenantId,
        federated: &str,
        server: ServerId,
        tool: &str,
    ) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => {
                store.remember_name(tenant, federated, server, tool);
                Ok(())
            }
            Self::Redis(store) => store.remember_name(tenant, federated, server, tool).await,
        }
    }

    /// The tool that a shortened federated name stands for; asking keeps it remembered.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn recall_name(
        &self,
        tenant: TenantId,
        federated: &str,
    ) -> Result<Option<(ServerId, String)>, StoreError> {
        match self {
            Self::Memory(store) => Ok(store.recall_name(tenant, federated)),
            Self::Redis(store) => store.recall_name(tenant, federated).await,
        }
    }

    /// Puts a message into a mailbox, which is there from its first message on, and wakes its reader. The mailbox is
    /// forgotten `ttl_s` seconds after the last message.
    ///
    /// # Errors
    /// [`StoreError::MailboxFull`], and when the store is away.
    pub async fn send_mail(
        &self,
        owner: Owner,
        mailbox: MailboxId,
        message: Bytes,
        ttl_s: u64,
    ) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => store.send_mail(owner, mailbox, message, ttl_s),
            Self::Redis(store) => store.send_mail(owner, mailbox, &message, ttl_s).await,
        }
    }

    /// What stands in a mailbox after the position `after` (zero: from the start), in its order; waits for the first
    /// of it, at most for `wait`, and answers with nothing then. What stands at `after` and before is forgotten: a
    /// mailbox has one reader. A store that is away for a moment is waited for too. Cancel safe.
    ///
    /// # Errors
    /// When the store is away at the end of the wait.
    pub async fn receive_mail(
        &self,
        owner: Owner,
        mailbox: MailboxId,
        after: u64,
        wait: Duration,
    ) -> Result<Vec<Mail>, StoreError> {
        let deadline = Instant::now() + wait;
        let bell = self.bells().hang(mailbox);
        loop {
            let mut rung = pin!(bell.next());
            rung.as_mut().enable();
            let found = match self {
                Self::Memory(store) => Ok(store.receive_mail(owner, mailbox, after)),
                Self::Redis(store) => store.receive_mail(owner, mailbox, after).await,
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || found.as_ref().is_ok_and(|mail| !mail.is_empty()) {
                return found;
            }
            // Woken or not, the mailbox is looked into again.
            let _ = timeout(left.min(mailbox::POLL_EVERY), rung).await;
        }
    }

    /// Forgets a mailbox that nobody will read any more.
    ///
    /// # Errors
    /// When the store is away; the mailbox then expires.
    pub async fn discard_mail(&self, owner: Owner, mailbox: MailboxId) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => {
                store.discard_mail(owner, mailbox);
                Ok(())
            }
            Self::Redis(store) => store.discard_mail(owner, mailbox).await,
        }
    }

    /// Tells every data plane, this one included.
    ///
    /// # Errors
    /// When the store is away; this data plane has heard it, others may not have.
    pub async fn announce(&self, announcement: Announcement) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => {
                store.announcer().tell(announcement);
                Ok(())
            }
            Self::Redis(store) => store.announce(announcement).await,
        }
    }

    /// What any data plane announces from now on.
    #[must_use]
    pub fn announcements(&self) -> Announcements {
        match self {
            Self::Memory(store) => store.announcer().listen(),
            Self::Redis(store) => store.announcer().listen(),
        }
    }

    fn bells(&self) -> &bell::Bells {
        match self {
            Self::Memory(store) => store.bells(),
            Self::Redis(store) => store.bells(),
        }
    }
}
