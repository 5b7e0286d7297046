//! What is known of one server's offer: what was approved, what is blocked, and what was approved as reading only.
//!
//! Invariant: annotations count as long as the definition is the one that was approved, in every mode of approval.

use std::{collections::HashMap, sync::Arc};

use super::{Item, Kind, read::BookError};
use crate::{
    Pattern,
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

/// The items of one kind by name.
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
}

impl Catalog {
    pub(super) fn read(number: u32, sent: &wire::Server) -> Result<Self, BookError> {
        let of = |kind: ItemKind| {
            let items = sent.catalog.iter().filter(|item| item.kind == i32::from(kind));
            let entries = items.map(|item| {
                let digest = match &*item.approved_digest {
                    [] => None,
                    digest => Some(digest.try_into().map_err(|_| BookError::Digest(item.name.clone()))?),
                };
                let wire::CatalogItem { blocked, read_only, additive, .. } = *item;
                Ok((item.name.as_str().into(), CatalogEntry { approved_digest: digest, blocked, read_only, additive }))
            });
            entries.collect::<Result<Entries, BookError>>().map(Arc::new)
        };
        Ok(Self {
            number,
            // What a later version calls approval is taken for the strictest that is known.
            pinned: !matches!(Approval::try_from(sent.approval), Ok(Approval::Unspecified | Approval::Notify)),
            tools: of(ItemKind::Tool)?,
            prompts: of(ItemKind::Prompt)?,
            resources: of(ItemKind::Resource)?,
            templates: of(ItemKind::ResourceTemplate)?,
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
        self.entries(item.kind)?.get(item.name)
    }

    /// Whether nobody may use it. A resource that is not listed by itself is what its templates are.
    pub(super) fn is_blocked(&self, item: Item<'_>) -> bool {
        match self.entry(item) {
            Some(entry) => entry.blocked,
            None => self.templates_of(item).any(|entry| entry.blocked),
        }
    }

    /// Whether its definition is one that may be used, where approval is needed. A resource that no list has is approved
    /// with its template; one that no template makes either has no definition, and came with a result.
    pub(super) fn is_approved(&self, item: Item<'_>, observed: Option<&[u8; 32]>) -> bool {
        if !self.pinned || item.kind == Kind::Other {
            return true;
        }
        match self.entry(item) {
            Some(entry) => entry.is_as_approved(observed),
            None if item.kind == Kind::Resource && observed.is_none() => {
                let mut templates = self.templates_of(item).peekable();
                templates.peek().is_none() || templates.any(|entry| entry.approved_digest.is_some())
            }
            None => false,
        }
    }

    /// Whether a tool was approved as one that only reads, and is still that.
    pub(super) fn only_reads(&self, tool: &str, observed: Option<&[u8; 32]>) -> bool {
        self.tools.get(tool).is_some_and(|entry| entry.read_only && entry.is_as_approved(observed))
    }

    /// Whether a tool was approved as one that only reads, whatever has become of it.
    pub(super) fn was_to_read(&self, tool: &str) -> bool {
        self.tools.get(tool).is_some_and(|entry| entry.read_only)
    }

    /// The templates that a resource may be made by.
    fn templates_of(&self, item: Item<'_>) -> impl Iterator<Item = &CatalogEntry> {
        let templates = (item.kind == Kind::Resource).then_some(&self.templates).into_iter();
        let templates = templates.flat_map(|templates| templates.iter());
        templates.filter(move |(template, _)| Pattern::can_make(template, item.name)).map(|(_, entry)| entry)
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
        self.catalog.is_some_and(|catalog| !catalog.is_approved(item, Some(digest)))
    }
}

impl CatalogEntry {
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
