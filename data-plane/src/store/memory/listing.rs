//! Sessions of this process as operators look at them.
//!
//! Invariant: as in Redis, what has expired is not there.

use tollgate_proto::{AgentId, SessionHandle, TenantId};

use super::{Store, bridge_leg};
use crate::store::{Kept, Leg, Listed, Listing, SESSION_IDLE_S, UpstreamKey, listing::handle_of_session};

impl Store {
    pub(in crate::store) fn sessions(
        &self,
        tenant: TenantId,
        before: Option<SessionHandle>,
        agent: Option<AgentId>,
        count_max: usize,
    ) -> Listing {
        let mut found = self.all_of(tenant);
        found.retain(|listed| before.is_none_or(|before| listed.handle < before));
        found.sort_unstable_by_key(|listed| std::cmp::Reverse(listed.handle));
        let more = found.len() > count_max;
        found.truncate(count_max);
        let reached = found.last().filter(|_| more).map(|last| last.handle);
        found.retain(|listed| agent.is_none_or(|agent| listed.kept.owner().agent == agent));
        Listing { found, reached }
    }

    pub(in crate::store) fn session(&self, tenant: TenantId, handle: SessionHandle) -> Option<Listed> {
        self.all_of(tenant).into_iter().find(|listed| listed.handle == handle)
    }

    pub(in crate::store) fn remove_bridge_leg(&self, key: &UpstreamKey, leg: &Leg) -> bool {
        let (mut state, now_s) = self.lock();
        let key = (key.owner, key.server, key.fingerprint.clone());
        let is_there = state.bridge_legs.get(&key).is_some_and(|held| held.is_kept(now_s) && held.leads_to(leg));
        is_there && state.bridge_legs.remove(&key).is_some()
    }

    fn all_of(&self, tenant: TenantId) -> Vec<Listed> {
        let (state, now_s) = self.lock();
        let sessions = state.sessions.iter().filter(|(owner, _)| owner.tenant == tenant).flat_map(|(_, all)| all);
        let sessions = sessions.filter(|(_, held)| held.is_live(now_s)).map(|(id, held)| Listed {
            handle: handle_of_session(id, &held.session),
            kept: Kept::Session(*id, held.session.clone()),
            last_used_at_s: held.idle_until_s - SESSION_IDLE_S,
            expires_at_s: held.idle_until_s.min(held.ends_s),
        });
        let upstream = state.bridge_legs.iter().filter(|((owner, ..), _)| owner.tenant == tenant);
        let upstream = upstream.filter(|(_, held)| held.is_live(now_s)).map(bridge_leg::listed);
        sessions.chain(upstream).collect()
    }
}
