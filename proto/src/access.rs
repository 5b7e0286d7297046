//! Access: whether an agent may use something of a server. Both planes ask here, so that what a simulation says, what a
//! list shows and what a call gets cannot differ.
//!
//! Invariant: a decision depends on the [`Book`] and the [`Attempt`] alone: no I/O, no clock, and no memory is asked for
//! but to read templates, URIs that are written in an unusual way, and the arguments that a condition is about. What
//! nobody granted is refused, and a deny beats every allow.

mod arguments;
mod catalog;
mod condition;
mod desk;
mod grant;
mod json;
mod pointer;
mod read;
mod seen;

use std::{collections::HashMap, net::IpAddr};

pub use self::{
    arguments::Arguments,
    catalog::{CatalogEntry, Section},
    condition::ConditionError,
    desk::Desk,
    grant::Grant,
    pointer::PointerError,
    read::BookError,
    seen::Seen,
};
use self::{catalog::Catalog, condition::Expressions, grant::Rules};
use crate::{AgentId, Name, Scope, TeamId};

/// Everything that a tenant's policy says of access, indexed.
#[derive(Debug, Default)]
pub struct Book {
    grants: Box<[Grant]>,
    agents: HashMap<AgentId, Member>,
    teams: HashMap<TeamId, Rules>,
    roles: HashMap<Box<str>, Rules>,
    /// What is no server of the policy is nobody's to use.
    servers: HashMap<Name, Catalog>,
    toolsets: HashMap<Name, Selections>,
    /// Those of its conditions, for the book that comes after it.
    expressions: Expressions,
}

/// An agent.
#[derive(Debug)]
struct Member {
    team: TeamId,
    rules: Rules,
    /// What others' grants do not name one by one they do not give it.
    is_held: bool,
}

/// The tools that a toolset selects of each server, sorted.
type Selections = HashMap<Name, Box<[Box<str>]>>;

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
    /// With what.
    pub arguments: Arguments<'a>,
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
    /// A grant to the agent's team, or to a role, allows it as one of many, and the agent is held to exact tools: a grant
    /// to the agent itself would do.
    NotExact(Ruling<'b>),
    /// An administrator has blocked it.
    Blocked,
    /// Its server's definitions need approval, and what it is now was not approved.
    NotApproved,
    /// The grant allows it, but the token does not carry it: a new token would.
    NotInToken(Ruling<'b>),
}

impl Item<'_> {
    /// The scope that names it, of this server, and nothing else.
    #[must_use]
    pub fn scope(&self, server: &Name) -> Scope {
        match self.kind {
            Kind::Tool => Scope::tool(server, self.name),
            Kind::Prompt => Scope::prompt(server, self.name),
            Kind::Resource | Kind::Template => Scope::resource(server, self.name),
            Kind::Other => Scope::Server { server: server.clone() },
        }
    }
}

impl Attempt<'_> {
    /// The scope that names what is wanted and nothing else.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.item.scope(self.server)
    }
}

impl Book {
    /// Whether it may be used. Where the arguments or the peer are not known: whether it might be.
    ///
    /// # Errors
    /// The first reason against it. Whoever has no grant learns nothing of approvals, and nobody is sent for a token
    /// that would not do.
    pub fn decide<'b>(&'b self, attempt: &Attempt<'_>) -> Result<Ruling<'b>, Refused<'b>> {
        let Attempt { asker, server, item, arguments, observed } = *attempt;
        self.desk(asker, server).decide(item, arguments, observed)
    }

    /// What this asker has to do with this server, looked up once for any number of items.
    #[must_use]
    pub fn desk<'b, 'a>(&'b self, asker: Asker<'a>, server: &'a Name) -> Desk<'b, 'a> {
        Desk::new(self, asker, server)
    }

    /// Whether anything is known of what the server offers.
    #[must_use]
    pub fn has_catalog(&self, server: &Name) -> bool {
        self.servers.get(server).is_some_and(|catalog| !catalog.is_empty())
    }

    /// What is known of a server's items of this kind.
    #[must_use]
    pub fn section(&self, server: &Name, kind: Kind) -> Section<'_> {
        Section { catalog: self.servers.get(server), kind }
    }

    /// What is known of an item by the catalog.
    #[must_use]
    pub fn catalogued(&self, server: &Name, item: Item<'_>) -> Option<&CatalogEntry> {
        self.servers.get(server)?.entry(item)
    }
}

#[cfg(test)]
mod tests;
