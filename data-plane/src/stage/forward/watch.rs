//! The watch over a session's own stream: it ends when the session does, or when the agent opens another one, wherever
//! that is.
//!
//! Invariant: of the streams of one session only the newest goes on; a session whose stream is open is not idle.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, Interval, interval_at};
use uuid::Uuid;

use crate::{
    gateway::Gateway,
    store::{Announcement, Announcements, Owner, SessionChange, SessionId},
};

/// How often the store is asked whether the session is still there; that keeps it, too.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// A watch over one stream.
#[derive(Debug)]
pub struct Watch {
    gateway: Arc<Gateway>,
    owner: Owner,
    session: SessionId,
    stream: Uuid,
    announcements: Announcements,
    looks: Interval,
}

impl Watch {
    /// Takes the session's stream: any other one ends.
    pub async fn take(gateway: Arc<Gateway>, owner: Owner, session: SessionId) -> Self {
        let (stream, announcements) = (Uuid::new_v4(), gateway.store.announcements());
        let change = SessionChange::StreamTaken { by: stream };
        let taken = Announcement::SessionChanged { tenant: owner.tenant, session, change };
        if let Err(error) = gateway.store.announce(taken).await {
            // An older stream elsewhere goes on until it looks: it may say twice what is said here.
            tracing::warn!(%error, "other data planes were not told that a stream was taken over");
        }
        let looks = interval_at(Instant::now() + LOOK_EVERY, LOOK_EVERY);
        Self { gateway, owner, session, stream, announcements, looks }
    }

    /// Until the stream has to end. Nothing but a look is lost when this is dropped half way.
    pub async fn over(&mut self) {
        loop {
            let look = tokio::select! {
                announcement = self.announcements.next() => match announcement {
                    Announcement::Missed => true,
                    announcement if self.ends(&announcement) => return,
                    _ => false,
                },
                _ = self.looks.tick() => true,
            };
            if look && self.is_gone().await {
                return;
            }
        }
    }

    fn ends(&self, announcement: &Announcement) -> bool {
        let Announcement::SessionChanged { session, change, .. } = announcement else { return false };
        let other = |change: &SessionChange| match change {
            SessionChange::Ended => true,
            SessionChange::StreamTaken { by } => *by != self.stream,
            SessionChange::LegOpened { .. } | SessionChange::Subscriptions { .. } | SessionChange::Cancelled { .. } => {
                false
            }
        };
        *session == self.session && other(change)
    }

    async fn is_gone(&self) -> bool {
        // A store that is away loses no session.
        matches!(self.gateway.store.own_session(self.owner, &self.session).await, Ok(None))
    }
}
