//! Mailboxes of this process.
//!
//! Invariant: a mailbox's bytes are those of the messages that wait in it.

use std::collections::VecDeque;

use bytes::Bytes;

use super::Store;
use crate::store::{MAIL_BYTES_MAX, MAIL_MAX, Mail, MailboxId, Owner, StoreError};

/// Messages that wait for their reader.
#[derive(Debug)]
pub(super) struct Mailbox {
    mail: VecDeque<Mail>,
    bytes: usize,
    last: u64,
    until_s: u64,
}

impl Mailbox {
    /// Positions go on growing when a mailbox expired and is used again.
    const fn new(now_s: u64) -> Self {
        Self { mail: VecDeque::new(), bytes: 0, last: now_s * 1_000_000, until_s: 0 }
    }

    pub(super) const fn is_live(&self, now_s: u64) -> bool {
        now_s < self.until_s
    }

    fn take(&mut self, message: Bytes, until_s: u64) -> Result<(), StoreError> {
        if self.mail.len() == MAIL_MAX || self.bytes + message.len() > MAIL_BYTES_MAX {
            return Err(StoreError::MailboxFull);
        }
        self.bytes += message.len();
        self.last += 1;
        self.until_s = until_s;
        self.mail.push_back(Mail { position: self.last, message });
        Ok(())
    }

    fn forget_to(&mut self, position: u64) {
        while let Some(read) = self.mail.pop_front_if(|mail| mail.position <= position) {
            self.bytes -= read.message.len();
        }
    }
}

impl Store {
    pub(in crate::store) fn send_mail(
        &self,
        owner: Owner,
        mailbox: MailboxId,
        message: Bytes,
        ttl_s: u64,
    ) -> Result<(), StoreError> {
        let (mut state, now_s) = self.lock();
        let held = state.mailboxes.entry((owner, mailbox)).or_insert_with(|| Mailbox::new(now_s));
        if !held.is_live(now_s) {
            *held = Mailbox::new(now_s);
        }
        held.take(message, now_s + ttl_s)?;
        self.bells.ring(mailbox);
        Ok(())
    }

    pub(in crate::store) fn receive_mail(&self, owner: Owner, mailbox: MailboxId, after: u64) -> Vec<Mail> {
        let (mut state, now_s) = self.lock();
        let held = state.mailboxes.get_mut(&(owner, mailbox)).filter(|held| held.is_live(now_s));
        let Some(held) = held else { return Vec::new() };
        held.forget_to(after);
        held.mail.iter().cloned().collect()
    }

    pub(in crate::store) fn discard_mail(&self, owner: Owner, mailbox: MailboxId) {
        self.lock().0.mailboxes.remove(&(owner, mailbox));
    }
}
