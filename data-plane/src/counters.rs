//! Where limits are counted: in the store that all data planes share, in leases that this one took from there, and here alone
//! while the store cannot be reached.
//!
//! - `leases.rs`: what was taken in advance, and goes back when it was not used.
//! - `alone.rs`: this data plane's share, while it can ask nobody.
//! - `refusals.rs`: what the store has just refused, so that it is not asked again at once.
//! - `settling.rs`: what calls came to, told the store together and off their clock.
//!
//! Invariant: a refused call is charged nowhere; what was charged in one place is settled in that one.

mod alone;
mod leases;
mod refusals;
mod settling;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tollgate_proto::TenantId;

use crate::{
    gateway::Gateway,
    policy::{Budget, Limit, Rate},
    store::{
        Admission, Charge, ChargedAt, Demand, Owner, Place, RingState, SessionId, Settled, Settlement, Spend, Spent,
        Store, StoreError, Verdict,
    },
    telemetry::metrics::{CountedAt, Metrics},
};

use self::{
    alone::Alone,
    leases::{Draw, LEASE_S, Leases},
    refusals::Refusals,
    settling::Settling,
};

/// How often leases that have run out are given back, and a store that is away is asked whether it is back.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// For how long a rate of a limit keeps what is charged, in seconds: what is leased is used for so long after it was charged.
#[must_use]
pub const fn window_s(limit: &Limit, rate: Rate) -> u32 {
    rate.window_s + if limit.is_leased { LEASE_S } else { 0 }
}

/// Everything that this data plane holds of limits.
#[derive(Debug, Default)]
pub struct Counters {
    leases: Leases,
    refusals: Refusals,
    alone: Alone,
    settling: Settling,
    /// Whether the store did not answer, and has not been told yet what was let through meanwhile.
    is_store_away: AtomicBool,
}

/// Who asks, and what it has to pass.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Whose session and counters they are.
    pub owner: Owner,
    /// The session, where the message belongs to one.
    pub session: Option<&'a SessionId>,
    /// Those that the demand is of.
    pub limits: &'a [&'a Limit],
    /// The same of its spends.
    pub budgets: &'a [Arc<Budget>],
    /// How many data planes share them.
    pub data_planes: u32,
    /// When it asks.
    pub now: Instant,
}

/// What became of a demand.
#[derive(Debug)]
pub struct Judged {
    /// What was asked for in the end: the same, or what is left of it while the store is away.
    pub demand: Demand,
    /// The answer to that.
    pub admission: Admission,
    counted: CountedAt,
}

/// What was charged for a call, and where.
#[derive(Debug)]
pub struct Taken {
    /// Whose counters they are.
    pub tenant: TenantId,
    charges: Vec<Charged>,
    /// Where it runs.
    pub places: Vec<Place>,
    /// What was taken of budgets.
    pub spends: Vec<Spend>,
    counted: CountedAt,
}

/// One charge, and in which slot of its ring it is.
#[derive(Debug)]
struct Charged {
    charge: Charge,
    slot: u64,
    is_leased: bool,
}

impl<'a> Request<'a> {
    fn limit(&self, charge: &Charge) -> Option<&'a Limit> {
        self.limits.iter().find(|limit| limit.id == charge.key.limit).copied()
    }
}

impl Judged {
    /// What has to be settled.
    #[must_use]
    pub fn taken(&self, request: Request<'_>) -> Taken {
        let charged = |(charge, slot): (&Charge, u64)| {
            let is_leased = request.limit(charge).is_some_and(|limit| limit.is_leased);
            Charged { charge: *charge, slot, is_leased }
        };
        let charges = self.demand.charges.iter().zip(self.admission.charged_at.slots()).map(charged);
        let (places, spends) = (self.demand.places.clone(), self.demand.spends.clone());
        Taken { tenant: request.owner.tenant, charges: charges.collect(), places, spends, counted: self.counted }
    }
}

impl Taken {
    /// The places alone, which are no longer held by this.
    #[must_use]
    pub fn take_places(&mut self) -> Self {
        let places = std::mem::take(&mut self.places);
        Self { tenant: self.tenant, charges: Vec::new(), places, spends: Vec::new(), counted: self.counted }
    }
}

impl Counters {
    /// Charges everything or nothing, and loads the session.
    ///
    /// # Errors
    /// When the store is away, and the message belongs to a session or a limit is not kept without it.
    pub async fn admit(
        &self,
        store: &Store,
        metrics: &Metrics,
        request: Request<'_>,
        demand: Demand,
    ) -> Result<Judged, StoreError> {
        let judged = match self.admit_together(store, request, &demand).await {
            Err(StoreError::Unavailable(reason)) => {
                let judged = self.alone.admit(request, &demand);
                // After that, so that what was let through is told in any case.
                self.is_store_away.store(true, Ordering::Relaxed);
                judged.ok_or_else(|| {
                    metrics.limits_not_judged();
                    StoreError::Unavailable(reason)
                })?
            }
            Err(error) => return Err(error),
            Ok((admission, counted)) => Judged { demand, admission, counted },
        };
        metrics.limits_judged(&judged.admission.verdict, judged.counted);
        Ok(judged)
    }

