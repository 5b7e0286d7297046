//! Which definitions servers were last seen to give, whoever asked: lists that pass through, and what Tollgate reads for
//! itself. What people have approved is compared with this.
//!
//! Invariant: a definition that differs from the approved one counts from the moment it is read, in whatever list. That
//! it is the approved one again counts only when Tollgate has read the whole list itself, so that no answer that was
//! under way meanwhile, or was meant for one agent, lifts what is held.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aws_lc_rs::digest::{SHA256, digest};
use tokio::sync::Notify;
use tollgate_proto::{
    ServerId,
    access::{CatalogEntry, Item, Kind},
    definition::{Definition, DefinitionDigest, name_member},
    policy::v1::ItemKind,
};

use crate::mcp::{json::Raw, method::ListKind};

/// The most things of one kind that are remembered of one server. What is beyond is known by the policy alone.
const REMEMBERED_MAX: usize = 20_000;

/// What is remembered of every server.
#[derive(Debug, Default)]
pub struct Observed {
    servers: Mutex<HashMap<ServerId, Arc<Mutex<Offer>>>>,
    unread: Mutex<HashSet<ServerId>>,
    has_unread: Notify,
}

#[derive(Debug, Default)]
struct Offer {
    lists: HashMap<ItemKind, List>,
}

#[derive(Debug, Default)]
struct List {
    items: HashMap<Box<str>, Seen>,
    /// Whether this is all that there is.
    is_whole: bool,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    /// SHA-256 of the definition as the server spelled it: the same spelling is not brought into its form again.
    spelled: [u8; 32],
    digest: DefinitionDigest,
}

/// The whole of one list, to be compared with another reading of it, whatever the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Observed {
    /// The digest of the definition that was last seen of this.
    #[must_use]
    pub fn digest(&self, server: ServerId, item: Item<'_>) -> Option<[u8; 32]> {
        let Item { kind, name } = item;
        let offer = self.servers().get(&server).map(Arc::clone)?;
        let offer = lock(&offer);
        Some(offer.lists.get(&kind_of(kind)?)?.items.get(name)?.digest.0)
    }

    /// Notes what passes through of a list; answers with whether something in it was not known. `catalogued`: what the
    /// policy knows of an item. What neither it nor a reading knows is left alone: nobody looks after it.
    pub fn note<'b>(
        &self,
        server: ServerId,
        kind: ItemKind,
        listed: &[Raw],
        catalogued: impl Fn(&str) -> Option<&'b CatalogEntry>,
    ) -> bool {
        let offer = self.offer(server);
        let mut offer = lock(&offer);
        let list = offer.lists.entry(kind).or_default();
        // Every one of them, whatever the first says.
        listed.iter().filter(|item| list.note(kind, item, &catalogued)).count() > 0
    }

    /// Takes this for the whole list, as Tollgate has just read it; answers with what it is, and with what it was before
    /// where that is known.
    pub fn note_whole(&self, server: ServerId, kind: ItemKind, listed: &[Raw]) -> (Fingerprint, Option<Fingerprint>) {
        let offer = self.offer(server);
        let mut offer = lock(&offer);
        let list = offer.lists.entry(kind).or_default();
        let before = list.is_whole.then(|| list.fingerprint());
        let items = listed.iter().take(REMEMBERED_MAX).map(|item| {
            let name = name(kind, item);
            let seen = see(kind, item, list.items.get(&name));
            (name, seen)
        });
        *list = List { items: items.collect(), is_whole: true };
        (list.fingerprint(), before)
    }

    /// Whether Tollgate has ever read this server's offer itself.
    #[must_use]
    pub fn has_read(&self, server: ServerId) -> bool {
        let offer = self.servers().get(&server).map(Arc::clone);
        offer.is_some_and(|offer| lock(&offer).lists.values().any(|list| list.is_whole))
    }

    /// The server is to be read.
    pub fn read_again(&self, server: ServerId) {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner).insert(server);
        self.has_unread.notify_one();
    }

    /// Waits until servers are to be read, and hands them out. For one listener; cancel safe.
    pub async fn unread(&self) -> HashSet<ServerId> {
        loop {
            let unread = std::mem::take(&mut *self.unread.lock().unwrap_or_else(PoisonError::into_inner));
            if !unread.is_empty() {
                return unread;
            }
            self.has_unread.notified().await;
        }
    }

    /// Forgets servers that the policy no longer has.
    pub fn retain(&self, is_known: impl Fn(ServerId) -> bool) {
        self.servers().retain(|id, _| is_known(*id));
    }

    fn offer(&self, server: ServerId) -> Arc<Mutex<Offer>> {
        Arc::clone(self.servers().entry(server).or_default())
    }

    fn servers(&self) -> MutexGuard<'_, HashMap<ServerId, Arc<Mutex<Offer>>>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl List {
    /// Whether this says something that was not known.
    fn note<'b>(&mut self, kind: ItemKind, item: &Raw, catalogued: impl Fn(&str) -> Option<&'b CatalogEntry>) -> bool {
        let name = name(kind, item);
        let (known, entry) = (self.items.get(&name).copied(), catalogued(&name));
        if known.is_none() && entry.is_none() && !self.is_whole {
            return false;
        }
        let approved = entry.and_then(|entry| entry.approved_digest).map(DefinitionDigest);
        let seen = see(kind, item, known.as_ref());
        let is_news = match known {
            Some(known) => known.digest != seen.digest,
            None => self.is_whole || approved != Some(seen.digest),
        };
        let lifts = known.is_some_and(|known| Some(known.digest) != approved) && approved == Some(seen.digest);
        let has_room = known.is_some() || self.items.len() < REMEMBERED_MAX;
        if !lifts && has_room {
            self.items.insert(name, seen);
        }
        is_news
    }

    fn fingerprint(&self) -> Fingerprint {
        let mut items: Vec<_> = self.items.iter().collect();
        items.sort_unstable_by_key(|(name, _)| *name);
        let mut context = aws_lc_rs::digest::Context::new(&SHA256);
        for (name, seen) in items {
            context.update(name.as_bytes());
            context.update(b"\0");
            context.update(&seen.digest.0);
        }
        Fingerprint(bytes(&context.finish()))
    }
}

