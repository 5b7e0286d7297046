//! How much may be spent, by whom, and what calls cost.
//!
//! Invariant: every budget of a tenant is on exactly one thing and has an amount that Redis counts exactly, and the period of
//! a call depends on nothing but when it arrived.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use chrono::{DateTime, Utc};
use rust_decimal::{Decimal, RoundingStrategy};
use tollgate_proto::{
    AgentId, BudgetId, Currency, IdError, TeamId, TenantId,
    policy::v1::{self as wire, budget::On},
    rating::{self, Book, Books},
};

use super::{OnStoreOutage, Party, Subject};
use crate::store::SPENT_MAX;

/// No budget is counted more finely, in decimals.
const DECIMALS_MAX: u32 = 12;

/// A tenant's budgets by what they are on, and its prices.
#[derive(Debug, Default)]
pub struct Budgets {
    agents: HashMap<AgentId, Vec<Arc<Budget>>>,
    teams: HashMap<TeamId, Vec<Arc<Budget>>>,
    tenant: Vec<Arc<Budget>>,
    prices: Arc<Books>,
}

/// One budget.
#[derive(Debug)]
pub struct Budget {
    /// Its id.
    pub id: BudgetId,
    /// Its name, which refusals show.
    pub name: String,
    /// What it is on.
    pub on: Subject,
    /// What has its price in another one is not counted.
    pub currency: Currency,
    /// What may be spent in a period.
    pub amount: Decimal,
    /// What becomes of it while counters cannot be reached.
    pub on_store_outage: OnStoreOutage,
    /// It is counted in 10 to the power of minus this.
    pub decimals: u32,
    /// When its periods begin.
    starts: Arc<[i64]>,
}

/// One period of a budget, in Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// When it begins.
    pub start: i64,
    /// When the next one begins; `None`: nobody knows.
    pub end: Option<i64>,
}

