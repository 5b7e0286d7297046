//! Grants as they are decided by, and the rules that they come to for one agent, team or role.
//!
//! Invariant: the rules about one server stand together, in the order of the grants.

use ipnet::IpNet;

use super::{Asker, Ruling, arguments::Reading, condition::Condition};
use crate::{GrantId, Scope, policy::v1::DenyAs};

/// Scopes that are allowed or denied.
#[derive(Debug)]
pub struct Grant {
    /// Its id.
    pub id: GrantId,
    /// Its name.
    pub name: Box<str>,
    /// Denies what it speaks of, whatever else allows it.
    pub deny: bool,
    /// How a limit or a budget turns away a tool call that it permits.
    pub deny_as: DenyAs,
    pub(super) scopes: Box<[Scope]>,
    /// Unix seconds from which it is void; `i64::MAX`: never.
    pub(super) expires_at: i64,
    /// Most grants have none.
    pub(super) terms: Option<Box<Terms>>,
}

/// When a grant counts.
#[derive(Debug)]
pub(super) struct Terms {
    /// All must hold.
    pub(super) conditions: Box<[Condition]>,
    /// One must be where the request comes from; none: anywhere.
    pub(super) networks: Box<[IpNet]>,
}

/// Whether a grant counts.
#[derive(Debug, Clone, Copy)]
pub(super) enum Holds<'b> {
    Yes,
    /// That depends on what is not known.
    Perhaps,
    No(Fault<'b>),
}

/// Why a grant does not count.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault<'b> {
    Expired,
    Network,
    /// A condition on the argument at this pointer.
    Condition(&'b str),
    /// It names no tool of its own, and is not written for an agent that is held to exact tools.
    NotExact,
}

/// What grants say to one agent, team or role.
#[derive(Debug, Default)]
pub(super) struct Rules(Box<[Rule]>);

/// One scope of one grant, about one server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    pub(super) server: u32,
    pub(super) grant: u32,
    pub(super) scope: u32,
}

impl Grant {
    /// What is asked of whoever relies on it: time before place before arguments.
    pub(super) fn holds(&self, asker: &Asker<'_>, arguments: &Reading<'_>) -> Holds<'_> {
        if asker.now >= self.expires_at {
            return Holds::No(Fault::Expired);
        }
        let Some(terms) = &self.terms else { return Holds::Yes };
        let mut is_sure = true;
        if !terms.networks.is_empty() {
            match asker.peer {
                // An IPv4-mapped address is the IPv4 address.
                Some(peer) if !terms.networks.iter().any(|network| network.contains(&peer.to_canonical())) => {
                    return Holds::No(Fault::Network);
                }
                peer => is_sure = peer.is_some(),
            }
        }
        match arguments {
            Reading::Known(arguments) => {
                if let Some(failed) = terms.conditions.iter().find(|condition| !condition.holds(arguments)) {
                    return Holds::No(Fault::Condition(failed.pointer()));
                }
            }
            Reading::Unknown => is_sure &= terms.conditions.is_empty(),
        }
        if is_sure { Holds::Yes } else { Holds::Perhaps }
    }
}

impl Holds<'_> {
    pub(super) const fn perhaps(self) -> bool {
        !matches!(self, Self::No(_))
    }
}

impl Fault<'_> {
    /// The higher, the less is left in the way.
    pub(super) const fn rank(self) -> u8 {
        match self {
            Self::Expired => 0,
            Self::Network => 1,
            Self::Condition(_) => 2,
            Self::NotExact => 3,
        }
    }
}

impl Rules {
    pub(super) fn new(mut rules: Vec<Rule>) -> Self {
        rules.sort_by_key(|rule| rule.server);
        Self(rules.into())
    }

    /// Those about a server.
    pub(super) fn on(&self, server: u32) -> &[Rule] {
        let start = self.0.partition_point(|rule| rule.server < server);
        let end = self.0[start..].partition_point(|rule| rule.server == server);
        &self.0[start..start + end]
    }
}

impl Rule {
    /// What it refers to among all grants.
    pub(super) fn of(self, grants: &[Grant]) -> Ruling<'_> {
        let grant = &grants[self.grant as usize];
        Ruling { grant, scope: &grant.scopes[self.scope as usize] }
    }
}
