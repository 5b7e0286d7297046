//! Access: whether an agent may use something of a server. Both planes ask here, so that what a simulation says, what a
//! list shows and what a call gets cannot differ.
//!
//! Invariant: a decision depends on the [`Book`] and the [`Attempt`] alone: no I/O, no clock, and no memory is asked for
//! but to read a condition's argument that is written with escapes. What nobody granted is refused, and a deny beats
//! every allow.

mod catalog;
mod condition;
mod grant;
mod pointer;
mod read;
mod seen;

use std::{collections::HashMap, net::IpAddr};

use self::{
    catalog::Catalog,
    grant::{Fault, Holds, Rules},
};
pub use self::{
    catalog::CatalogEntry, condition::ConditionError, grant::Grant, pointer::PointerError, read::BookError, seen::Seen,
};
use crate::{AgentId, Name, Scope, TeamId};

/// Everything that a tenant's policy says of access, indexed.
#[derive(Debug, Default)]
pub struct Book {
    grants: Box<[Grant]>,
    agents: HashMap<AgentId, (TeamId, Rules)>,
    teams: HashMap<TeamId, Rules>,
    roles: HashMap<Box<str>, Rules>,
    /// What is no server of the policy is nobody's to use.
    servers: HashMap<Name, Catalog>,
    /// The tools of each toolset by server.
    toolsets: HashMap<Name, HashMap<Name, Box<[Box<str>]>>>,
}

/// Who asks, from where, with which token, and when.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// The agent.
    pub agent: AgentId,
    /// The role of the user that it acts for; none: it acts for itself.
    pub role: Option<&'a str>,
    /// What the token carries.
    pub token: &'a [Scope],
    /// Where the request comes from; none: that is not known, and could be anywhere.
    pub peer: Option<IpAddr>,
    /// Unix seconds.
    pub now: i64,
}

/// What somebody wants to use.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// Who.
    pub asker: Asker<'a>,
    /// Of which server.
    pub server: &'a Name,
    /// What of it.
    pub item: Item<'a>,
    /// With what; none: that is not known yet, as while listing, and could be anything.
    pub arguments: Option<&'a [u8]>,
    /// The digest of the definition that the server has given last; none: it has not been looked at.
    pub observed: Option<&'a [u8; 32]>,
}

/// Something that a server offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item<'a> {
    /// What it is.
    pub kind: Kind,
    /// The name of a tool or prompt, the URI of a resource, or a URI template. Of [`Kind::Other`] it does not matter.
    pub name: &'a str,
}

/// What a server's item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A tool.
    Tool,
    /// A prompt.
    Prompt,
    /// A resource.
    Resource,
    /// A template of resources.
    Template,
    /// What only comes with the whole server, as skills do.
    Other,
}

/// The grant that decided, and the scope of it that speaks of the item.
#[derive(Debug, Clone, Copy)]
pub struct Ruling<'b> {
    /// The grant.
    pub grant: &'b Grant,
    /// The scope.
    pub scope: &'b Scope,
}

