//! What was refused, asked again by a clock that the test moves.

use tollgate_proto::{BudgetId, CallId, LimitId};

use super::*;
use crate::store::{Class, Fit, Meter, Place, Settlement, Shown, Spend, SpendState};

const NOW_S: u64 = 1_800_000_000;
const WINDOW_S: u32 = 10;

/// One limit on tokens, of which `used` are used `age_s` ago, as Redis shows it in the middle of a second.
struct Scene {
    refusals: Refusals,
    tenant: TenantId,
    charge: Charge,
    told_at: Instant,
}

impl Scene {
    /// After a refusal of a charge that costs so much, out of 100.
    fn refused(cost: u32, used: u32, age_s: u64) -> Self {
        let key = RingKey { limit: LimitId::new(), meter: Meter::Tokens };
        let charge = Charge { key, limit: 100, window_s: WINDOW_S, cost };
        let scene = Self { refusals: Refusals::default(), tenant: TenantId::new(), charge, told_at: Instant::now() };
        let mut ring = Ring::new(WINDOW_S, NOW_S - age_s);
        ring.charge(used);
        ring.roll(NOW_S);
        scene.remember(&asking(charge), vec![ring], Vec::new());
        scene
    }

    fn remember(&self, demand: &Demand, shown: Vec<Ring>, spent: Vec<SpendState>) {
        let states = demand.charges.iter().zip(&shown).map(|(charge, ring)| ring.state(charge, NOW_S));
        let rings: Vec<_> = states.collect();
        let refusal = Admission {
            session: Loaded::NotAsked,
            verdict: Verdict::of(demand, &rings, Vec::new(), &spent),
            rings,
            running: demand.places.iter().map(|_| 0).collect(),
            spent,
            charged_at: ChargedAt::default(),
            shown: Some(Shown { at_us: NOW_S * 1_000_000 + 500_000, rings: shown }),
        };
        self.refusals.remember(self.tenant, demand, &refusal, self.told_at);
    }

    /// In how many seconds it would pass, so long after the refusal; none: the store is to be asked.
    fn wait_s(&self, demand: &Demand, later_ms: u64) -> Option<u32> {
        let now = self.told_at + Duration::from_millis(later_ms);
        match self.refusals.judge(self.tenant, demand, now)?.verdict {
            Verdict::Refused { retry_after_s, .. } => Some(retry_after_s),
            other => panic!("nothing else is answered here: {other:?}"),
        }
    }
}

fn asking(charge: Charge) -> Demand {
    Demand { charges: vec![charge], ..Demand::default() }
}

#[test]
fn what_was_refused_is_refused_again_until_it_may_pass_and_says_when_to_the_second() {
    // It leaves the window in 3 s, by a clock that stands at half a second.
    let scene = Scene::refused(1, 100, 8);
    let demand = asking(scene.charge);
    let said = [0, 499, 500, 999].map(|later_ms| scene.wait_s(&demand, later_ms));
    assert_eq!(said, [Some(3), Some(3), Some(2), Some(2)]);
    assert_eq!(scene.wait_s(&demand, 1_000), None, "the store is asked once a second");

    let scene = Scene::refused(1, 100, 10);
    let said = [0, 499, 500].map(|later_ms| scene.wait_s(&asking(scene.charge), later_ms));
    assert_eq!(said, [Some(1), Some(1), None], "there is room then, and not a moment later");
}

#[test]
fn each_call_is_judged_by_what_it_asks_for_itself() {
    let scene = Scene::refused(50, 60, 4);
    let asks = |cost| scene.wait_s(&asking(Charge { cost, ..scene.charge }), 0);
    assert_eq!([asks(50), asks(100), asks(41)], [Some(7); 3]);
    assert_eq!([asks(40), asks(0)], [None; 2], "there was room for as much");
}

#[test]
fn a_limit_that_changes_is_judged_as_it_is_now() {
    let scene = Scene::refused(50, 60, 4);
    let with = |limit, window_s| scene.wait_s(&asking(Charge { limit, window_s, ..scene.charge }), 0);
    assert_eq!([with(110, WINDOW_S), with(100, WINDOW_S + 1)], [None; 2]);
    assert_eq!(with(70, WINDOW_S), Some(7));
}

