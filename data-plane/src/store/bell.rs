//! Bells: how readers of mailboxes in this process are woken.
//!
//! Invariant: a bell hangs for exactly as long as somebody listens to it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::mailbox::MailboxId;

/// The bells of every mailbox that is read here.
#[derive(Debug, Default)]
pub(super) struct Bells {
    hanging: Mutex<HashMap<MailboxId, Hanging>>,
}

#[derive(Debug, Default)]
struct Hanging {
    listeners: usize,
    bell: Arc<Notify>,
}

/// One listener's bell.
#[derive(Debug)]
pub(super) struct Bell<'a> {
    bells: &'a Bells,
    mailbox: MailboxId,
    bell: Arc<Notify>,
}

impl Bells {
    /// Hangs a bell for a mailbox.
    pub(super) fn hang(&self, mailbox: MailboxId) -> Bell<'_> {
        let mut hanging = self.lock();
        let hung = hanging.entry(mailbox).or_default();
        hung.listeners += 1;
        Bell { bells: self, mailbox, bell: Arc::clone(&hung.bell) }
    }

    /// Something came for this mailbox.
    pub(super) fn ring(&self, mailbox: MailboxId) {
        if let Some(hung) = self.lock().get(&mailbox) {
            hung.bell.notify_waiters();
        }
    }

    /// Something may have come for any of them.
    pub(super) fn ring_all(&self) {
        self.lock().values().for_each(|hung| hung.bell.notify_waiters());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<MailboxId, Hanging>> {
        // A count and its bell change together: whole after a panic elsewhere.
        self.hanging.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bell<'_> {
    /// The next ring, counted from this call on: ask before looking into the mailbox, await after.
    pub(super) fn next(&self) -> tokio::sync::futures::Notified<'_> {
        self.bell.notified()
    }
}

impl Drop for Bell<'_> {
    fn drop(&mut self) {
        let mut hanging = self.bells.lock();
        if let Some(hung) = hanging.get_mut(&self.mailbox) {
            hung.listeners -= 1;
            if hung.listeners == 0 {
                hanging.remove(&self.mailbox);
            }
        }
    }
}
