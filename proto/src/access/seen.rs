//! What somebody may see of a server's list, to be compared with what they may see later.
//!
//! Invariant: where two are equal, the same offer of the server gives the same list.

use std::sync::Arc;

use super::{
    Arguments, Kind, Ruling,
    arguments::Reading,
    catalog::Entries,
    desk::{Desk, concerns},
    grant::Holds,
};
use crate::Scope;

/// What decides what of one kind is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    scopes: Vec<Said>,
    pinned: bool,
    entries: Vec<Arc<Entries>>,
}

/// One scope that has a say.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    voice: Voice,
    scope: Scope,
    /// The tools that it stands for, where it is a toolset's.
    tools: Box<[Box<str>]>,
}

/// Whether a scope allows, denies, or is carried by the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Voice {
    Allows,
    Denies,
    Carries,
}

impl Desk<'_, '_> {
    /// What decides what is seen of this kind; `None`: nothing is. Resources include templates.
    #[must_use]
    pub fn seen(&self, kind: Kind) -> Option<Seen> {
        let catalog = self.catalog.filter(|_| self.deals_in(kind))?;
        let arguments = Reading::of(kind, Arguments::Unknown);
        let voice = |Ruling { grant, scope }| match grant.holds(&self.asker, &arguments) {
            Holds::Yes if grant.deny => Some((Voice::Denies, scope)),
            Holds::Yes | Holds::Perhaps if !grant.deny => Some((Voice::Allows, scope)),
            _ => None,
        };
        let carried = self.asker.token.iter().filter(|scope| self.is_of_server(scope));
        let scopes = self.rulings().filter_map(voice).chain(carried.map(|scope| (Voice::Carries, scope)));
        let scopes = scopes.filter(|(_, scope)| concerns(scope, kind));
        let kinds = [Some(kind), (kind == Kind::Resource).then_some(Kind::Template)];
        let said =
            |(voice, scope): (Voice, &Scope)| Said { voice, scope: scope.clone(), tools: self.selected(scope).into() };
        Some(Seen {
            scopes: scopes.map(said).collect(),
            pinned: catalog.pinned,
            entries: kinds.into_iter().flatten().filter_map(|kind| catalog.entries(kind).cloned()).collect(),
        })
    }
}
