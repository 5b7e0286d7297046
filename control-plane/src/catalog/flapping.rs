//! Definitions that go back and forth, as behind a server of several versions: each swing would make every data plane take
//! the tenant's whole policy anew.
//!
//! Invariant: what waits is only ever what would let through more: what is to be held is held at once. What is remembered
//! is bounded by what changed within an hour.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use super::intake::List;

/// Who is quiet for so long is forgotten.
const REMEMBERED: Duration = Duration::from_secs(60 * 60);
/// Swings that cost nothing: a new version that is taken back.
const FREE: u32 = 2;
const WAIT_FIRST: Duration = Duration::from_secs(30);
const WAIT_MAX: Duration = Duration::from_secs(10 * 60);

/// How often each definition has changed the policy lately.
#[derive(Debug, Default)]
pub(super) struct Flapping(HashMap<(List, String), Swings>);

#[derive(Debug)]
struct Swings {
    count: u32,
    last: Instant,
}

impl Flapping {
    /// How long this one has to wait before it changes the policy again.
    pub(super) fn wait(&self, list: List, name: &str, now: Instant) -> Duration {
        let Some(swings) = self.0.get(&(list, name.to_owned())) else { return Duration::ZERO };
        let Some(over) = swings.count.checked_sub(FREE) else { return Duration::ZERO };
        let wait = WAIT_FIRST.saturating_mul(1 << over.min(16)).min(WAIT_MAX);
        (swings.last + wait).saturating_duration_since(now)
    }

    /// Notes that these have changed the policy.
    pub(super) fn note<'a>(&mut self, list: List, names: impl IntoIterator<Item = &'a str>, now: Instant) {
        self.0.retain(|_, swings| now.saturating_duration_since(swings.last) < REMEMBERED);
        for name in names {
            let swings = self.0.entry((list, name.to_owned())).or_insert(Swings { count: 0, last: now });
            swings.count = swings.count.saturating_add(1);
            swings.last = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use tollgate_proto::{ServerId, TenantId};

    use super::*;
    use crate::catalog::ItemKind;

    #[test]
    fn who_swings_more_often_waits_longer_until_an_hour_is_quiet() {
        let list = List { tenant: TenantId::new(), server: ServerId::new(), kind: ItemKind::Tool };
        let (mut flapping, begin) = (Flapping::default(), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..9 {
            waits.push(flapping.wait(list, "read", begin).as_secs());
            flapping.note(list, ["read"], begin);
        }
        assert_eq!(waits, [0, 0, 30, 60, 120, 240, 480, 600, 600]);
        assert_eq!(flapping.wait(list, "write", begin), Duration::ZERO, "another one");
        assert_eq!(flapping.wait(list, "read", begin + Duration::from_secs(590)).as_secs(), 10);
        flapping.note(list, ["write"], begin + REMEMBERED);
        assert_eq!(flapping.0.len(), 1);
    }
}
