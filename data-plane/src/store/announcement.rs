//! Announcements: what every data plane hears, so that it forgets what has become stale and ends what has been
//! taken over.
//!
//! Invariant: an announcement is a hint. Whoever acts on one finds the truth in the store or at the server; whoever may
//! have missed some is told so by [`Announcement::Missed`].

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use tollgate_proto::{ServerId, TenantId};
use uuid::Uuid;

use super::{mailbox::MailboxId, session::SessionId};

/// Announcements that a slow listener may fall behind by.
const BACKLOG: usize = 1_024;

/// What every data plane hears.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Announcement {
    /// A server's offer has changed.
    ListChanged {
        /// Whose server it is.
        tenant: TenantId,
        /// The server.
        server: ServerId,
        /// Which of its lists.
        list: ChangedList,
        /// Whom the server has told itself: a session, or the call that listened.
        #[serde(default)]
        told: Option<String>,
    },
    /// A data plane has read a definition of this server that it did not know: the others read the server too.
    OfferChanged {
        /// Whose server it is.
        tenant: TenantId,
        /// The server.
        server: ServerId,
    },
    /// Something about a legacy session has changed that a data plane which serves it may hold in memory.
    SessionChanged {
        /// Whose session it is.
        tenant: TenantId,
        /// The session.
        session: SessionId,
        /// What has changed.
        change: SessionChange,
    },
    /// A server said something in an upstream session that more than one of an agent's streams listens to.
    Heard {
        /// Whose session it is.
        tenant: TenantId,
        /// What the session is known by.
        session: String,
        /// Its notification; `None`: it may have said something that nobody heard.
        message: Option<String>,
    },
    /// Some announcements may have been lost: what depends on them is to be taken for stale.
    Missed,
}

/// Which list of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangedList {
    /// `tools/list`.
    Tools,
    /// `prompts/list`.
    Prompts,
    /// `resources/list` and `resources/templates/list`.
    Resources,
}

impl ChangedList {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Tools, Self::Prompts, Self::Resources];
}

/// What has changed about a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionChange {
    /// It is over: its streams end.
    Ended,
    /// Its GET stream was opened by this call: an older one ends.
    StreamTaken {
        /// What the holder of the stream knows itself by.
        by: Uuid,
    },
    /// It has another upstream session at a server.
    LegOpened {
        /// The server.
        server: ServerId,
    },
    /// The resources that it has subscribed to are others.
    Subscriptions {
        /// Where they are.
        server: ServerId,
        /// Where whoever changed them waits until the session's stream brings what it should.
        told: MailboxId,
    },
    /// The agent wants no answer to this request any more.
    Cancelled {
        /// The request's id, as it is shown: a string in quotes, an integer without.
        request: String,
    },
}

/// Where announcements are made and heard in this process.
#[derive(Debug)]
pub(super) struct Announcer(broadcast::Sender<Announcement>);

/// What one listener hears.
#[derive(Debug)]
pub struct Announcements(broadcast::Receiver<Announcement>);

impl Default for Announcer {
    fn default() -> Self {
        Self(broadcast::Sender::new(BACKLOG))
    }
}

impl Announcer {
    /// Tells every listener of this process.
    pub(super) fn tell(&self, announcement: Announcement) {
        // Without a listener there is nobody to tell.
        let _ = self.0.send(announcement);
    }

    /// Hears what is announced from now on.
    pub(super) fn listen(&self) -> Announcements {
        Announcements(self.0.subscribe())
    }
}

impl Announcements {
    /// The next one. A listener that was too slow hears [`Announcement::Missed`] for what it has lost. Cancel safe.
    pub async fn next(&mut self) -> Announcement {
        match self.0.recv().await {
            Ok(announcement) => announcement,
            Err(broadcast::error::RecvError::Lagged(_)) => Announcement::Missed,
            // The store is gone, and with it whoever could announce anything.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}
