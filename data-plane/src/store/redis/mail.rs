//! Mailboxes and announcements in Redis: a hash for each mailbox under its tenant's hash tag, and two channels that
//! every data plane follows. A cluster carries what is published at one of its nodes to all of them.
//!
//! Invariant: whoever announces hears it without Redis; what comes back by the channel is known by its origin.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tollgate_proto::TenantId;
use uuid::Uuid;

use super::{Store, from_json, to_json};
use crate::store::{
    Announcement, MAIL_BYTES_MAX, MAIL_MAX, Mail, MailboxId, Owner, StoreError, announcement::Announcer, bell::Bells,
};

/// Where ids of mailboxes that got something are published.
pub(super) const MAIL_CHANNEL: &str = "tg:mail";
/// Where announcements are published.
pub(super) const ANNOUNCEMENT_CHANNEL: &str = "tg:announcements";
/// Messages are larger than other values: their operations may take so many times as long.
const PATIENCE: u32 = 10;

/// An announcement on its channel.
#[derive(Serialize, Deserialize)]
struct Published {
    origin: Uuid,
    announcement: Announcement,
}

impl Store {
    pub(in crate::store) async fn send_mail(
        &self,
        owner: Owner,
        mailbox: MailboxId,
        message: &Bytes,
        ttl_s: u64,
    ) -> Result<(), StoreError> {
        let mut call = self.functions.send_mail.call();
        call.key(mailbox_key(owner, mailbox)).arg(message.as_ref()).arg(ttl_s).arg(MAIL_MAX).arg(MAIL_BYTES_MAX);
        call.arg(MAIL_CHANNEL).arg(mailbox.to_string());
        let deadline = self.deadline * PATIENCE;
        let position: u64 = self.run_within(deadline, owner.tenant, async |link| call.run(link).await).await?;
        if position == 0 { Err(StoreError::MailboxFull) } else { Ok(()) }
    }

    pub(in crate::store) async fn receive_mail(
        &self,
        owner: Owner,
        mailbox: MailboxId,
        after: u64,
    ) -> Result<Vec<Mail>, StoreError> {
        let mut call = self.functions.receive_mail.call();
        call.key(mailbox_key(owner, mailbox)).arg(after);
        let deadline = self.deadline * PATIENCE;
        let mail: Vec<(u64, Vec<u8>)> =
            self.run_within(deadline, owner.tenant, async |link| call.run(link).await).await?;
        Ok(mail.into_iter().map(|(position, message)| Mail { position, message: message.into() }).collect())
    }

    pub(in crate::store) async fn discard_mail(&self, owner: Owner, mailbox: MailboxId) -> Result<(), StoreError> {
        let mut unlink = ::redis::cmd("UNLINK");
        unlink.arg(mailbox_key(owner, mailbox));
        self.run(owner.tenant, async |link| link.query(&unlink).await).await
    }

    pub(in crate::store) async fn announce(&self, announcement: Announcement) -> Result<(), StoreError> {
        self.heard.announcer.tell(announcement.clone());
        let tenant = match announcement {
            Announcement::ListChanged { tenant, .. }
            | Announcement::OfferChanged { tenant, .. }
            | Announcement::SessionChanged { tenant, .. }
            | Announcement::Heard { tenant, .. } => tenant,
            // Whoever missed something knows it by itself.
            Announcement::Missed => return Ok(()),
        };
        let published = to_json(&Published { origin: self.heard.origin, announcement })?;
        self.publish(tenant, published).await
    }

    async fn publish(&self, tenant: TenantId, text: String) -> Result<(), StoreError> {
        let mut publish = ::redis::cmd("PUBLISH");
        publish.arg(ANNOUNCEMENT_CHANNEL).arg(text);
        self.run(tenant, async |link| link.query(&publish).await).await
    }

    pub(in crate::store) fn bells(&self) -> &Bells {
        &self.heard.bells
    }

    pub(in crate::store) fn announcer(&self) -> &Announcer {
        &self.heard.announcer
    }
}

/// What this process has heard by the channels, and who listens.
#[derive(Debug)]
pub(super) struct Heard {
    origin: Uuid,
    bells: Bells,
    announcer: Announcer,
}

impl Default for Heard {
    fn default() -> Self {
        Self { origin: Uuid::new_v4(), bells: Bells::default(), announcer: Announcer::default() }
    }
}

impl Heard {
    /// A message of one of the channels. What cannot be read is of another version, and a hint only.
    pub(super) fn hear(&self, channel: &str, payload: &str) {
        if channel == MAIL_CHANNEL {
            if let Ok(mailbox) = payload.parse() {
                self.bells.ring(mailbox);
            }
        } else if let Ok(Published { origin, announcement }) = from_json(payload)
            && origin != self.origin
        {
            self.announcer.tell(announcement);
        }
    }

    /// Nobody knows what was published until now.
    pub(super) fn missed(&self) {
        self.bells.ring_all();
        self.announcer.tell(Announcement::Missed);
    }
}

fn mailbox_key(Owner { tenant, agent, user }: Owner, mailbox: MailboxId) -> String {
    match user {
        None => format!("tg:{{{tenant}}}:mail:{agent}:{mailbox}"),
        Some(user) => format!("tg:{{{tenant}}}:mail:{agent}:{user}:{mailbox}"),
    }
}
