//! What somebody may see of a server's list, to be compared with what they may see later.
//!
//! Invariant: where two are equal, the same offer of the server gives the same list.

use std::sync::Arc;

use super::{Asker, Book, Kind, Ruling, catalog::Entries, concerns, grant::Holds};
use crate::{Name, Scope};

/// What decides what of one kind is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Whether they allow, deny, or are carried by the token; and which tools they stand for where they are toolsets'.
    scopes: Vec<(Voice, Scope, Box<[Box<str>]>)>,
    pinned: bool,
    entries: Vec<Arc<Entries>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Voice {
    Allows,
    Denies,
    Carries,
}

impl Book {
    /// What decides what is seen of this kind; `None`: nothing is. Resources include templates.
    #[must_use]
    pub fn seen(&self, asker: &Asker<'_>, server: &Name, kind: Kind) -> Option<Seen> {
        if !self.deals_in(asker, server, kind) {
            return None;
        }
        let voice = |Ruling { grant, scope }: Ruling<'_>| match grant.holds(asker, None) {
            Holds::Yes if grant.deny => Some((Voice::Denies, scope.clone())),
            Holds::Yes | Holds::Perhaps if !grant.deny => Some((Voice::Allows, scope.clone())),
            _ => None,
        };
        let granted = self.rulings(asker, server).filter_map(voice);
        let carried = asker.token.iter().filter(|scope| self.reaches(scope, server)).cloned();
        let scopes = granted.chain(carried.map(|scope| (Voice::Carries, scope)));
        let scopes = scopes.filter(|(_, scope)| concerns(scope, kind)).map(|(voice, scope)| {
            let tools = scope.toolset().and_then(|name| self.toolsets.get(name)?.get(server));
            let tools = tools.cloned().unwrap_or_default();
            (voice, scope, tools)
        });
        let scopes = scopes.collect();
        let catalog = self.servers.get(server);
        let kinds = [Some(kind), (kind == Kind::Resource).then_some(Kind::Template)];
        let entries =
            catalog.into_iter().flat_map(|it| kinds.into_iter().flatten().filter_map(|kind| it.entries(kind)));
        let entries = entries.cloned().collect();
        Some(Seen { scopes, pinned: catalog.is_some_and(|catalog| catalog.pinned), entries })
    }
}
