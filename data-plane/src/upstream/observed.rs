//! Which definitions servers were last seen to give, whoever asked: lists that pass through, and what Tollgate reads for
//! itself. What people have approved is compared with this.
//!
//! Invariant: a definition that differs from the approved one counts from the moment it is read, in whatever list. That
//! it is the approved one again counts only when Tollgate has read the whole list itself and began to after that, so
//! that no answer that was under way meanwhile, or was meant for one agent, lifts what is held.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use aws_lc_rs::digest::{SHA256, digest};
use tokio::sync::{Notify, OwnedMutexGuard};
use tollgate_proto::{
    ServerId,
    access::{Kind, Section},
    definition::{Definition, DefinitionDigest, name_member},
    policy::v1::ItemKind,
};

use crate::mcp::{json::Raw, method::ListKind};

/// The most things of one kind that are remembered of one server, beside those that the policy knows.
const REMEMBERED_MAX: usize = 20_000;

/// What is remembered of every server.
#[derive(Debug, Default)]
pub struct Observed {
    servers: Mutex<HashMap<ServerId, Arc<Known>>>,
    unread: Mutex<HashSet<ServerId>>,
    has_unread: Notify,
}

/// What is remembered of one server.
#[derive(Debug, Default)]
struct Known {
    lists: Mutex<HashMap<ItemKind, List>>,
    /// Whose turn it is to read it.
    turn: Arc<tokio::sync::Mutex<()>>,
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
    /// When it was seen last.
    at: Instant,
}

/// What came of looking at a list that passes through.
#[derive(Debug)]
pub struct Noted {
    /// Whether something in it was not known.
    pub is_news: bool,
    /// Of each item of the list, by what it is known and what it is.
    pub items: Vec<(Box<str>, DefinitionDigest)>,
}

/// A server's offer while Tollgate reads it itself: nobody else does meanwhile.
#[derive(Debug)]
pub struct Reading {
    known: Arc<Known>,
    began: Instant,
    _turn: OwnedMutexGuard<()>,
}

/// What was last seen of one list of a server.
#[derive(Debug)]
pub struct Glance {
    known: Option<Arc<Known>>,
    kind: Option<ItemKind>,
}

/// The whole of one list, to be compared with another reading of it, whatever the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Observed {
    /// What was last seen of the server's items of this kind.
    #[must_use]
    pub fn glance(&self, server: ServerId, kind: Kind) -> Glance {
        Glance { known: self.servers().get(&server).map(Arc::clone), kind: kind_of(kind) }
    }

    /// Notes what passes through of a list. `section`: what the policy knows of it. What neither it nor a reading knows
    /// is left alone where it needs no approval: nobody looks after it.
    pub fn note(&self, server: ServerId, kind: ItemKind, listed: &[Raw], section: &Section<'_>) -> Noted {
        let known = self.known(server);
        let seen = known.see(kind, listed);
        let items = seen.iter().map(|(name, seen)| (name.clone(), seen.digest)).collect();
        let mut lists = known.lists();
        let list = lists.entry(kind).or_default();
        // Every one of them, whatever the first says.
        let news = seen.into_iter().filter(|(name, seen)| list.note(name, *seen, section)).count();
        Noted { is_news: news > 0, items }
    }

    /// Begins to read a server, once nobody else does.
    pub async fn begin_reading(&self, server: ServerId) -> Reading {
        let known = self.known(server);
        let turn = Arc::clone(&known.turn).lock_owned().await;
        Reading { known, began: Instant::now(), _turn: turn }
    }

    /// Whether Tollgate has ever read this server's offer itself.
    #[must_use]
    pub fn has_read(&self, server: ServerId) -> bool {
        let known = self.servers().get(&server).map(Arc::clone);
        known.is_some_and(|known| known.lists().values().any(|list| list.is_whole))
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

    fn known(&self, server: ServerId) -> Arc<Known> {
        Arc::clone(self.servers().entry(server).or_default())
    }

    fn servers(&self) -> MutexGuard<'_, HashMap<ServerId, Arc<Known>>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reading {
    /// Takes this for the whole list; answers with what it is, and with what it was before where that is known.
    #[must_use]
    pub fn note_whole(
        &self,
        kind: ItemKind,
        listed: &[Raw],
        section: &Section<'_>,
    ) -> (Fingerprint, Option<Fingerprint>) {
        let seen = self.known.see(kind, listed);
        let mut lists = self.known.lists();
        let list = lists.entry(kind).or_default();
        let before = list.is_whole.then(|| list.fingerprint());
        let old = std::mem::replace(list, List { items: seen.into_iter().collect(), is_whole: true });
        // What was seen since and is not approved is held until a reading that is newer.
        let is_held = |name: &str, seen: &Seen| seen.at >= self.began && approved(section, name) != Some(seen.digest);
        list.items.extend(old.items.into_iter().filter(|(name, seen)| is_held(name, seen)));
        (list.fingerprint(), before)
    }
}

