//! What this data plane took of limits in advance, so that it need not ask for each call.
//!
//! A lease is charged to the store's ring at once and is good for [`LEASE_S`]; the ring of a leased limit keeps charges for so
//! much longer than the limit's window, so that what is used late cannot have left the window early. What is not used goes
//! back. So no window ever sees more than the limit, however many data planes lease.
//!
//! Invariant: a lease is used by this process' clock for no longer than since before it was asked for, and what is drawn from
//! it and what goes back are never more than what was charged.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tollgate_proto::TenantId;

use crate::store::{Charge, RingKey, Settlement};

/// How long a lease is good for, in seconds.
pub(super) const LEASE_S: u32 = 1;
const LEASE: Duration = Duration::from_secs(LEASE_S as u64);
/// Of a limit, all leases of one moment together hold no more than a tenth.
const SHARE: u32 = 10;
/// A lease that would cover fewer calls than this saves nothing.
const CALLS_MIN: u32 = 4;
/// One that was asked for and has not come in this time does not come.
const ASKED_FOR: Duration = Duration::from_millis(100);

/// The leases of all limits.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<HashMap<(TenantId, RingKey), Held>>);

/// Where a charge comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Draw {
    /// A lease that was charged in this slot.
    Leased {
        slot: u64,
        /// What is left, as far as this data plane knows.
        remaining: u32,
    },
    /// The store is to be asked, for so much more than the charge.
    Ask { in_advance: u32 },
}

/// What is known of one ring.
#[derive(Debug)]
struct Held {
    lease: Option<Lease>,
    /// What was wanted since then.
    wanted: u64,
    since: Instant,
    /// What was wanted in the time of a lease before that.
    pace: u64,
    asked_at: Option<Instant>,
}

#[derive(Debug)]
struct Lease {
    charge: Charge,
    slot: u64,
    units: u32,
    until: Instant,
    /// What the store had left when it was given.
    left_behind: u32,
}

impl Leases {
    /// Takes a charge from the ring's lease, or says what to ask for.
    pub(super) fn draw(&self, tenant: TenantId, charge: &Charge, data_planes: u32, now: Instant) -> Draw {
        let mut held = self.lock();
        let held = held.entry((tenant, charge.key)).or_insert_with(|| Held::new(now));
        held.want(charge.cost, now);
        if let Some(lease) = held.lease.as_mut().filter(|lease| lease.is_good(charge, now)) {
            lease.units -= charge.cost;
            return Draw::Leased { slot: lease.slot, remaining: lease.left_behind.saturating_add(lease.units) };
        }
        if held.asked_at.is_some_and(|asked_at| now.saturating_duration_since(asked_at) < ASKED_FOR) {
            return Draw::Ask { in_advance: 0 };
        }
        let share = charge.limit / (SHARE * data_planes.max(1));
        let size = u32::try_from(held.pace).unwrap_or(u32::MAX).min(share);
        if size < charge.cost.saturating_mul(CALLS_MIN) {
            return Draw::Ask { in_advance: 0 };
        }
        held.asked_at = Some(now);
        Draw::Ask { in_advance: size - charge.cost }
    }

    /// Keeps what was charged in advance. What it replaces is to be given back.
    pub(super) fn keep(
        &self,
        tenant: TenantId,
        charge: &Charge,
        units: u32,
        slot: u64,
        left_behind: u32,
        asked_at: Instant,
    ) -> Option<Settlement> {
        let mut held = self.lock();
        let held = held.entry((tenant, charge.key)).or_insert_with(|| Held::new(asked_at));
        let lease = Lease { charge: *charge, slot, units, until: asked_at + LEASE, left_behind };
        held.asked_at = None;
        held.lease.replace(lease).and_then(Lease::unused)
    }

    /// Puts back what was drawn; false when its lease is over.
    pub(super) fn take_back(&self, tenant: TenantId, refund: &Settlement) -> bool {
        let mut held = self.lock();
        let lease = held.get_mut(&(tenant, refund.charge.key)).and_then(|held| held.lease.as_mut());
        let lease = lease.filter(|lease| lease.slot == refund.slot);
        lease.map(|lease| lease.units = lease.units.saturating_add(refund.charge.cost)).is_some()
    }

    /// Ends those whose time is up; what was not used of them is to be given back.
    pub(super) fn end_those_over(&self, now: Instant) -> Vec<(TenantId, Settlement)> {
        let (mut held, mut unused) = (self.lock(), Vec::new());
        held.retain(|(tenant, _), held| {
            let over = held.lease.take_if(|lease| lease.until <= now);
            unused.extend(over.and_then(Lease::unused).map(|unused| (*tenant, unused)));
            held.lease.is_some() || now.saturating_duration_since(held.since) < 4 * LEASE
        });
        unused
    }

    /// Ends all of them.
    pub(super) fn end_all(&self) -> Vec<(TenantId, Settlement)> {
        let all = std::mem::take(&mut *self.lock());
        let unused = |held: Held| held.lease.and_then(Lease::unused);
        all.into_iter().filter_map(|((tenant, _), held)| Some((tenant, unused(held)?))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(TenantId, RingKey), Held>> {
        // Every change is complete before anything could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    const fn new(now: Instant) -> Self {
        Self { lease: None, wanted: 0, since: now, pace: 0, asked_at: None }
    }

    /// Counts what is wanted, to know how much that is in the time of a lease.
    fn want(&mut self, cost: u32, now: Instant) {
        let passed = now.saturating_duration_since(self.since);
        if passed >= LEASE {
            let leases = u64::try_from(passed.as_millis() / LEASE.as_millis()).unwrap_or(u64::MAX);
            (self.pace, self.wanted, self.since) = (self.wanted / leases, 0, now);
        }
        self.wanted = self.wanted.saturating_add(u64::from(cost));
        self.pace = self.pace.max(self.wanted);
    }
}

impl Lease {
    fn is_good(&self, charge: &Charge, now: Instant) -> bool {
        // Of a limit that has changed nothing more is drawn.
        let is_same = (self.charge.limit, self.charge.window_s) == (charge.limit, charge.window_s);
        is_same && now < self.until && self.units >= charge.cost
    }

    fn unused(self) -> Option<Settlement> {
        let charge = Charge { cost: self.units, ..self.charge };
        (self.units > 0).then(|| charge.refund(self.slot))
    }
}