/// Why something may not be used: the one thing that, changed alone, would let it pass or lead to the next reason.
#[derive(Debug, Clone, Copy)]
pub enum Refused<'b> {
    /// No grant speaks of it.
    NotGranted,
    /// A grant denies it.
    Denied(Ruling<'b>),
    /// The grant that allows it has run out.
    Expired(Ruling<'b>),
    /// The grant that allows it does so from other networks.
    OutsideNetwork(Ruling<'b>),
    /// The grant that allows it does so with other arguments.
    ConditionFailed {
        /// The grant.
        ruling: Ruling<'b>,
        /// JSON Pointer to the argument that it asks about.
        pointer: &'b str,
    },
    /// An administrator has blocked it.
    Blocked,
    /// Its server's definitions need approval, and what it is now was not approved.
    NotApproved,
    /// It is granted, but the token does not carry it: a new token would.
    NotInToken,
}

impl Attempt<'_> {
    /// The scope that names what is wanted and nothing else.
    #[must_use]
    pub fn scope(&self) -> Scope {
        match self.item.kind {
            Kind::Tool => Scope::tool(self.server, self.item.name),
            Kind::Prompt => Scope::prompt(self.server, self.item.name),
            Kind::Resource | Kind::Template => Scope::resource(self.server, self.item.name),
            Kind::Other => Scope::Server { server: self.server.clone() },
        }
    }
}

impl Book {
    /// Whether it may be used. Where the arguments or the peer are not known: whether it might be.
    ///
    /// # Errors
    /// The first reason against it. Whoever has no grant learns nothing of approvals, and nobody is sent for a token
    /// that would not do.
    pub fn decide<'b>(&'b self, attempt: &Attempt<'_>) -> Result<Ruling<'b>, Refused<'b>> {
        let ruling = self.granted(attempt)?;
        self.usable(attempt)?;
        let carried = attempt.asker.token.iter().any(|scope| self.names(scope, attempt, false));
        if carried { Ok(ruling) } else { Err(Refused::NotInToken) }
    }

    /// Whether any grant in force lets the agent use anything of the server, whatever the token carries.
    #[must_use]
    pub fn knows(&self, asker: &Asker<'_>, server: &Name) -> bool {
        self.rulings(asker, server).any(|ruling| !ruling.grant.deny && ruling.grant.holds(asker, None).perhaps())
    }

    /// Whether anything of this kind could be used of the server: where not, none of it is.
    #[must_use]
    pub fn deals_in(&self, asker: &Asker<'_>, server: &Name, kind: Kind) -> bool {
        let mut granted = false;
        for Ruling { grant, scope } in self.rulings(asker, server) {
            match grant.holds(asker, None) {
                Holds::Yes if grant.deny && is_all_of(scope, kind) => return false,
                Holds::Yes | Holds::Perhaps if !grant.deny && concerns(scope, kind) => granted = true,
                _ => {}
            }
        }
        granted && asker.token.iter().any(|scope| concerns(scope, kind) && self.reaches(scope, server))
    }

    /// What is known of an item by the catalog.
    #[must_use]
    pub fn catalogued(&self, server: &Name, item: Item<'_>) -> Option<&CatalogEntry> {
        self.servers.get(server)?.entry(item)
    }

    /// The grant that allows it, if none denies it.
    fn granted<'b>(&'b self, attempt: &Attempt<'_>) -> Result<Ruling<'b>, Refused<'b>> {
        let mut allowed = None;
        let mut nearest: Option<(Ruling<'b>, Fault<'b>)> = None;
        for ruling in self.rulings(&attempt.asker, attempt.server) {
            let Ruling { grant, scope } = ruling;
            if !self.names(scope, attempt, grant.deny) {
                continue;
            }
            match grant.holds(&attempt.asker, attempt.arguments) {
                Holds::Yes if grant.deny => return Err(Refused::Denied(ruling)),
                _ if grant.deny || allowed.is_some() => {}
                Holds::Yes | Holds::Perhaps => allowed = Some(ruling),
                Holds::No(fault) => {
                    if nearest.is_none_or(|(_, other)| fault.rank() > other.rank()) {
                        nearest = Some((ruling, fault));
                    }
                }
            }
        }
        allowed.ok_or(match nearest {
            None => Refused::NotGranted,
            Some((ruling, Fault::Expired)) => Refused::Expired(ruling),
            Some((ruling, Fault::Network)) => Refused::OutsideNetwork(ruling),
            Some((ruling, Fault::Condition(pointer))) => Refused::ConditionFailed { ruling, pointer },
        })
    }

    fn usable(&self, attempt: &Attempt<'_>) -> Result<(), Refused<'static>> {
        let Some(catalog) = self.servers.get(attempt.server) else { return Err(Refused::NotGranted) };
        if catalog.is_blocked(attempt.item) {
            Err(Refused::Blocked)
        } else if !catalog.is_approved(attempt.item, attempt.observed) {
            Err(Refused::NotApproved)
        } else {
            Ok(())
        }
    }

    /// Every scope of a grant that concerns the agent and the server: its own, its team's, and those of the user's role.
    fn rulings<'b>(&'b self, asker: &Asker<'_>, server: &Name) -> impl Iterator<Item = Ruling<'b>> {
        let server = self.servers.get(server).map(|catalog| catalog.number);
        let own = self.agents.get(&asker.agent);
        let of_team = own.and_then(|(team, _)| self.teams.get(team));
        // A role lets nobody in but those whom the tenant knows.
        let of_role = own.and(asker.role).and_then(|role| self.roles.get(role));
        let rules = [own.map(|(_, rules)| rules), of_team, of_role].into_iter().flatten();
        let rules = rules.flat_map(move |rules| server.map_or(&[][..], |server| rules.on(server)));
        rules.map(|rule| rule.of(&self.grants))
    }

    /// Whether the scope speaks of the item. Of a template's resources an allow speaks where it speaks of any, a deny
    /// where it speaks of all.
    fn names(&self, scope: &Scope, attempt: &Attempt<'_>, deny: bool) -> bool {
        let Attempt { server, item: Item { kind, name }, .. } = *attempt;
        match (scope, kind) {
            (Scope::Toolset { name: toolset }, Kind::Tool) => self.selects(toolset, server, name),
            _ if scope.server() != Some(server) => false,
            (Scope::Server { .. }, _) => true,
            (Scope::Tool { tool, .. }, Kind::Tool) => **tool == *name,
            (Scope::ReadOnly { .. }, Kind::Tool) => {
                // What has changed since it was approved is not what was approved, but it stays what was denied.
                let observed = attempt.observed.filter(|_| !deny);
                self.servers.get(server).is_some_and(|catalog| catalog.only_reads(name, observed))
            }
            (Scope::Resources { pattern, .. }, Kind::Template) if !deny => pattern.meets(name),
            (Scope::Tools { pattern, .. }, Kind::Tool)
            | (Scope::Prompts { pattern, .. }, Kind::Prompt)
            | (Scope::Resources { pattern, .. }, Kind::Resource | Kind::Template) => pattern.matches(name),
            _ => false,
        }
    }

    fn selects(&self, toolset: &Name, server: &Name, tool: &str) -> bool {
        let tools = self.toolsets.get(toolset).and_then(|servers| servers.get(server));
        tools.is_some_and(|tools| tools.binary_search_by(|own| (**own).cmp(tool)).is_ok())
    }

    /// Whether the scope speaks of anything of this server.
    fn reaches(&self, scope: &Scope, server: &Name) -> bool {
        match scope {
            Scope::Toolset { name } => self.toolsets.get(name).is_some_and(|servers| servers.contains_key(server)),
            _ => scope.server() == Some(server),
        }
    }
}

/// Whether a scope can speak of an item of this kind.
const fn concerns(scope: &Scope, kind: Kind) -> bool {
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

#[cfg(test)]
mod tests;
