//! What is known of one server's offer: what was approved, what is blocked, and what was approved as reading only.
//!
//! Invariant: annotations count as long as the definition is the one that was approved, in every mode of approval.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use super::{Item, Kind, Refused, read::BookError};
use crate::{
    Pattern, normal_uri,
    policy::v1::{self as wire, Approval, ItemKind},
};

/// What the catalog says of one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogEntry {
    /// SHA-256 of the approved definition in its canonical form; none: none is approved.
    pub approved_digest: Option<[u8; 32]>,
    /// Nobody sees or uses it.
    pub blocked: bool,
    /// Approved as a tool that only reads.
    pub read_only: bool,
    /// Approved as a tool that changes things, but destroys nothing.
    pub additive: bool,
}

/// What is known of one list of a server.
#[derive(Debug, Clone, Copy)]
pub struct Section<'b> {
    pub(super) catalog: Option<&'b Catalog>,
    pub(super) kind: Kind,
}

/// The items of one kind by name; resources by their URIs in the form in which they are compared.
pub(super) type Entries = HashMap<Box<str>, CatalogEntry>;

/// One server's catalog.
#[derive(Debug)]
pub(super) struct Catalog {
    /// By which rules know the server.
    pub(super) number: u32,
    /// What was not approved cannot be used.
    pub(super) pinned: bool,
    tools: Arc<Entries>,
    prompts: Arc<Entries>,
    resources: Arc<Entries>,
    templates: Arc<Entries>,
    /// The URIs that each template makes.
    made: Box<[(Pattern, CatalogEntry)]>,
}

impl Catalog {
    pub(super) fn read(number: u32, sent: &wire::Server) -> Result<Self, BookError> {
        let [mut tools, mut prompts, mut resources, mut templates] = <[Entries; 4]>::default();
        for item in &sent.catalog {
            let name = item.name.as_str();
            let (entries, name) = match ItemKind::try_from(item.kind) {
                Ok(ItemKind::Tool) => (&mut tools, name.into()),
                Ok(ItemKind::Prompt) => (&mut prompts, name.into()),
                Ok(ItemKind::Resource) => (&mut resources, normal_uri(name).into()),
                Ok(ItemKind::ResourceTemplate) => (&mut templates, name.into()),
                Ok(ItemKind::Unspecified) | Err(_) => continue,
            };
            let read = CatalogEntry::read(item)?;
            match entries.entry(name) {
                Entry::Vacant(place) => drop(place.insert(read)),
                Entry::Occupied(held) => held.into_mut().unite(&read),
            }
        }
        let made = templates.iter().map(|(template, entry)| (Pattern::template(template), entry.clone())).collect();
        Ok(Self {
            number,
            // What a later version calls approval is taken for the strictest that is known.
            pinned: !matches!(Approval::try_from(sent.approval), Ok(Approval::Unspecified | Approval::Notify)),
            tools: tools.into(),
            prompts: prompts.into(),
            resources: resources.into(),
            templates: templates.into(),
            made,
        })
    }

    /// The items of this kind; none of what has no name of its own.
    pub(super) const fn entries(&self, kind: Kind) -> Option<&Arc<Entries>> {
        match kind {
            Kind::Tool => Some(&self.tools),
            Kind::Prompt => Some(&self.prompts),
            Kind::Resource => Some(&self.resources),
            Kind::Template => Some(&self.templates),
            Kind::Other => None,
        }
    }

    /// Whether nothing is known of the offer.
    pub(super) fn is_empty(&self) -> bool {
        [&self.tools, &self.prompts, &self.resources, &self.templates].into_iter().all(|entries| entries.is_empty())
    }

    pub(super) fn entry(&self, item: Item<'_>) -> Option<&CatalogEntry> {
        let entries = self.entries(item.kind)?;
        if item.kind == Kind::Resource { entries.get(&*normal_uri(item.name)) } else { entries.get(item.name) }
    }