#[test]
fn of_what_is_not_known_the_store_is_asked() {
    let scene = Scene::refused(50, 60, 4);
    let other = Charge { key: RingKey { limit: LimitId::new(), meter: Meter::Tokens }, ..scene.charge };
    let class =
        Charge { key: RingKey { meter: Meter::Requests(Class::Executing), ..scene.charge.key }, ..scene.charge };
    for unknown in [other, class] {
        let demand = Demand { charges: vec![scene.charge, unknown], ..Demand::default() };
        assert_eq!(scene.wait_s(&demand, 0), None, "it might have to wait for longer");
    }
    let place = Place { limit: scene.charge.key.limit, places: 1, call: CallId::new() };
    assert_eq!(scene.wait_s(&Demand { places: vec![place], ..asking(scene.charge) }, 0), None);
    assert!(scene.refusals.judge(TenantId::new(), &asking(scene.charge), scene.told_at).is_none());
}

#[test]
fn what_is_newer_is_not_answered_by_what_is_known() {
    let settled = Scene::refused(50, 60, 4);
    let settlement = [settled.charge.refund(0)];
    let settlement: &[Settlement] = &settlement;
    settled.refusals.forget_what_is_settled(settled.tenant, Settled::of(settlement));
    assert_eq!(settled.wait_s(&asking(settled.charge), 0), None);

    let admitted = Scene::refused(50, 60, 4);
    admitted.refusals.forget_what_is_asked(admitted.tenant, &asking(Charge { cost: 1, ..admitted.charge }));
    assert_eq!(admitted.wait_s(&asking(admitted.charge), 0), None);
}

#[test]
fn nothing_is_kept_for_longer_than_it_is_of_use() {
    let scene = Scene::refused(50, 60, 4);
    scene.refusals.forget_what_is_old(scene.told_at + Duration::from_millis(999));
    assert!(!scene.refusals.is_empty());
    scene.refusals.forget_what_is_old(scene.told_at + KEPT);
    assert!(scene.refusals.is_empty());
}

#[test]
fn that_no_place_is_free_is_not_kept() {
    let scene = Scene::refused(0, 0, 0);
    assert!(scene.refusals.is_empty(), "it was admitted");
    let limit = LimitId::new();
    let demand = Demand { places: vec![Place { limit, places: 1, call: CallId::new() }], ..Demand::default() };
    let full = Admission {
        verdict: Verdict::Refused { by: Vec::new(), full: vec![limit], over: Vec::new(), retry_after_s: 1 },
        session: Loaded::NotAsked,
        rings: Vec::new(),
        running: vec![1],
        spent: Vec::new(),
        charged_at: ChargedAt::default(),
        shown: Some(Shown { at_us: 0, rings: Vec::new() }),
    };
    scene.refusals.remember(scene.tenant, &demand, &full, scene.told_at);
    assert!(scene.refusals.is_empty());
}

#[test]
fn a_budget_is_judged_by_what_was_spent_and_by_what_it_is_now() {
    let scene = Scene::refused(0, 0, 0);
    let key = BudgetKey { budget: BudgetId::new(), period_start: 0, decimals: 2 };
    let spend = Spend { key, amount: 100, known: Some(0), cost: 20, lasts_s: 60 };
    let with = |spend| Demand { spends: vec![spend], ..Demand::default() };
    scene.remember(&with(spend), Vec::new(), vec![SpendState { spent: 90, fit: Fit::Over }]);
    let of = |spend| {
        let judged = scene.refusals.judge(scene.tenant, &with(spend), scene.told_at)?;
        assert!(matches!(&judged.verdict, Verdict::Refused { over, .. } if *over == [key.budget]));
        Some(judged.spent[0].spent)
    };
    assert_eq!(of(spend), Some(90));
    assert_eq!(of(Spend { cost: 21, known: Some(95), ..spend }), Some(95), "the ledger may know of more");
    assert_eq!(of(Spend { cost: 10, ..spend }), None, "there is room for as much");
    assert_eq!(of(Spend { amount: 110, ..spend }), None, "it was raised");
    let next = BudgetKey { period_start: 86_400, ..key };
    assert_eq!(of(Spend { key: next, ..spend }), None, "another period has begun");
}
