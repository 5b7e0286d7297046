//! What the ledger has of the budgets in policies, for all streams of this control plane together.
//!
//! - `look.rs` looks it up, for all tenants in turn and for no stream in particular.
//! - [`Spending`] is what it found, [`Account`] what one stream was told of it.
//!
//! Invariant: what a stream was told of a tenant is told again, all of it, behind every policy of the tenant that it is
//! sent, and between policies only what has changed.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;
use tollgate_proto::{
    TenantId,
    policy::v1::{BudgetState, BudgetStates},
};

mod look;

pub use look::follow_spending;

/// What is spent of every tenant's budgets.
#[derive(Debug, Default)]
pub struct Spending {
    tenants: BTreeMap<TenantId, OfTenant>,
    /// How many changes there were.
    changes: u64,
}

#[derive(Debug, Default)]
struct OfTenant {
    states: BTreeMap<Period, State>,
    /// The last change of them.
    newest: u64,
}

/// A budget's id, and when one of its periods begins.
type Period = (String, i64);

#[derive(Debug)]
struct State {
    spent: Decimal,
    /// Which change it was.
    change: u64,
}

impl Spending {
    /// Takes these for all the states of the tenant's budgets; answers whether one is new or another one.
    fn set(&mut self, tenant: TenantId, found: BTreeMap<Period, Decimal>) -> bool {
        let next = self.changes + 1;
        let known = self.tenants.entry(tenant).or_default();
        known.states.retain(|period, _| found.contains_key(period));
        let mut has_changed = false;
        for (period, spent) in found {
            let is_same = known.states.get(&period).is_some_and(|state| state.spent == spent);
            if !is_same {
                known.states.insert(period, State { spent, change: next });
                has_changed = true;
            }
        }
        if has_changed {
            known.newest = next;
            self.changes = next;
        }
        has_changed
    }

    /// Forgets all other tenants; nobody has to know of that.
    fn retain(&mut self, is_kept: impl Fn(TenantId) -> bool) {
        self.tenants.retain(|tenant, _| is_kept(*tenant));
    }
}

/// What one stream was told.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// Up to which change.
    told: BTreeMap<TenantId, u64>,
    /// Tenants of which there is more.
    due: BTreeSet<TenantId>,
}

impl Account {
    /// Finds what has to be told, after a change.
    pub(super) fn compare(&mut self, spending: &Spending) {
        self.told.retain(|tenant, _| spending.tenants.contains_key(tenant));
        let is_due = |(tenant, of): &(&TenantId, &OfTenant)| self.told.get(tenant).is_none_or(|told| *told < of.newest);
        self.due = spending.tenants.iter().filter(is_due).map(|(tenant, _)| *tenant).collect();
    }

    /// A policy of the tenant was sent: everything has to be told.
    pub(super) fn begin(&mut self, tenant: TenantId, spending: &Spending) {
        self.told.remove(&tenant);
        if spending.tenants.contains_key(&tenant) {
            self.due.insert(tenant);
        }
    }

    /// Whether there is something to tell.
    pub(super) fn has_next(&self) -> bool {
        !self.due.is_empty()
    }

    /// What is to be told next: of one tenant, whatever it was not told yet.
    pub(super) fn next(&mut self, spending: &Spending) -> Option<BudgetStates> {
        while let Some(tenant) = self.due.pop_first() {
            let Some(of) = spending.tenants.get(&tenant) else { continue };
            let told_before = self.told.insert(tenant, of.newest).unwrap_or_default();
            let news = of.states.iter().filter(|(_, state)| state.change > told_before);
            let states: Vec<_> = news.map(|(period, state)| told(period, state)).collect();
            if !states.is_empty() {
                return Some(BudgetStates { tenant_id: tenant.to_string(), states });
            }
        }
        None
    }
}

fn told((budget_id, period_start): &Period, state: &State) -> BudgetState {
    let spent = state.spent.max(Decimal::ZERO).normalize().to_string();
    BudgetState { budget_id: budget_id.clone(), period_start: *period_start, spent }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(states: &[(&str, i64, i64)]) -> BTreeMap<Period, Decimal> {
        states.iter().map(|(id, start, spent)| (((*id).to_owned(), *start), Decimal::new(*spent, 2))).collect()
    }

    /// Budgets and what is spent of them, as they are told next.
    fn next(account: &mut Account, spending: &Spending) -> Vec<(String, i64, String)> {
        let states = account.next(spending).map(|told| told.states).unwrap_or_default();
        states.into_iter().map(|state| (state.budget_id, state.period_start, state.spent)).collect()
    }

    #[test]
    fn all_is_told_at_first_and_after_a_policy_and_changes_in_between() {
        let (tenant, mut spending, mut account) = (TenantId::new(), Spending::default(), Account::default());
        assert!(spending.set(tenant, found(&[("a", 1, 150), ("b", 1, 0)])));
        account.compare(&spending);
        let all = [("a".to_owned(), 1, "1.5".to_owned()), ("b".to_owned(), 1, "0".to_owned())];
        assert_eq!(next(&mut account, &spending), all);
        assert!(!spending.set(tenant, found(&[("a", 1, 150), ("b", 1, 0)])), "nothing has changed");
        account.compare(&spending);
        assert!(!account.has_next());

        assert!(spending.set(tenant, found(&[("a", 1, 150), ("b", 1, 25)])));
        account.compare(&spending);
        assert_eq!(next(&mut account, &spending), [("b".to_owned(), 1, "0.25".to_owned())]);
        account.begin(tenant, &spending);
        assert_eq!(next(&mut account, &spending).len(), 2);
        assert!(!account.has_next());
    }

    #[test]
    fn a_period_that_is_over_is_forgotten_and_the_next_one_told() {
        let (tenant, mut spending, mut account) = (TenantId::new(), Spending::default(), Account::default());
        spending.set(tenant, found(&[("a", 1, 150)]));
        account.compare(&spending);
        account.next(&spending);
        assert!(spending.set(tenant, found(&[("a", 2, 0)])));
        account.compare(&spending);
        assert_eq!(next(&mut account, &spending), [("a".to_owned(), 2, "0".to_owned())]);
        spending.retain(|_| false);
        account.compare(&spending);
        account.begin(tenant, &spending);
        assert!(!account.has_next());
    }
}
