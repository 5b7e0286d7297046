//! Texts that were found to be no good token, and how much of that each address may make us find out.
//!
//! Invariant: both are bounded, whatever anybody sends: past a bound nothing more is remembered, and addresses beyond it
//! share one budget.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tollgate_proto::TenantId;

use super::cache::TokenDigest;
use crate::{policy::Tenant, refusal::TokenFault};

/// For how long a verdict is believed, in seconds.
const REMEMBERED_S: i64 = 10;
const REMEMBERED_MAX: usize = 16_384;
/// What an address may spend in a second: some 30 ms of a core.
const BUDGET: u32 = 500;
const ADDRESSES_MAX: usize = 16_384;

/// What it takes to find out whether a token is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effort {
    /// One signature.
    Verify,
    /// One question to the control plane.
    Introspect,
}

impl Effort {
    const fn cost(self) -> u32 {
        match self {
            Self::Verify => 1,
            Self::Introspect => 10,
        }
    }
}

/// Verdicts on what was no token of a tenant.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    verdicts: Mutex<HashMap<(TenantId, TokenDigest), Verdict>>,
    spent: Mutex<Spent>,
}

#[derive(Debug, Clone, Copy)]
struct Verdict {
    fault: TokenFault,
    until: i64,
    /// Of the policy that it was found under: a new one may bring the key.
    revision: u64,
}

/// What addresses have spent in one second.
#[derive(Debug, Default)]
struct Spent {
    second: i64,
    by: HashMap<IpAddr, u32>,
}

impl Strangers {
    /// What was found out about this text a moment ago.
    pub(super) fn verdict(&self, tenant: &Tenant, digest: TokenDigest, now: i64) -> Option<TokenFault> {
        let verdicts = self.verdicts();
        let verdict = verdicts.get(&(tenant.id, digest))?;
        (now < verdict.until && verdict.revision == tenant.revision).then_some(verdict.fault)
    }

    /// Remembers a verdict.
    pub(super) fn remember(&self, tenant: &Tenant, digest: TokenDigest, fault: TokenFault, now: i64) {
        let mut verdicts = self.verdicts();
        if verdicts.len() >= REMEMBERED_MAX {
            verdicts.retain(|_, verdict| now < verdict.until);
        }
        if verdicts.len() < REMEMBERED_MAX {
            let verdict = Verdict { fault, until: now.saturating_add(REMEMBERED_S), revision: tenant.revision };
            verdicts.insert((tenant.id, digest), verdict);
        }
    }

    /// Whether this address may make us find out about one more.
    pub(super) fn spend(&self, peer: IpAddr, effort: Effort, now: i64) -> bool {
        let mut spent = self.spent(now);
        let spent = spent.of(network(peer));
        if *spent + effort.cost() > BUDGET {
            return false;
        }
        *spent += effort.cost();
        true
    }

    /// A token that was good costs nothing, so that those who have many are not strangers.
    pub(super) fn give_back(&self, peer: IpAddr, effort: Effort, now: i64) {
        let mut spent = self.spent(now);
        let spent = spent.of(network(peer));
        *spent = spent.saturating_sub(effort.cost());
    }

    fn verdicts(&self) -> MutexGuard<'_, HashMap<(TenantId, TokenDigest), Verdict>> {
        // Entries are inserted whole, so a panic elsewhere leaves the map usable.
        self.verdicts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spent(&self, now: i64) -> MutexGuard<'_, Spent> {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        if spent.second != now {
            *spent = Spent { second: now, by: HashMap::new() };
        }
        spent
    }
}

impl Spent {
    fn of(&mut self, address: IpAddr) -> &mut u32 {
        let room = self.by.len() < ADDRESSES_MAX || self.by.contains_key(&address);
        self.by.entry(if room { address } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) }).or_default()
    }
}

/// Who commands one address of IPv6 commands its /64.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(peer) => peer.into(),
        IpAddr::V6(peer) => Ipv6Addr::from_bits(peer.to_bits() & !u128::from(u64::MAX)).into(),
    }
}