/// What a list lists, as the catalog calls it. Skills are no part of it.
#[must_use]
pub const fn item_kind(list: ListKind) -> Option<ItemKind> {
    match list {
        ListKind::Tools => Some(ItemKind::Tool),
        ListKind::Prompts => Some(ItemKind::Prompt),
        ListKind::Resources => Some(ItemKind::Resource),
        ListKind::ResourceTemplates => Some(ItemKind::ResourceTemplate),
        ListKind::Skills => None,
    }
}

/// The same, from what access is decided by.
const fn kind_of(kind: Kind) -> Option<ItemKind> {
    match kind {
        Kind::Tool => Some(ItemKind::Tool),
        Kind::Prompt => Some(ItemKind::Prompt),
        Kind::Resource => Some(ItemKind::Resource),
        Kind::Template => Some(ItemKind::ResourceTemplate),
        Kind::Other => None,
    }
}

/// What an item of a list is known by; empty where it has nothing.
#[must_use]
pub fn name(kind: ItemKind, item: &Raw) -> Box<str> {
    let members = item.object().unwrap_or_default();
    members.get(name_member(kind)).and_then(Raw::as_str).unwrap_or_default().into()
}

/// What has no form is known by its bytes, which nobody can approve.
fn see(kind: ItemKind, item: &Raw, known: Option<&Seen>) -> Seen {
    let spelled = bytes(&digest(&SHA256, item.as_bytes()));
    match known {
        Some(known) if known.spelled == spelled => *known,
        _ => {
            let read = Definition::read(kind, item.as_bytes());
            Seen { spelled, digest: read.map_or(DefinitionDigest(spelled), |definition| definition.digest()) }
        }
    }
}

fn bytes(digest: &aws_lc_rs::digest::Digest) -> [u8; 32] {
    *digest.as_ref().first_chunk().expect("a SHA-256 has 32 bytes")
}

fn lock(offer: &Mutex<Offer>) -> MutexGuard<'_, Offer> {
    // Entries are replaced whole: a panic elsewhere leaves nothing half done.
    offer.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