/// Why a budget cannot be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BudgetError {
    /// An id that is none.
    #[error(transparent)]
    Id(#[from] IdError),
    /// A price book that cannot be read.
    #[error(transparent)]
    Book(#[from] rating::BookError),
    /// Something of it is not known here.
    #[error("budget `{budget}`: `{field}` is not known to this version")]
    Unknown {
        /// The budget's name.
        budget: String,
        /// What of it.
        field: &'static str,
    },
}

impl Budgets {
    /// What was sent.
    ///
    /// # Errors
    /// When one of them cannot be kept, or a price cannot be read.
    pub fn read(policy: &wire::TenantPolicy) -> Result<Self, BudgetError> {
        let calendars = policy.calendars.iter().map(|sent| (sent.period, Arc::from(sent.starts.as_slice())));
        let calendars: HashMap<i32, Arc<[i64]>> = calendars.collect();
        let books = policy.price_books.iter().map(Book::try_from).collect::<Result<_, _>>()?;
        let mut budgets = Self { prices: Arc::new(Books::new(books)), ..Self::default() };
        for sent in &policy.budgets {
            budgets.add(sent, &calendars)?;
        }
        Ok(budgets)
    }

    /// Every budget that a call has to pass, those that concern the fewest others first.
    pub fn on<'a>(&'a self, party: &Party<'_>) -> impl Iterator<Item = &'a Arc<Budget>> {
        let all = [self.agents.get(&party.agent), self.teams.get(&party.team), Some(&self.tenant)];
        all.into_iter().flatten().flatten()
    }

    /// What calls cost.
    #[must_use]
    pub const fn prices(&self) -> &Arc<Books> {
        &self.prices
    }

    fn add(&mut self, sent: &wire::Budget, calendars: &HashMap<i32, Arc<[i64]>>) -> Result<(), BudgetError> {
        let unknown = |field| BudgetError::Unknown { budget: sent.name.clone(), field };
        let (held, on) = match sent.on.as_ref().ok_or_else(|| unknown("on"))? {
            On::AgentId(id) => (self.agents.entry(id.parse()?).or_default(), Subject::Agent),
            On::TeamId(id) => (self.teams.entry(id.parse()?).or_default(), Subject::Team),
            On::Tenant(_) => (&mut self.tenant, Subject::Tenant),
        };
        let amount = Decimal::from_str_exact(&sent.amount).ok().filter(|amount| *amount > Decimal::ZERO);
        let amount = amount.ok_or_else(|| unknown("amount"))?;
        let starts = calendars.get(&sent.period).filter(|starts| !starts.is_empty());
        held.push(Arc::new(Budget {
            id: sent.id.parse()?,
            name: sent.name.clone(),
            on,
            currency: sent.currency.parse().map_err(|_| unknown("currency"))?,
            amount,
            on_store_outage: OnStoreOutage::read(sent.on_store_outage).ok_or_else(|| unknown("on_store_outage"))?,
            decimals: decimals(amount),
            starts: Arc::clone(starts.ok_or_else(|| unknown("period"))?),
        }));
        Ok(())
    }
}

impl Budget {
    /// The period of what happens at this moment.
    #[must_use]
    pub fn period(&self, at: DateTime<Utc>) -> Period {
        let begun = self.starts.partition_point(|start| *start <= at.timestamp());
        let start = self.starts.get(begun.saturating_sub(1)).copied().unwrap_or_default();
        Period { start, end: self.starts.get(begun.max(1)).copied() }
    }

    /// As it is counted, rounded up: what is expected of a call must not be nothing.
    #[must_use]
    pub fn units_at_least(&self, money: Decimal) -> u64 {
        self.units(money, RoundingStrategy::AwayFromZero)
    }

    /// As it is counted, rounded half to even, so that many small costs do not add up to another sum.
    #[must_use]
    pub fn units_nearest(&self, money: Decimal) -> u64 {
        self.units(money, RoundingStrategy::MidpointNearestEven)
    }

    /// What so many units are.
    #[must_use]
    pub fn money(&self, units: u64) -> Decimal {
        Decimal::from_i128_with_scale(units.into(), self.decimals).normalize()
    }

    fn units(&self, money: Decimal, rounding: RoundingStrategy) -> u64 {
        let rounded = money.round_dp_with_strategy(self.decimals, rounding).normalize();
        let scale = 10_i128.checked_pow(self.decimals.saturating_sub(rounded.scale()));
        let units = scale.and_then(|scale| rounded.mantissa().checked_mul(scale));
        units.map_or(SPENT_MAX, |units| u64::try_from(units.max(0)).unwrap_or(SPENT_MAX).min(SPENT_MAX))
    }
}

/// As fine as the amount can be counted.
fn decimals(amount: Decimal) -> u32 {
    let most = Decimal::from(SPENT_MAX);
    let fits =
        |decimals: &u32| Decimal::from(10_u64.pow(*decimals)).checked_mul(amount).is_some_and(|units| units <= most);
    (0..=DECIMALS_MAX).rev().find(fits).unwrap_or_default()
}

/// What the ledger has of budgets, as the control plane said last.
#[derive(Debug, Default)]
pub struct Ledger(RwLock<HashMap<(TenantId, BudgetId), (i64, Decimal)>>);

impl Ledger {
    /// What was said. What cannot be read is passed over: what was counted here stays.
    pub fn hear(&self, sent: &wire::BudgetStates) {
        let Ok(tenant) = sent.tenant_id.parse::<TenantId>() else { return };
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for state in &sent.states {
            let read = state.budget_id.parse().ok().zip(Decimal::from_str_exact(&state.spent).ok());
            let Some((budget, spent)) = read else { continue };
            let known = held.entry((tenant, budget)).or_insert((state.period_start, spent));
            // The period that is over may be told of once more.
            if known.0 <= state.period_start {
                *known = (state.period_start, spent);
            }
        }
    }

    /// What is spent in a period, as far as the ledger knows: nothing of one that it has not come to; `None`: nobody has
    /// said a word of the budget.
    #[must_use]
    pub fn spent(&self, tenant: TenantId, budget: BudgetId, period: Period) -> Option<Decimal> {
        let held = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let (start, spent) = held.get(&(tenant, budget))?;
        Some(if *start == period.start { *spent } else { Decimal::ZERO })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(amount: &str) -> wire::TenantPolicy {
        let budget = wire::Budget {
            id: BudgetId::new().to_string(),
            name: "month".to_owned(),
            on: Some(On::Tenant(true)),
            currency: "EUR".to_owned(),
            amount: amount.to_owned(),
            period: wire::Period::Month.into(),
            ..wire::Budget::default()
        };
        let calendar = wire::Calendar { period: wire::Period::Month.into(), starts: vec![100, 200, 300] };
        wire::TenantPolicy { budgets: vec![budget], calendars: vec![calendar], ..wire::TenantPolicy::default() }
    }

    fn budget(amount: &str) -> Arc<Budget> {
        Arc::clone(&Budgets::read(&sent(amount)).expect("readable").tenant[0])
    }

    fn money(text: &str) -> Decimal {
        text.parse().expect("an amount")
    }

    #[test]
    fn a_call_belongs_to_the_period_that_it_arrives_in() {
        let budget = budget("1");
        let period = |at| budget.period(DateTime::from_timestamp(at, 0).expect("a moment"));
        for (at, start, end) in
            [(0, 100, Some(200)), (100, 100, Some(200)), (199, 100, Some(200)), (200, 200, Some(300)), (900, 300, None)]
        {
            assert_eq!(period(at), Period { start, end }, "{at}");
        }
    }

    #[test]
    fn a_budget_is_counted_as_finely_as_its_amount_allows() {
        for (amount, decimals) in [("0.01", 12), ("500", 12), ("2251", 12), ("2252", 11), ("999999999999", 3)] {
            let budget = budget(amount);
            assert_eq!(budget.decimals, decimals, "{amount}");
            let units = budget.units_nearest(budget.amount);
            assert!(units <= SPENT_MAX);
            assert_eq!(budget.money(units), budget.amount.normalize(), "nothing of {amount} is lost");
        }
    }

    #[test]
    fn what_is_expected_is_rounded_up_and_what_it_came_to_to_the_nearest() {
        let budget = budget("999999999999");
        for (cost, at_least, nearest) in
            [("0.0001", 1, 0), ("0.0005", 1, 0), ("0.0015", 2, 2), ("0", 0, 0), ("2", 2_000, 2_000)]
        {
            assert_eq!((budget.units_at_least(money(cost)), budget.units_nearest(money(cost))), (at_least, nearest));
        }
        assert_eq!(
            self::budget("1").units_at_least(money("1000000000")),
            SPENT_MAX,
            "no cost is counted beyond all bounds"
        );
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        let broken = |change: fn(&mut wire::Budget)| {
            let mut sent = sent("1");
            change(&mut sent.budgets[0]);
            match Budgets::read(&sent) {
                Err(BudgetError::Unknown { field, .. }) => field,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(broken(|budget| budget.on = None), "on");
        assert_eq!(broken(|budget| "0".clone_into(&mut budget.amount)), "amount");
        assert_eq!(broken(|budget| "much".clone_into(&mut budget.amount)), "amount");
        assert_eq!(broken(|budget| budget.currency.clear()), "currency");
        assert_eq!(broken(|budget| budget.period = 99), "period");
        assert_eq!(broken(|budget| budget.on_store_outage = 99), "on_store_outage");
    }

    #[test]
    fn the_ledger_is_believed_of_the_period_that_it_speaks_of() {
        let (ledger, tenant, budget) = (Ledger::default(), TenantId::new(), BudgetId::new());
        let say = |period_start, spent: &str| {
            let state = wire::BudgetState { budget_id: budget.to_string(), period_start, spent: spent.to_owned() };
            ledger.hear(&wire::BudgetStates { tenant_id: tenant.to_string(), states: vec![state] });
        };
        let spent = |start| ledger.spent(tenant, budget, Period { start, end: None });
        assert_eq!(spent(100), None);
        say(100, "4.5");
        assert_eq!((spent(100), spent(200)), (Some(money("4.5")), Some(Decimal::ZERO)));
        say(200, "1");
        say(100, "9");
        say(200, "a lot");
        assert_eq!(spent(200), Some(money("1")));
    }
}
