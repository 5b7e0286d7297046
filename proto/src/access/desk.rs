//! What one asker has to do with one server: whatever does not depend on the item, looked up once.
//!
//! Invariant: a list that was filtered here shows what a call would be decided by the same lines.

use std::borrow::Cow;

use super::{
    Arguments, Asker, Book, Item, Kind, Refused, Ruling,
    arguments::Reading,
    catalog::Catalog,
    grant::{Fault, Holds, Rule},
};
use crate::{Name, Pattern, Scope, normal_uri};

/// One asker at one server.
#[derive(Debug, Clone, Copy)]
pub struct Desk<'b, 'a> {
    pub(super) book: &'b Book,
    pub(super) asker: Asker<'a>,
    pub(super) server: &'a Name,
    pub(super) catalog: Option<&'b Catalog>,
    /// The agent's own, its team's, and those of the user's role.
    rules: [&'b [Rule]; 3],
    /// The agent is held to exact tools.
    is_held: bool,
}

/// Something that a server offers, as scopes speak of it.
struct Sought<'i> {
    kind: Kind,
    name: Cow<'i, str>,
    /// The URIs that a template makes.
    made: Option<Pattern>,
}

impl<'b, 'a> Desk<'b, 'a> {
    pub(super) fn new(book: &'b Book, asker: Asker<'a>, server: &'a Name) -> Self {
        let catalog = book.servers.get(server);
        let (mut rules, mut is_held) = ([&[][..]; 3], false);
        // A role lets nobody in but those whom the tenant knows.
        if let (Some(Catalog { number, .. }), Some(member)) = (catalog, book.agents.get(&asker.agent)) {
            let of_role = asker.role.and_then(|role| book.roles.get(role));
            let all = [Some(&member.rules), book.teams.get(&member.team), of_role];
            rules = all.map(|rules| rules.map_or(&[][..], |rules| rules.on(*number)));
            is_held = member.is_held;
        }
        Self { book, asker, server, catalog, rules, is_held }
    }

    /// As [`Book::decide`].
    ///
    /// # Errors
    /// As [`Book::decide`].
    pub fn decide(
        &self,
        item: Item<'_>,
        arguments: Arguments<'_>,
        observed: Option<&[u8; 32]>,
    ) -> Result<Ruling<'b>, Refused<'b>> {
        let sought = &Sought::of(item);
        let ruling = self.granted(sought, &Reading::of(item.kind, arguments), observed)?;
        self.catalog.ok_or(Refused::NotGranted)?.permits(item, observed)?;
        let is_carried = self.asker.token.iter().any(|scope| self.names(scope, sought, observed, false));
        if is_carried { Ok(ruling) } else { Err(Refused::NotInToken(ruling)) }
    }

    /// Whether any grant in force lets the agent use anything of the server, whatever the token carries.
    #[must_use]
    pub fn knows(&self) -> bool {
        self.rulings().any(|ruling| !ruling.grant.deny && ruling.grant.holds(&self.asker, &Reading::Unknown).perhaps())
    }

    /// Whether anything at all could be used of the server.
    #[must_use]
    pub fn deals(&self) -> bool {
        [Kind::Tool, Kind::Prompt, Kind::Resource, Kind::Other].into_iter().any(|kind| self.deals_in(kind))
    }

    /// Whether anything of this kind could be used of the server: where not, none of it is.
    #[must_use]
    pub fn deals_in(&self, kind: Kind) -> bool {
        let arguments = Reading::of(kind, Arguments::Unknown);
        let mut is_granted = false;
        for Ruling { grant, scope } in self.rulings() {
            match grant.holds(&self.asker, &arguments) {
                Holds::Yes if grant.deny && is_all_of(scope, kind) => return false,
                Holds::Yes | Holds::Perhaps if !grant.deny && concerns(scope, kind) => is_granted = true,
                _ => {}
            }
        }
        is_granted && self.asker.token.iter().any(|scope| concerns(scope, kind) && self.is_of_server(scope))
    }

