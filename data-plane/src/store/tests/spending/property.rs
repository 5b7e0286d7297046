//! Random histories of calls at three data planes whose ledger comes late, each decision compared with plain sums, and the
//! promise of `docs/budgets.md` kept: a budget is overshot by what calls cost beyond what was reserved for them, and by what
//! the ledger had not heard of when the counters were lost.

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use super::{
    super::{super::*, fixture::Fixture, owner},
    spend,
};

const DATA_PLANES: usize = 3;
const BUDGETS: usize = 2;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// A call begins: where, what is reserved for it, and what it will have cost.
    Begin { data_plane: usize, reserved: u64, cost: u64 },
    /// The call that has run for longest ends.
    End,
    /// The ledger gets what has ended.
    Deliver,
    /// A data plane hears what the ledger has.
    Tell { data_plane: usize },
    /// The store forgets everything.
    Lose,
}

/// The same in plain sums.
struct Model {
    amounts: [u64; BUDGETS],
    counted: Option<[u64; BUDGETS]>,
    /// What each data plane has heard of the ledger: it is the same for all budgets, which are on all calls.
    heard: [u64; DATA_PLANES],
    /// What was reserved for the calls that run, and what each will have cost.
    running: Vec<(u64, u64)>,
    ended: u64,
    delivered: u64,
    /// By how much a budget may be overshot when a call is admitted.
    slack: u64,
}

impl Model {
    fn spent(&self, data_plane: usize) -> [u64; BUDGETS] {
        self.counted.unwrap_or_default().map(|counted| counted.max(self.heard[data_plane]))
    }

    /// Whether the call is admitted.
    fn begin(&mut self, data_plane: usize, reserved: u64, cost: u64) -> bool {
        let spent = self.spent(data_plane);
        let fits = spent.iter().zip(self.amounts).all(|(spent, amount)| spent + reserved <= amount);
        if fits {
            self.counted = Some(spent.map(|spent| spent + reserved));
            self.running.push((reserved, cost));
        }
        fits
    }

    fn end(&mut self) -> Option<(u64, u64)> {
        if self.running.is_empty() {
            return None;
        }
        let (reserved, cost) = self.running.remove(0);
        self.ended += cost;
        match &mut self.counted {
            Some(counted) => *counted = counted.map(|counted| (counted + cost).saturating_sub(reserved)),
            None => self.slack += cost.saturating_sub(reserved),
        }
        Some((reserved, cost))
    }

    fn lose(&mut self) {
        let heard = self.heard.into_iter().min().unwrap_or_default();
        let counted = self.counted.take().unwrap_or_default().into_iter().max().unwrap_or_default();
        self.slack += counted.saturating_sub(heard);
    }

    /// What has been spent, with all that is reserved.
    fn committed(&self) -> u64 {
        self.ended + self.running.iter().map(|(reserved, _)| reserved).sum::<u64>()
    }
}

fn step(loses: bool) -> impl Strategy<Value = Step> {
    let begin = (0..DATA_PLANES, 0..30_u64, 0..60_u64).prop_map(|(data_plane, reserved, cost)| Step::Begin {
        data_plane,
        reserved,
        cost,
    });
    prop_oneof![
        8 => begin,
        5 => Just(Step::End),
        2 => Just(Step::Deliver),
        3 => (0..DATA_PLANES).prop_map(|data_plane| Step::Tell { data_plane }),
        u32::from(loses) => Just(Step::Lose),
    ]
}

async fn replay(fixture: &Fixture, amounts: [u64; BUDGETS], steps: &[Step]) -> Result<(), TestCaseError> {
    let owner = owner();
    let budgets = amounts.map(|amount| spend(amount, 0));
    let mut model = Model {
        amounts,
        counted: None,
        heard: [0; DATA_PLANES],
        running: Vec::new(),
        ended: 0,
        delivered: 0,
        slack: 0,
    };
    for &step in steps {
        match step {
            Step::Begin { data_plane, reserved, cost } => {
                let known = Some(model.heard[data_plane]);
                let spends = budgets.map(|budget| Spend { cost: reserved, known, ..budget }).to_vec();
                let demand = Demand { spends, ..Demand::default() };
                let admission = fixture.store.admit(owner, None, &demand).await.expect("the store answers");
                let admitted = model.begin(data_plane, reserved, cost);
                prop_assert_eq!(admission.verdict == Verdict::Admitted, admitted);
                let spent: Vec<u64> = admission.spent.iter().map(|state| state.spent).collect();
                prop_assert_eq!(spent, model.spent(data_plane));
                let amount = amounts.into_iter().min().unwrap_or_default();
                if admitted && reserved > 0 {
                    prop_assert!(model.committed() <= amount + model.slack, "more than the bound");
                }
            }
            Step::End => {
                if let Some((reserved, cost)) = model.end() {
                    let settled = budgets.map(|budget| Spend { cost: reserved, ..budget }.came_to(cost));
                    let settled = Settled { spends: &settled, ..Settled::default() };
                    fixture.store.settle(owner.tenant, settled).await.expect("the store answers");
                }
            }
            Step::Deliver => model.delivered = model.ended,
            Step::Tell { data_plane } => model.heard[data_plane] = model.delivered,
            Step::Lose => {
                fixture.lose_everything().await;
                model.lose();
            }
        }
    }
    Ok(())
}

fn check(fixture: &Fixture, runtime: &tokio::runtime::Runtime, loses: bool, cases: u32) {
    let history = (prop::array::uniform2(20..400_u64), prop::collection::vec(step(loses), 1..150));
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    if let Err(failure) = runner.run(&history, |(amounts, steps)| runtime.block_on(replay(fixture, amounts, &steps))) {
        panic!("{failure}");
    }
}

#[test]
fn memory_keeps_budgets_like_plain_sums() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    check(&Fixture::memory(), &runtime, false, 500);
}

#[test]
fn redis_keeps_budgets_like_plain_sums() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let fixture = runtime.block_on(Fixture::redis());
    check(&fixture, &runtime, true, 60);
}
