//! Upstream sessions of modern agents, and the marks of waiting calls, of this process.
//!
//! Invariant: as in Redis, what has expired is not there.

use tollgate_proto::{ServerId, SessionHandle, TenantId};
use uuid::Uuid;

use super::Store;
use crate::{
    mcp::level::Level,
    store::{
        BridgeLeg, Kept, Leg, Listed, MailboxId, Owner, SESSION_GRACE_S, SESSION_IDLE_S, UpstreamKey,
        listing::handle_of_upstream,
    },
};

/// Which upstream session: of whom, where, and with which capabilities.
pub(super) type BridgeKey = (Owner, ServerId, String);

/// A mark, by its owner.
pub(super) type MarkKey = (Owner, Mark);

/// What is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Mark {
    /// A data plane reads the stream of this waiting call.
    Held(MailboxId),
    /// The answers of this round were taken.
    Claimed(MailboxId, u32),
    /// This one is a member.
    Member(MailboxId, Uuid),
}

#[derive(Debug)]
pub(super) struct Held {
    handle: SessionHandle,
    bridge: BridgeLeg,
    until_s: u64,
}

/// As operators look at it.
pub(super) fn listed(((owner, server, fingerprint), held): (&BridgeKey, &Held)) -> Listed {
    let key = UpstreamKey { owner: *owner, server: *server, fingerprint: fingerprint.clone() };
    Listed {
        handle: held.handle,
        kept: Kept::Upstream(key, held.bridge.clone()),
        last_used_at_s: held.until_s - SESSION_IDLE_S,
        expires_at_s: held.until_s,
    }
}

impl Held {
    /// Whether nobody may end it yet.
    pub(super) const fn is_live(&self, now_s: u64) -> bool {
        now_s < self.until_s
    }

    /// Whether it is there: until somebody ends it, or nobody did for long.
    pub(super) const fn is_kept(&self, now_s: u64) -> bool {
        now_s < self.until_s + SESSION_GRACE_S
    }

    pub(super) fn leads_to(&self, leg: &Leg) -> bool {
        self.bridge.leg == *leg
    }
}

impl Store {
    pub(in crate::store) fn bridge_leg(&self, owner: Owner, server: ServerId, fingerprint: &str) -> Option<BridgeLeg> {
        let (mut state, now_s) = self.lock();
        let held = state.bridge_legs.get_mut(&(owner, server, fingerprint.to_owned()))?;
        if !held.is_kept(now_s) {
            return None;
        }
        held.until_s = now_s + SESSION_IDLE_S;
        Some(held.bridge.clone())
    }

    pub(in crate::store) fn put_bridge_leg(
        &self,
        owner: Owner,
        server: ServerId,
        fingerprint: &str,
        new: &BridgeLeg,
        replaced: Option<&Leg>,
    ) -> Option<BridgeLeg> {
        let (mut state, now_s) = self.lock();
        let key = (owner, server, fingerprint.to_owned());
        let found = state.bridge_legs.get(&key).filter(|held| held.is_kept(now_s));
        if let Some(other) = found.filter(|held| Some(&held.bridge.leg) != replaced) {
            return Some(other.bridge.clone());
        }
        let named = UpstreamKey { owner, server, fingerprint: fingerprint.to_owned() };
        let handle = handle_of_upstream(&named, &new.leg, now_s * 1_000);
        state.bridge_legs.insert(key, Held { handle, bridge: new.clone(), until_s: now_s + SESSION_IDLE_S });
        None
    }

    pub(in crate::store) fn expired_bridge_legs(
        &self,
        tenant: TenantId,
        count_max: usize,
    ) -> Vec<(Owner, ServerId, Leg)> {
        let (mut state, now_s) = self.lock();
        let held =
            state.bridge_legs.iter().filter(|((owner, ..), held)| owner.tenant == tenant && !held.is_live(now_s));
        let over: Vec<BridgeKey> = held.map(|(key, _)| key.clone()).take(count_max).collect();
        let taken = over.into_iter().filter_map(|key| {
            let held = state.bridge_legs.remove(&key)?;
            Some((key.0, key.1, held.bridge.leg))
        });
        taken.collect()
    }

    pub(in crate::store) fn set_bridge_level(
        &self,
        owner: Owner,
        server: ServerId,
        fingerprint: &str,
        leg: &Leg,
        level: Level,
    ) {
        let (mut state, now_s) = self.lock();
        let held = state.bridge_legs.get_mut(&(owner, server, fingerprint.to_owned()));
        if let Some(held) = held.filter(|held| held.is_kept(now_s) && held.bridge.leg == *leg) {
            held.bridge.level = Some(level);
        }
    }

    pub(in crate::store) fn hold(&self, owner: Owner, call: MailboxId, ttl_s: u64) {
        let (mut state, now_s) = self.lock();
        state.marks.insert((owner, Mark::Held(call)), now_s + ttl_s);
    }

    pub(in crate::store) fn release(&self, owner: Owner, call: MailboxId) {
        self.lock().0.marks.remove(&(owner, Mark::Held(call)));
    }

    pub(in crate::store) fn is_held(&self, owner: Owner, call: MailboxId) -> bool {
        let (state, now_s) = self.lock();
        state.marks.get(&(owner, Mark::Held(call))).is_some_and(|until_s| now_s < *until_s)
    }

    pub(in crate::store) fn lease(&self, owner: Owner, what: MailboxId, by: Uuid, ttl_s: u64) -> bool {
        let (mut state, now_s) = self.lock();
        let (holder, until_s) = state.leases.entry((owner, what)).or_insert((by, 0));
        let free = *holder == by || now_s >= *until_s;
        if free {
            (*holder, *until_s) = (by, now_s + ttl_s);
        }
        free
    }

    pub(in crate::store) fn end_lease(&self, owner: Owner, what: MailboxId, by: Uuid) {
        let (mut state, _) = self.lock();
        if state.leases.get(&(owner, what)).is_some_and(|(holder, _)| *holder == by) {
            state.leases.remove(&(owner, what));
        }
    }

    pub(in crate::store) fn join(&self, owner: Owner, what: MailboxId, member: Uuid, ttl_s: u64) {
        let (mut state, now_s) = self.lock();
        state.marks.insert((owner, Mark::Member(what, member)), now_s + ttl_s);
    }

    pub(in crate::store) fn leave(&self, owner: Owner, what: MailboxId, member: Uuid) -> u64 {
        let (mut state, now_s) = self.lock();
        state.marks.remove(&(owner, Mark::Member(what, member)));
        let is_other = |(of, mark): &MarkKey| *of == owner && matches!(mark, Mark::Member(of, _) if *of == what);
        state.marks.iter().filter(|(key, until_s)| is_other(key) && now_s < **until_s).count() as u64
    }

    pub(in crate::store) fn claim(&self, owner: Owner, call: MailboxId, round: u32, ttl_s: u64) -> bool {
        let (mut state, now_s) = self.lock();
        let stands_until_s = state.marks.entry((owner, Mark::Claimed(call, round))).or_default();
        let first = now_s >= *stands_until_s;
        if first {
            *stands_until_s = now_s + ttl_s;
        }
        first
    }
}