    /// Every scope of a grant that counts for the asker and concerns the server.
    pub(super) fn rulings(&self) -> impl Iterator<Item = Ruling<'b>> {
        self.all_rulings().filter_map(|(ruling, counts)| counts.then_some(ruling))
    }

    /// Every scope of a grant that concerns the asker and the server, and whether it counts: of grants to others, a team
    /// or a role, who is held to exact tools gets what these name one by one.
    fn all_rulings(&self) -> impl Iterator<Item = (Ruling<'b>, bool)> {
        let (book, is_held) = (self.book, self.is_held);
        let [own, others @ ..] = self.rules;
        let own = own.iter().map(|rule| (rule.of(&book.grants), true));
        let others = others.into_iter().flatten().map(move |rule| {
            let ruling = rule.of(&book.grants);
            (ruling, !is_held || ruling.grant.deny || ruling.scope.is_exact())
        });
        own.chain(others)
    }

    /// Whether the scope speaks of anything of this server.
    pub(super) fn is_of_server(&self, scope: &Scope) -> bool {
        match scope {
            Scope::Toolset { .. } => !self.selected(scope).is_empty(),
            _ => scope.server() == Some(self.server),
        }
    }

    /// The tools of this server that a toolset's scope stands for, sorted; none for another scope.
    pub(super) fn selected(&self, scope: &Scope) -> &'b [Box<str>] {
        let toolset = scope.toolset().and_then(|name| self.book.toolsets.get(name));
        toolset.and_then(|servers| servers.get(self.server)).map_or(&[], |tools| &**tools)
    }

    /// The grant that allows it, if none denies it.
    fn granted(
        &self,
        sought: &Sought<'_>,
        arguments: &Reading<'_>,
        observed: Option<&[u8; 32]>,
    ) -> Result<Ruling<'b>, Refused<'b>> {
        let mut allowed = None;
        let mut nearest: Option<(Ruling<'b>, Fault<'b>)> = None;
        for (ruling, counts) in self.all_rulings() {
            let Ruling { grant, scope } = ruling;
            if !self.names(scope, sought, observed, grant.deny) {
                continue;
            }
            let fault = match grant.holds(&self.asker, arguments) {
                Holds::Yes if grant.deny => return Err(Refused::Denied(ruling)),
                _ if grant.deny || allowed.is_some() => continue,
                Holds::Yes | Holds::Perhaps if counts => {
                    allowed = Some(ruling);
                    continue;
                }
                Holds::Yes | Holds::Perhaps => Fault::NotExact,
                Holds::No(fault) => fault,
            };
            if nearest.is_none_or(|(_, other)| fault.rank() > other.rank()) {
                nearest = Some((ruling, fault));
            }
        }
        allowed.ok_or(match nearest {
            None => Refused::NotGranted,
            Some((ruling, Fault::Expired)) => Refused::Expired(ruling),
            Some((ruling, Fault::Network)) => Refused::OutsideNetwork(ruling),
            Some((ruling, Fault::Condition(pointer))) => Refused::ConditionFailed { ruling, pointer },
            Some((ruling, Fault::NotExact)) => Refused::NotExact(ruling),
        })
    }

    /// Whether the scope speaks of the item. Of a template's resources an allow speaks where it speaks of any, a deny
    /// where it speaks of all.
    fn names(&self, scope: &Scope, sought: &Sought<'_>, observed: Option<&[u8; 32]>, deny: bool) -> bool {
        let Sought { kind, name, made } = sought;
        let name = &**name;
        match (scope, kind) {
            (Scope::Toolset { .. }, Kind::Tool) => {
                self.selected(scope).binary_search_by(|own| (**own).cmp(name)).is_ok()
            }
            _ if scope.server() != Some(self.server) => false,
            (Scope::Server { .. }, _) => true,
            (Scope::Tool { tool, .. }, Kind::Tool) => **tool == *name,
            (Scope::ReadOnly { .. }, Kind::Tool) => {
                // What has changed since it was approved is not what was approved, but it stays what was denied.
                self.catalog.is_some_and(|of| if deny { of.was_to_read(name) } else { of.only_reads(name, observed) })
            }
            (Scope::Resources { pattern, .. }, Kind::Template) => {
                made.as_ref().is_some_and(|made| if deny { pattern.covers(made) } else { pattern.meets(made) })
            }
            (Scope::Tools { pattern, .. }, Kind::Tool)
            | (Scope::Prompts { pattern, .. }, Kind::Prompt)
            | (Scope::Resources { pattern, .. }, Kind::Resource) => pattern.matches(name),
            _ => false,
        }
    }
}

impl<'i> Sought<'i> {
    fn of(item: Item<'i>) -> Self {
        let Item { kind, name } = item;
        let made = (kind == Kind::Template).then(|| Pattern::template(name));
        Self { kind, name: if kind == Kind::Resource { normal_uri(name) } else { name.into() }, made }
    }
}

/// Whether a scope can speak of an item of this kind.
pub(super) const fn concerns(scope: &Scope, kind: Kind) -> bool {
    match scope {
        Scope::Server { .. } => true,
        Scope::Tool { .. } | Scope::Tools { .. } | Scope::ReadOnly { .. } | Scope::Toolset { .. } => {
            matches!(kind, Kind::Tool)
        }
        Scope::Prompts { .. } => matches!(kind, Kind::Prompt),
        Scope::Resources { .. } => matches!(kind, Kind::Resource | Kind::Template),
    }
}

/// Whether a scope speaks of every item of this kind that a server can have.
fn is_all_of(scope: &Scope, kind: Kind) -> bool {
    match scope {
        Scope::Server { .. } => true,
        Scope::Prompts { pattern, .. } | Scope::Resources { pattern, .. } => {
            concerns(scope, kind) && pattern.is_anything()
        }
        _ => false,
    }
}