    /// From leases as far as they reach, and of the store for the rest, unless it has just refused that: in one round trip,
    /// or in two where the store has room for the call and none for what would be taken in advance.
    async fn admit_together(
        &self,
        store: &Store,
        request: Request<'_>,
        demand: &Demand,
    ) -> Result<(Admission, CountedAt), StoreError> {
        let tenant = request.owner.tenant;
        let mut draws = self.draw(request, demand);
        if let Some(refusal) = self.refused_again(request, demand, &draws) {
            self.return_drawn(tenant, demand, &draws);
            return Ok((together(demand, &draws, Some(refusal)), CountedAt::Remembered));
        }
        loop {
            let rest = rest_of(demand, &draws);
            if rest.is_empty() && request.session.is_none() {
                return Ok((together(demand, &draws, None), CountedAt::Lease));
            }
            let admission = match store.admit(request.owner, request.session, &rest).await {
                Ok(admission) => admission,
                Err(error) => {
                    self.return_drawn(tenant, demand, &draws);
                    return Err(error);
                }
            };
            match &admission.verdict {
                Verdict::Admitted => {
                    self.refusals.forget_what_is_asked(tenant, &rest);
                    self.keep_leases(request, &rest, &draws, &admission);
                }
                Verdict::Refused { .. } if ask_for_no_more(&mut draws) => continue,
                Verdict::Refused { .. } => {
                    // As late as it may have been said, so that nobody is told to come too early.
                    self.refusals.remember(tenant, &rest, &admission, request.now.max(Instant::now()));
                    self.return_drawn(tenant, demand, &draws);
                }
                Verdict::NotTested => self.return_drawn(tenant, demand, &draws),
            }
            return Ok((together(demand, &draws, Some(admission)), CountedAt::Store));
        }
    }

    /// The refusal of what leases do not cover, where the store need not be asked. Whether there is a session the store alone
    /// knows, and who has none is told that first.
    fn refused_again(&self, request: Request<'_>, demand: &Demand, draws: &[Draw]) -> Option<Admission> {
        if request.session.is_some() || self.refusals.is_empty() {
            return None;
        }
        let charges = demand.charges.iter().zip(draws).filter(|(_, draw)| matches!(draw, Draw::Ask { .. }));
        let charges = charges.map(|(charge, _)| *charge).collect();
        let uncovered = Demand { charges, places: demand.places.clone(), spends: demand.spends.clone() };
        self.refusals.judge(request.owner.tenant, &uncovered, request.now)
    }

    /// What can be had from leases, in the order of the charges, and what has to be asked for.
    fn draw(&self, request: Request<'_>, demand: &Demand) -> Vec<Draw> {
        let draw = |charge: &Charge| match request.limit(charge) {
            Some(limit) if limit.is_leased => {
                self.leases.draw(request.owner.tenant, charge, request.data_planes, request.now)
            }
            _ => Draw::Ask { in_advance: 0 },
        };
        demand.charges.iter().map(draw).collect()
    }

    fn return_drawn(&self, tenant: TenantId, demand: &Demand, draws: &[Draw]) {
        for (charge, draw) in demand.charges.iter().zip(draws) {
            if let Draw::Leased { slot, .. } = draw {
                self.give_back(tenant, charge.refund(*slot));
            }
        }
    }

    /// To the lease that it came from, or else to the store.
    fn give_back(&self, tenant: TenantId, refund: Settlement) {
        if !self.leases.take_back(tenant, &refund) {
            self.settling.add(tenant, vec![refund]);
        }
    }

    fn keep_leases(&self, request: Request<'_>, rest: &Demand, draws: &[Draw], admission: &Admission) {
        let tenant = request.owner.tenant;
        let asked = draws.iter().filter_map(|draw| match draw {
            Draw::Ask { in_advance } => Some(*in_advance),
            Draw::Leased { .. } => None,
        });
        let rings = admission.rings.iter().zip(admission.charged_at.slots());
        for ((in_advance, charge), (ring, slot)) in asked.zip(&rest.charges).zip(rings) {
            if in_advance > 0 {
                let replaced = self.leases.keep(tenant, charge, in_advance, slot, ring.remaining, request.now);
                self.settling.add(tenant, replaced.into_iter().collect());
            }
        }
    }