impl Glance {
    /// The digest of the definition that was last seen of this item.
    #[must_use]
    pub fn digest(&self, name: &str) -> Option<[u8; 32]> {
        let lists = self.known.as_ref()?.lists();
        Some(lists.get(&self.kind?)?.items.get(name)?.digest.0)
    }
}

impl Known {
    /// What each item is. Takes its time for definitions that are new, while calls go on by what is known.
    fn see(&self, kind: ItemKind, listed: &[Raw]) -> Vec<(Box<str>, Seen)> {
        let named: Vec<(Box<str>, &Raw)> = listed.iter().map(|item| (name(kind, item), item)).collect();
        let known: Vec<Option<Seen>> = {
            let lists = self.lists();
            let items = lists.get(&kind).map(|list| &list.items);
            named.iter().map(|(name, _)| items?.get(name).copied()).collect()
        };
        let named = named.into_iter().zip(known);
        named.map(|((name, item), known)| (name, Seen::of(kind, item, known.as_ref()))).collect()
    }

    fn lists(&self) -> MutexGuard<'_, HashMap<ItemKind, List>> {
        // Entries are replaced whole: a panic elsewhere leaves nothing half done.
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl List {
    /// Whether this says something that was not known.
    fn note(&mut self, name: &str, seen: Seen, section: &Section<'_>) -> bool {
        let (known, entry) = (self.items.get(name).copied(), section.entry(name));
        if known.is_none() && entry.is_none() && !self.is_whole && !section.is_pinned() {
            return false;
        }
        let approved = approved(section, name);
        let is_news = match known {
            Some(known) => known.digest != seen.digest,
            None => self.is_whole || approved != Some(seen.digest),
        };
        let lifts = known.is_some_and(|known| Some(known.digest) != approved) && approved == Some(seen.digest);
        let has_room = known.is_some() || entry.is_some() || self.items.len() < REMEMBERED_MAX;
        if !lifts && has_room {
            self.items.insert(name.into(), seen);
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

impl Seen {
    /// What has no form is known by its bytes, which nobody can approve.
    fn of(kind: ItemKind, item: &Raw, known: Option<&Self>) -> Self {
        let (spelled, at) = (bytes(&digest(&SHA256, item.as_bytes())), Instant::now());
        match known {
            Some(known) if known.spelled == spelled => Self { at, ..*known },
            _ => {
                let read = Definition::read(kind, item.as_bytes());
                let digest = read.map_or(DefinitionDigest(spelled), |definition| definition.digest());
                Self { spelled, digest, at }
            }
        }
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

/// The definition that was approved of this item.
fn approved(section: &Section<'_>, name: &str) -> Option<DefinitionDigest> {
    section.entry(name)?.approved_digest.map(DefinitionDigest)
}

/// What an item of a list is known by; empty where it has nothing.
fn name(kind: ItemKind, item: &Raw) -> Box<str> {
    item.text_of(name_member(kind)).unwrap_or_default()
}

fn bytes(digest: &aws_lc_rs::digest::Digest) -> [u8; 32] {
    *digest.as_ref().first_chunk().expect("a SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests;
