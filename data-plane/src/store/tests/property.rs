//! Random histories of admissions and settlements, each decision compared with a brute-force log.

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use tollgate_proto::LimitId;

use super::{
    super::{Charge, ChargedAt, Meter, Owner, RingKey, RingState, Settled, Settlement, Verdict},
    demand,
    fixture::Fixture,
    owner,
};

const RINGS: usize = 3;
const WINDOWS_S: [u32; 7] = [1, 3, 30, 60, 61, 600, 3_600];

/// One step of a history.
#[derive(Debug, Clone)]
struct Step {
    advance_s: u64,
    /// What the request costs each ring; zero where the ring is not asked.
    costs: [u32; RINGS],
    /// Limits change now and then.
    limit_factor: u32,
    /// Whether the request, if it is admitted, is settled later; and whether it is time to settle one.
    is_open: bool,
    settle: bool,
    /// What it came to; zero where it was refused elsewhere.
    actual: u32,
}

/// A ring as a list of what was charged when.
#[derive(Debug, Clone)]
struct Log {
    charge: Charge,
    slot_s: u64,
    slots: u64,
    charged: Vec<(u64, u32)>,
}

impl Log {
    fn new(limit: u32, window_s: u32) -> Self {
        let slot_s = u64::from(window_s).div_ceil(64);
        let slots = u64::from(window_s).div_ceil(slot_s) + 1;
        let key = RingKey { limit: LimitId::new(), meter: Meter::Tokens };
        Self { charge: Charge { key, limit, window_s, cost: 0 }, slot_s, slots, charged: Vec::new() }
    }

    fn sum(&self, at_s: u64) -> u32 {
        let now = at_s / self.slot_s;
        self.charged.iter().filter(|(slot, _)| slot + self.slots > now).map(|(_, cost)| cost).sum()
    }

    /// The shortest wait from `now_s` after which `holds`, among the moments when a slot begins.
    fn wait_s(&self, now_s: u64, holds: impl Fn(u64) -> bool) -> u32 {
        let longest = (now_s / self.slot_s + self.slots) * self.slot_s - now_s;
        (1..longest).find(|wait_s| holds(now_s + wait_s)).unwrap_or(longest) as u32
    }

    fn has_room(&self, charge: &Charge, at_s: u64) -> bool {
        self.sum(at_s) + charge.cost <= charge.limit
    }

    fn state(&self, charge: &Charge, now_s: u64, admitted: bool) -> RingState {
        let sum = self.sum(now_s);
        let refuses = !admitted && !self.has_room(charge, now_s);
        RingState {
            remaining: charge.limit.saturating_sub(sum),
            reset_s: if sum < charge.limit { 0 } else { self.wait_s(now_s, |at_s| self.sum(at_s) < charge.limit) },
            retry_after_s: if refuses { self.wait_s(now_s, |at_s| self.has_room(charge, at_s)) } else { 0 },
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let advance = prop_oneof![6 => Just(0), 3 => 1..3_u64, 1 => prop::sample::select(vec![5, 20, 61, 130, 700, 4_000])];
    let costs = prop::array::uniform3(prop_oneof![1 => Just(0), 4 => 1..3_u32, 1 => 3..9_u32]);
    let factor = prop_oneof![8 => Just(4), 1 => 0..8_u32];
    let actual = prop_oneof![2 => Just(0), 3 => 1..9_u32, 1 => 20..80_u32];
    (advance, costs, factor, any::<bool>(), any::<bool>(), actual).prop_map(
        |(advance_s, costs, limit_factor, is_open, settle, actual)| Step {
            advance_s,
            costs,
            limit_factor,
            is_open,
            settle,
            actual,
        },
    )
}

fn history() -> impl Strategy<Value = (Vec<(u32, u32)>, Vec<Step>)> {
    let ring = (prop::sample::select(vec![3_u32, 10, 50]), prop::sample::select(WINDOWS_S.to_vec()));
    (prop::collection::vec(ring, RINGS), prop::collection::vec(step(), 1..120))
}

async fn replay(fixture: &Fixture, owner: Owner, rings: &[(u32, u32)], steps: &[Step]) -> Result<(), TestCaseError> {
    let mut logs: Vec<Log> = rings.iter().map(|&(limit, window_s)| Log::new(limit, window_s)).collect();
    let mut open: Vec<(Vec<usize>, Vec<Charge>, ChargedAt, u64)> = Vec::new();
    for step in steps {
        if step.advance_s > 0 {
            fixture.advance(step.advance_s).await;
        }
        let now_s = fixture.now_s();
        if step.settle
            && let Some((asked, charges, charged_at, charged_s)) = open.pop()
        {
            let settled = charges.iter().zip(charged_at.slots());
            let settled = settled.map(|(charge, slot)| Settlement { charge: *charge, slot, actual: step.actual });
            fixture
                .store
                .settle(owner.tenant, Settled::of(&settled.collect::<Vec<_>>()))
                .await
                .expect("the store answers");
            for (&ring, charge) in asked.iter().zip(&charges) {
                let log = &mut logs[ring];
                let entry = (charged_s / log.slot_s, charge.cost);
                log.charged.swap_remove(log.charged.iter().position(|found| *found == entry).expect("it was charged"));
                log.charged.push((now_s / log.slot_s, step.actual));
            }
        }
        let asked: Vec<usize> = (0..RINGS).filter(|&ring| step.costs[ring] > 0).collect();
        let charge_of = |ring: usize| {
            let charge = logs[ring].charge;
            Charge { cost: step.costs[ring], limit: charge.limit * step.limit_factor / 4, ..charge }
        };
        let charges: Vec<Charge> = asked.iter().map(|&ring| charge_of(ring)).collect();
        let admission = fixture.store.admit(owner, None, &demand(&charges)).await.expect("the store answers");
        let room = asked.iter().zip(&charges).all(|(&ring, charge)| logs[ring].has_room(charge, now_s));
        if room {
            for (&ring, charge) in asked.iter().zip(&charges) {
                let slot = now_s / logs[ring].slot_s;
                logs[ring].charged.push((slot, charge.cost));
            }
            if step.is_open {
                open.push((asked.clone(), charges.clone(), admission.charged_at.clone(), now_s));
            }
        }
        let states: Vec<RingState> =
            asked.iter().zip(&charges).map(|(&ring, charge)| logs[ring].state(charge, now_s, room)).collect();
        prop_assert_eq!(&admission.rings, &states);
        prop_assert_eq!(admission.verdict, Verdict::of(&demand(&charges), &states, Vec::new(), &[]));
        // Whoever goes on counting by what a store shows says what it would say.
        let shown = admission.shown.map(|shown| shown.rings).unwrap_or_default();
        for ((mut ring, charge), &asked) in shown.into_iter().zip(&charges).zip(&asked) {
            for at_s in now_s..=now_s + 1 {
                ring.roll(at_s);
                prop_assert_eq!(ring.state(charge, at_s), logs[asked].state(charge, at_s, false));
            }
        }
    }
    Ok(())
}

fn check(fixture: &Fixture, runtime: &tokio::runtime::Runtime, cases: u32) {
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let result = runner.run(&history(), |(rings, steps)| runtime.block_on(replay(fixture, owner(), &rings, &steps)));
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

#[test]
fn memory_decides_like_the_log() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    check(&Fixture::memory(), &runtime, 500);
}

#[test]
fn redis_decides_like_the_log() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let fixture = runtime.block_on(Fixture::redis());
    check(&fixture, &runtime, 60);
}
