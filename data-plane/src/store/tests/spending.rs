//! Budgets: what is spent, and from where on it is counted.

mod property;

use tollgate_proto::BudgetId;

use super::{super::*, fixture::Fixture, owner};

fn spend(amount: u64, cost: u64) -> Spend {
    let key = BudgetKey { budget: BudgetId::new(), period_start: 1_793_491_200, decimals: 12 };
    Spend { key, amount, known: Some(0), cost, lasts_s: 3_600 }
}

async fn ask(fixture: &Fixture, owner: Owner, spends: &[Spend]) -> Result<Admission, StoreError> {
    fixture.store.admit(owner, None, &Demand { spends: spends.to_vec(), ..Demand::default() }).await
}

/// What is spent after it.
async fn pass(fixture: &Fixture, owner: Owner, spend: Spend) -> u64 {
    let admission = ask(fixture, owner, &[spend]).await.unwrap();
    assert_eq!(admission.verdict, Verdict::Admitted);
    admission.spent[0].spent
}

async fn refuse(fixture: &Fixture, owner: Owner, spend: Spend) -> u64 {
    let admission = ask(fixture, owner, &[spend]).await.unwrap();
    let over = vec![spend.key.budget];
    assert_eq!(admission.verdict, Verdict::Refused { by: Vec::new(), full: Vec::new(), over, retry_after_s: 1 });
    admission.spent[0].spent
}

pub(super) async fn what_fits_into_a_budget_passes_to_the_last_unit(fixture: Fixture) {
    let (owner, spend) = (owner(), spend(SPENT_MAX, SPENT_MAX / 2));
    assert_eq!(pass(&fixture, owner, spend).await, SPENT_MAX / 2);
    assert_eq!(pass(&fixture, owner, spend).await, SPENT_MAX);
    let one = Spend { cost: 1, ..spend };
    assert_eq!(refuse(&fixture, owner, one).await, SPENT_MAX, "nothing is taken");
    assert_eq!(pass(&fixture, owner, Spend { amount: SPENT_MAX, cost: 0, ..spend }).await, SPENT_MAX);
    let elsewhere = Owner { tenant: tollgate_proto::TenantId::new(), ..owner };
    assert_eq!(pass(&fixture, elsewhere, one).await, 1, "another tenant's is another");
}

pub(super) async fn of_many_budgets_all_are_charged_or_none(fixture: Fixture) {
    let (owner, wide, narrow) = (owner(), spend(100, 10), spend(15, 10));
    let both = [wide, narrow];
    assert_eq!(ask(&fixture, owner, &both).await.unwrap().verdict, Verdict::Admitted);
    let refused = ask(&fixture, owner, &both).await.unwrap();
    assert!(matches!(refused.verdict, Verdict::Refused { ref over, .. } if *over == [narrow.key.budget]));
    let states: Vec<_> = refused.spent.iter().map(|state| (state.spent, state.fit)).collect();
    assert_eq!(states, [(10, Fit::Fits), (10, Fit::Over)]);
    assert_eq!(pass(&fixture, owner, wide).await, 20);
}

pub(super) async fn a_budget_that_refuses_charges_no_ring_and_a_ring_no_budget(fixture: Fixture) {
    let (owner, ring, spend) = (owner(), super::charge(1, 60), spend(15, 10));
    let both = Demand { charges: vec![ring], spends: vec![spend], ..Demand::default() };
    assert_eq!(fixture.store.admit(owner, None, &both).await.unwrap().verdict, Verdict::Admitted);
    let refused = fixture.store.admit(owner, None, &both).await.unwrap();
    let (by, over) = (vec![ring.key], vec![spend.key.budget]);
    assert_eq!(refused.verdict, Verdict::Refused { by, full: Vec::new(), over, retry_after_s: 61 });
    assert_eq!(pass(&fixture, owner, Spend { cost: 5, ..spend }).await, 15);
}

pub(super) async fn what_the_ledger_has_counts_where_it_is_more(fixture: Fixture) {
    let (owner, spend) = (owner(), spend(100, 10));
    assert_eq!(pass(&fixture, owner, Spend { known: Some(60), ..spend }).await, 70);
    assert_eq!(pass(&fixture, owner, Spend { known: Some(65), ..spend }).await, 80, "it is in what was counted");
    assert_eq!(refuse(&fixture, owner, Spend { known: Some(95), ..spend }).await, 95);
    assert_eq!(
        pass(&fixture, owner, Spend { known: Some(0), ..spend }).await,
        90,
        "and is never less than was counted"
    );
}

pub(super) async fn nothing_passes_where_nobody_knows_what_is_spent(fixture: Fixture) {
    let (owner, spend) = (owner(), spend(100, 10));
    let unknown = Spend { known: None, ..spend };
    assert!(matches!(ask(&fixture, owner, &[unknown]).await, Err(StoreError::Unavailable(_))));
    assert_eq!(pass(&fixture, owner, spend).await, 10);
    assert_eq!(pass(&fixture, owner, unknown).await, 20, "what was counted is known");
}

pub(super) async fn a_settlement_corrects_what_is_spent(fixture: Fixture) {
    let (owner, spend) = (owner(), spend(100, 40));
    let settle = async |actual| {
        let settled = [spend.came_to(actual)];
        fixture.store.settle(owner.tenant, Settled { spends: &settled, ..Settled::default() }).await.unwrap();
    };
    settle(90).await;
    assert_eq!(pass(&fixture, owner, spend).await, 40, "of what is not counted nothing is settled");
    settle(5).await;
    assert_eq!(pass(&fixture, owner, spend).await, 45);
    settle(90).await;
    assert_eq!(refuse(&fixture, owner, Spend { cost: 6, ..spend }).await, 95);
    settle(0).await;
    assert_eq!(pass(&fixture, owner, Spend { cost: 0, ..spend }).await, 55);
    for _ in 0..3 {
        settle(0).await;
    }
    assert_eq!(pass(&fixture, owner, Spend { cost: 0, ..spend }).await, 0, "it never falls below nothing");
}

pub(super) async fn another_period_and_another_unit_begin_anew(fixture: Fixture) {
    let (owner, spend) = (owner(), spend(10, 10));
    assert_eq!(pass(&fixture, owner, spend).await, 10);
    let next = BudgetKey { period_start: spend.key.period_start + 1, ..spend.key };
    assert_eq!(pass(&fixture, owner, Spend { key: next, ..spend }).await, 10);
    let finer = BudgetKey { decimals: 11, ..spend.key };
    assert_eq!(pass(&fixture, owner, Spend { key: finer, ..spend }).await, 10);
    refuse(&fixture, owner, spend).await;
}
