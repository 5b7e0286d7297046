//! What the store has just refused, so that an agent that asks again and again is answered here.
//!
//! A store that refuses shows its rings and what is spent of budgets. For [`KEPT`] after that a request is judged by those
//! first, with what it asks for itself and by the policy of its own moment; only what they have no room for is refused so, and
//! everything else the store is asked. What is known is forgotten when this data plane hears of something newer: that
//! something was admitted, or that something was settled.
//!
//! Whether a place among the calls that run is free is not known for a moment: nothing is refused by that.
//!
//! Invariant: nothing is admitted here, and nothing is refused of which the store was not asked everything within [`KEPT`]: so
//! whoever is refused hears what the store would have said, if nobody else has been there since.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tollgate_proto::{LimitId, TenantId};

use crate::store::{
    Admission, BudgetKey, Charge, ChargedAt, Demand, Loaded, Ring, RingKey, RingState, Settled, Verdict,
};

/// How long the store is not asked again.
const KEPT: Duration = Duration::from_secs(1);

/// What is known of what was asked: of each limit and budget once.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<HashMap<(TenantId, Asked), Known>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Asked {
    Ring(RingKey),
    Places(LimitId),
    Budget(BudgetKey),
}

#[derive(Debug)]
struct Known {
    told_at: Instant,
    what: What,
}

#[derive(Debug)]
enum What {
    Ring {
        ring: Ring,
        /// When it was told by the store's clock, in microseconds since the Unix epoch.
        at_us: u64,
    },
    /// How many calls run.
    Running(u32),
    /// Of a budget.
    Spent(u64),
}

impl Refusals {
    /// Whether nothing is known, which is so while nothing is refused.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// The refusal, if everything that is asked for is known, and it is known not to pass.
    pub(super) fn judge(&self, tenant: TenantId, demand: &Demand, now: Instant) -> Option<Admission> {
        let known = &mut *self.lock();
        let rings = demand.charges.iter().map(|charge| {
            let ring = known.get_mut(&(tenant, Asked::Ring(charge.key)))?;
            ring.state(charge, now)
        });
        let rings: Vec<_> = rings.collect::<Option<_>>()?;
        let of = |asked| known.get(&(tenant, asked)).filter(|known| known.is_fresh(now));
        let running = demand.places.iter().map(|place| of(Asked::Places(place.limit))?.running());
        let running = running.collect::<Option<_>>()?;
        let spent = demand.spends.iter().map(|spend| Some(spend.judge(Some(of(Asked::Budget(spend.key))?.spent()?))));
        let spent: Vec<_> = spent.collect::<Option<_>>()?;
        let verdict = Verdict::of(demand, &rings, Vec::new(), &spent);
        let is_refused = matches!(verdict, Verdict::Refused { .. });
        let (session, charged_at) = (Loaded::NotAsked, ChargedAt::default());
        is_refused.then_some(Admission { session, verdict, rings, running, spent, charged_at, shown: None })
    }

    /// Keeps what the store shows, which said so at `told_at` or before.
    pub(super) fn remember(&self, tenant: TenantId, demand: &Demand, refusal: &Admission, told_at: Instant) {
        let (Verdict::Refused { by, over, .. }, Some(shown)) = (&refusal.verdict, &refusal.shown) else { return };
        if by.is_empty() && over.is_empty() {
            return;
        }
        let rings = demand
            .charges
            .iter()
            .zip(&shown.rings)
            .map(|(charge, ring)| (Asked::Ring(charge.key), What::Ring { ring: ring.clone(), at_us: shown.at_us }));
        let places = demand.places.iter().zip(&refusal.running);
        let places = places.map(|(place, running)| (Asked::Places(place.limit), What::Running(*running)));
        let spends = demand.spends.iter().zip(&refusal.spent);
        let spends = spends.map(|(spend, state)| (Asked::Budget(spend.key), What::Spent(state.spent)));
        let told = rings.chain(places).chain(spends).map(|(asked, what)| ((tenant, asked), Known { told_at, what }));
        self.lock().extend(told);
    }

    /// Of what was admitted the store has less than it said.
    pub(super) fn forget_what_is_asked(&self, tenant: TenantId, admitted: &Demand) {
        let rings = admitted.charges.iter().map(|charge| Asked::Ring(charge.key));
        self.forget(tenant, rings.chain(admitted.spends.iter().map(|spend| Asked::Budget(spend.key))));
    }

    /// Of what is settled the store has another amount than it said: who waits for what comes back finds it.
    pub(super) fn forget_what_is_settled(&self, tenant: TenantId, settled: Settled<'_>) {
        let rings = settled.charges.iter().map(|settlement| Asked::Ring(settlement.charge.key));
        self.forget(tenant, rings.chain(settled.spends.iter().map(|spent| Asked::Budget(spent.key))));
    }

    /// Makes room.
    pub(super) fn forget_what_is_old(&self, now: Instant) {
        self.lock().retain(|_, known| known.is_fresh(now));
    }

    fn forget(&self, tenant: TenantId, what: impl Iterator<Item = Asked>) {
        let mut known = self.lock();
        if !known.is_empty() {
            what.for_each(|asked| drop(known.remove(&(tenant, asked))));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(TenantId, Asked), Known>> {
        // What a panic might leave behind is true for no longer than a moment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.told_at) < KEPT
    }

    /// The ring as this charge finds it now, if it is of the window that the charge asks about.
    fn state(&mut self, charge: &Charge, now: Instant) -> Option<RingState> {
        let (is_fresh, passed) = (self.is_fresh(now), now.saturating_duration_since(self.told_at));
        let What::Ring { ring, at_us } = &mut self.what else { return None };
        (is_fresh && ring.window_s() == charge.window_s).then(|| {
            // Less than a second has passed.
            let now_s = (*at_us + passed.as_micros() as u64) / 1_000_000;
            ring.roll(now_s);
            ring.state(charge, now_s)
        })
    }

    const fn running(&self) -> Option<u32> {
        if let What::Running(running) = self.what { Some(running) } else { None }
    }

    const fn spent(&self) -> Option<u64> {
        if let What::Spent(spent) = self.what { Some(spent) } else { None }
    }
}

#[cfg(test)]
mod tests;