    /// Whether it is neither blocked nor waits for approval. A resource that is not listed by itself is what its templates
    /// are; one that no template makes either has no definition, and came with a result.
    pub(super) fn permits<'b>(&self, item: Item<'_>, observed: Option<&[u8; 32]>) -> Result<(), Refused<'b>> {
        match self.standing(item, observed) {
            (true, _) => Err(Refused::Blocked),
            (false, false) => Err(Refused::NotApproved),
            (false, true) => Ok(()),
        }
    }

    /// Whether it is blocked, and whether its definition is one that may be used.
    fn standing(&self, item: Item<'_>, observed: Option<&[u8; 32]>) -> (bool, bool) {
        let (is_blocked, is_approved) = match self.entry(item) {
            Some(entry) => (entry.blocked, entry.is_as_approved(observed)),
            None if item.kind == Kind::Resource => {
                let uri = normal_uri(item.name);
                let (mut is_blocked, mut is_made, mut is_approved) = (false, false, false);
                for (_, template) in self.made.iter().filter(|(uris, _)| uris.matches(&uri)) {
                    is_made = true;
                    is_blocked |= template.blocked;
                    is_approved |= template.approved_digest.is_some();
                }
                (is_blocked, observed.is_none() && (is_approved || !is_made))
            }
            None => (false, item.kind == Kind::Other),
        };
        (is_blocked, is_approved || !self.pinned)
    }

    /// Whether a tool was approved as one that only reads, and is still that.
    pub(super) fn only_reads(&self, tool: &str, observed: Option<&[u8; 32]>) -> bool {
        self.tools.get(tool).is_some_and(|entry| entry.read_only && entry.is_as_approved(observed))
    }

    /// Whether a tool was approved as one that only reads, whatever has become of it.
    pub(super) fn was_to_read(&self, tool: &str) -> bool {
        self.tools.get(tool).is_some_and(|entry| entry.read_only)
    }
}

impl<'b> Section<'b> {
    /// What is known of this item.
    #[must_use]
    pub fn entry(&self, name: &str) -> Option<&'b CatalogEntry> {
        self.catalog?.entry(Item { kind: self.kind, name })
    }

    /// Whether what was not approved cannot be used.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        self.catalog.is_some_and(|catalog| catalog.pinned)
    }

    /// Whether nobody may see the definition with this digest, whatever was granted to them.
    #[must_use]
    pub fn holds(&self, name: &str, digest: &[u8; 32]) -> bool {
        let item = Item { kind: self.kind, name };
        self.catalog.is_some_and(|catalog| !catalog.standing(item, Some(digest)).1)
    }
}

impl CatalogEntry {
    fn read(sent: &wire::CatalogItem) -> Result<Self, BookError> {
        let approved_digest = match &*sent.approved_digest {
            [] => None,
            digest => Some(digest.try_into().map_err(|_| BookError::Digest(sent.name.clone()))?),
        };
        let wire::CatalogItem { blocked, read_only, additive, .. } = *sent;
        Ok(Self { approved_digest, blocked, read_only, additive })
    }

    /// Of two that have one name, as URIs have that are encoded differently, nothing is approved that differs.
    fn unite(&mut self, other: &Self) {
        self.approved_digest.take_if(|digest| Some(*digest) != other.approved_digest);
        self.blocked |= other.blocked;
        self.read_only &= other.read_only;
        self.additive &= other.additive;
    }

    /// Whether it was approved as a tool that destroys nothing, and is still that. `observed` is the digest of the
    /// definition that the server has given last; none: it has not been looked at.
    #[must_use]
    pub fn is_harmless(&self, observed: Option<&[u8; 32]>) -> bool {
        (self.read_only || self.additive) && self.is_as_approved(observed)
    }

    fn is_as_approved(&self, observed: Option<&[u8; 32]>) -> bool {
        let approved = self.approved_digest.as_ref();
        approved.is_some_and(|approved| observed.is_none_or(|observed| observed == approved))
    }
}
