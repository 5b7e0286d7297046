//! What is counted in this process, as operators look at it.
//!
//! Invariant: as in Redis, what nobody charged is empty, and looking leaves nothing behind.

use tollgate_proto::TenantId;

use super::Store;
use crate::store::{Look, Seen, ring::Shape};

impl Store {
    pub(in crate::store) fn look(&self, tenant: TenantId, look: &Look) -> Seen {
        let (state, now_s) = self.lock();
        let rings = look.rings.iter().map(|(key, window_s)| {
            let ring = state.rings.get(&(tenant, *key)).filter(|ring| ring.shape() == Shape::of(*window_s));
            ring.map_or(0, |ring| ring.sum_at(now_s))
        });
        let running = look.running.iter().map(|limit| {
            let running = state.running.get(&(tenant, *limit)).into_iter().flat_map(|running| running.values());
            // No more than a limit.
            running.filter(|until_s| now_s < **until_s).count() as u32
        });
        Seen { store: self.id, rings: rings.collect(), running: running.collect() }
    }
}
