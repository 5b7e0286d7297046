//! What operators see of counters.

use tollgate_proto::{CallId, LimitId, TenantId};

use super::{
    super::*,
    admission::{admit, admitted, charge},
    fixture::Fixture,
    owner,
};

async fn look(fixture: &Fixture, tenant: TenantId, charges: &[Charge], running: &[LimitId]) -> (Vec<u64>, Vec<u32>) {
    let rings = charges.iter().map(|charge| (charge.key, charge.window_s)).collect();
    let seen = fixture.store.look(tenant, &Look { rings, running: running.to_vec() }).await.unwrap();
    (seen.rings, seen.running)
}

pub(super) async fn what_is_in_the_window_is_seen_and_no_more(fixture: Fixture) {
    let (owner, minute, hour, none) = (owner(), charge(10, 60), charge(10, 3_600), charge(1, 60));
    let all = [minute, hour, none];
    let sums = async || look(&fixture, owner.tenant, &all, &[]).await.0;
    assert_eq!(sums().await, [0, 0, 0]);
    for _ in 0..3 {
        assert!(admitted(&fixture.store, owner, &[minute, hour]).await);
        fixture.advance(20).await;
    }
    assert_eq!(sums().await, [3, 3, 0], "the first is a minute old, and leaves a slot later");
    fixture.advance(1).await;
    assert_eq!(sums().await, [2, 3, 0]);
    fixture.advance(40).await;
    assert_eq!(sums().await, [0, 3, 0]);
    fixture.advance(4_000).await;
    assert_eq!(sums().await, [0, 0, 0]);
    let elsewhere = look(&fixture, TenantId::new(), &all, &[]).await.0;
    assert_eq!(elsewhere, [0, 0, 0], "another tenant's are others");
}

pub(super) async fn looking_charges_nothing_and_lets_nothing_leave(fixture: Fixture) {
    let (owner, charges) = (owner(), [charge(2, 60)]);
    let other_window = [Charge { window_s: 3_600, ..charges[0] }];
    for left in [1, 0] {
        let admission = admit(&fixture.store, owner, &charges).await;
        assert_eq!(admission.rings[0].remaining, left);
        for _ in 0..5 {
            assert_eq!(look(&fixture, owner.tenant, &other_window, &[]).await.0, [0]);
            assert_eq!(look(&fixture, owner.tenant, &charges, &[]).await.0, [2 - u64::from(left)]);
        }
        fixture.advance(30).await;
    }
    assert!(!admitted(&fixture.store, owner, &charges).await, "both are still in it");
    fixture.advance(1).await;
    assert!(admitted(&fixture.store, owner, &charges).await, "the first has left");
}

pub(super) async fn the_calls_that_run_are_seen_until_they_are_lost(fixture: Fixture) {
    let (owner, limit, other) = (owner(), LimitId::new(), LimitId::new());
    let running = async || look(&fixture, owner.tenant, &[], &[other, limit]).await.1;
    for call in [CallId::new(), CallId::new()] {
        let demand = Demand { places: vec![Place { limit, places: 3, call }], ..Demand::default() };
        let admission = fixture.store.admit(owner, None, &demand).await.unwrap();
        assert_eq!(admission.verdict, Verdict::Admitted);
        fixture.advance(PLACE_S / 2).await;
    }
    assert_eq!(running().await, [0, 1], "nothing was heard of the first for a minute");
    fixture.advance(PLACE_S / 2).await;
    assert_eq!(running().await, [0, 0]);
}

pub(super) async fn a_store_has_an_id_of_its_own_that_stays(fixture: Fixture) {
    let tenant = TenantId::new();
    let id = async |store: &Store| store.look(tenant, &Look::default()).await.unwrap().store;
    let first = id(&fixture.store).await;
    fixture.advance(7 * 24 * 60 * 60).await;
    assert_eq!(id(&fixture.store).await, first);
    assert_ne!(id(&Store::memory()).await, first);
}
