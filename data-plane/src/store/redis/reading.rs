//! What is counted in Redis, as operators look at it.
//!
//! The store's id is a key beside the tenant's counters, made by whoever looks first: it goes where they go, through a
//! failover and to another node, which no id of a process does.
//!
//! Invariant: the id is read in the function that reads the counters.

use std::time::Duration;

use tollgate_proto::TenantId;
use uuid::Uuid;

use super::{Store, places_key, ring_key, unreadable};
use crate::store::{Look, Seen, StoreError, ring::Shape};

/// Nobody's call waits for it.
const PATIENCE: Duration = Duration::from_millis(500);
/// An id that nobody has read for so long is forgotten, in seconds.
const ID_S: u64 = 24 * 60 * 60;

impl Store {
    pub(in crate::store) async fn look(&self, tenant: TenantId, look: &Look) -> Result<Seen, StoreError> {
        let mut call = self.functions.look_at_limits.call();
        call.key(id_key(tenant)).arg(Uuid::new_v4().to_string()).arg(ID_S).arg(look.rings.len());
        for (ring, window_s) in &look.rings {
            let shape = Shape::of(*window_s);
            call.key(ring_key(tenant, *ring)).arg(shape.slot_s).arg(shape.slots);
        }
        for limit in &look.running {
            call.key(places_key(tenant, *limit));
        }
        let patience = self.deadline.max(PATIENCE);
        let (id, rings, running): (String, Vec<u64>, Vec<u32>) =
            self.run_within(patience, tenant, async |link| call.run(link).await).await?;
        Ok(Seen { store: id.parse().map_err(unreadable)?, rings, running })
    }
}

fn id_key(tenant: TenantId) -> String {
    format!("tg:{{{tenant}}}:store")
}