    /// Charges what it came to in the place of what was expected, where that is known now, and gives the places back. Off the
    /// caller's clock, and at once: who sends one call after the other has to find room.
    pub fn settle(
        &self,
        gateway: &Arc<Gateway>,
        taken: Taken,
        actual: impl Fn(&Charge) -> Option<u32>,
        spends: Vec<Spent>,
    ) {
        let Taken { tenant, charges, places, counted, .. } = taken;
        let settled = |is_leased| {
            let charges = charges.iter().filter(move |charged| charged.is_leased == is_leased);
            let settled = charges.filter_map(|Charged { charge, slot, .. }| {
                actual(charge).map(|actual| Settlement { charge: *charge, slot: *slot, actual })
            });
            settled.collect::<Vec<_>>()
        };
        if counted == CountedAt::Here {
            let charges = [settled(false), settled(true)].concat();
            self.alone.settle(tenant, Settled { charges: &charges, places: &places, spends: &spends });
            return;
        }
        self.settling.add(tenant, settled(true));
        let charges = settled(false);
        if charges.is_empty() && places.is_empty() && spends.is_empty() {
            return;
        }
        let held = Arc::clone(gateway);
        let settled = async move {
            let settled = Settled { charges: &charges, places: &places, spends: &spends };
            match held.store.settle(tenant, settled).await {
                Ok(()) => held.counters.refusals.forget_what_is_settled(tenant, settled),
                Err(error) => tracing::warn!(%error, "what a call was charged stays as it was expected"),
            }
        };
        // A call may be dropped when there is no runtime any more.
        if let Ok(runtime) = Handle::try_current() {
            gateway.calls.spawn_on(settled, &runtime);
        }
    }

    /// Whether the store answers again and knows what was let through without it.
    async fn is_store_back(&self, store: &Store) -> bool {
        store.ping().await.is_ok() && self.alone.tell(store).await.is_ok()
    }

    /// Whether the store did not answer, and has not come back since.
    #[must_use]
    pub fn is_store_away(&self) -> bool {
        self.is_store_away.load(Ordering::Relaxed)
    }
}

/// Tells the store what calls came to, gives back what was leased and not used, and asks a store that is away whether it is
/// back, until `stopped`; then tells it once more.
pub async fn keep_counters(gateway: Arc<Gateway>, stopped: CancellationToken) {
    let counters = &gateway.counters;
    tokio::join!(counters.settling.follow(&gateway.store, &counters.refusals, &stopped), look(&gateway, &stopped));
    for (tenant, unused) in counters.leases.end_all() {
        counters.settling.add(tenant, vec![unused]);
    }
    counters.settling.tell(&gateway.store, &counters.refusals).await;
}

async fn look(gateway: &Gateway, stopped: &CancellationToken) {
    let counters = &gateway.counters;
    while stopped.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
        for (tenant, unused) in counters.leases.end_those_over(Instant::now()) {
            counters.settling.add(tenant, vec![unused]);
        }
        counters.refusals.forget_what_is_old(Instant::now());
        if counters.is_store_away() && counters.is_store_back(&gateway.store).await {
            counters.is_store_away.store(false, Ordering::Relaxed);
            // Of what was let through since it was told.
            if counters.alone.has_something_to_tell() {
                counters.is_store_away.store(true, Ordering::Relaxed);
            }
        }
    }
}

/// What leases do not cover.
fn rest_of(demand: &Demand, draws: &[Draw]) -> Demand {
    let charges = demand.charges.iter().zip(draws).filter_map(|(charge, draw)| match draw {
        Draw::Ask { in_advance } => Some(Charge { cost: charge.cost.saturating_add(*in_advance), ..*charge }),
        Draw::Leased { .. } => None,
    });
    Demand { charges: charges.collect(), places: demand.places.clone(), spends: demand.spends.clone() }
}

/// Nothing in advance any more; false when nothing was.
fn ask_for_no_more(draws: &mut [Draw]) -> bool {
    let mut did = false;
    for draw in draws {
        if let Draw::Ask { in_advance } = draw {
            did |= std::mem::take(in_advance) > 0;
        }
    }
    did
}

/// The whole answer, in the order of the charges.
fn together(demand: &Demand, draws: &[Draw], rest: Option<Admission>) -> Admission {
    let rest = rest.unwrap_or_else(Admission::of_nothing);
    if rest.verdict == Verdict::NotTested {
        return rest;
    }
    let is_admitted = rest.verdict == Verdict::Admitted;
    let (mut asked, mut slots) = (rest.rings.iter(), rest.charged_at.slots());
    let (mut rings, mut charged_at) = (Vec::with_capacity(demand.charges.len()), Vec::new());
    for draw in draws {
        let (ring, slot) = match draw {
            Draw::Leased { slot, remaining } => {
                (RingState { remaining: *remaining, reset_s: 0, retry_after_s: 0 }, Some(*slot))
            }
            Draw::Ask { in_advance } => {
                let ring = asked.next().copied().unwrap_or(RingState { remaining: 0, reset_s: 0, retry_after_s: 0 });
                let ours = if is_admitted { *in_advance } else { 0 };
                (RingState { remaining: ring.remaining.saturating_add(ours), ..ring }, slots.next())
            }
        };
        rings.push(ring);
        charged_at.extend(slot.filter(|_| is_admitted));
    }
    Admission { rings, charged_at: ChargedAt::from_slots(charged_at), ..rest }
}
