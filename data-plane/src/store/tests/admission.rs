//! Limits: what is charged, given back and settled, and which calls run.

use tollgate_proto::{CallId, LimitId};

use super::{super::*, fixture::Fixture, found, owner, session};

pub(super) fn charge(limit: u32, window_s: u32) -> Charge {
    Charge {
        key: RingKey { limit: LimitId::new(), meter: Meter::Requests(Class::Executing) },
        limit,
        window_s,
        cost: 1,
    }
}

pub(super) async fn admit(store: &Store, owner: Owner, charges: &[Charge]) -> Admission {
    store.admit(owner, None, &demand(charges)).await.unwrap()
}

pub(super) fn demand(charges: &[Charge]) -> Demand {
    Demand { charges: charges.to_vec(), ..Demand::default() }
}

pub(super) async fn refund(store: &Store, owner: Owner, charges: &[Charge], admission: &Admission) {
    let settlements: Vec<_> =
        charges.iter().zip(admission.charged_at.slots()).map(|(charge, slot)| charge.refund(slot)).collect();
    store.settle(owner.tenant, Settled::of(&settlements)).await.unwrap();
}

pub(super) async fn admitted(store: &Store, owner: Owner, charges: &[Charge]) -> bool {
    admit(store, owner, charges).await.verdict == Verdict::Admitted
}

pub(super) async fn exactly_the_limit_passes_at_once(fixture: Fixture) {
    let (owner, charge) = (owner(), charge(60, 60));
    let charges = [charge];
    let admissions = (0..200).map(|_| admitted(&fixture.store, owner, &charges));
    let admissions = futures_util::future::join_all(admissions).await;
    assert_eq!(admissions.into_iter().filter(|&admitted| admitted).count(), 60);
}

pub(super) async fn a_refusal_charges_no_ring_and_names_those_that_refused(fixture: Fixture) {
    let (owner, wide, narrow, other) = (owner(), charge(10, 60), charge(1, 60), charge(1, 30));
    assert!(admitted(&fixture.store, owner, &[narrow]).await);
    fixture.advance(10).await;
    assert!(admitted(&fixture.store, owner, &[other]).await);
    let refused = admit(&fixture.store, owner, &[wide, narrow, other]).await;
    assert_eq!(
        refused.verdict,
        Verdict::Refused { by: vec![narrow.key, other.key], full: Vec::new(), over: Vec::new(), retry_after_s: 51 }
    );
    assert_eq!(refused.charged_at, ChargedAt::default());
    let room = RingState { remaining: 10, reset_s: 0, retry_after_s: 0 };
    let full = |wait_s| RingState { remaining: 0, reset_s: wait_s, retry_after_s: wait_s };
    assert_eq!(refused.rings, [room, full(51), full(31)]);
    let after = admit(&fixture.store, owner, &[wide]).await;
    assert_eq!(after.rings, [RingState { remaining: 9, reset_s: 0, retry_after_s: 0 }]);
}

pub(super) async fn a_missing_session_charges_nothing(fixture: Fixture) {
    let (owner, charge) = (owner(), charge(1, 60));
    let unknown = SessionId::generate().unwrap();
    let admission = fixture.store.admit(owner, Some(&unknown), &demand(&[charge])).await.unwrap();
    assert!(matches!(admission.session, Loaded::Missing));
    assert_eq!(admission.verdict, Verdict::NotTested);
    assert!(admission.rings.is_empty());
    let known = fixture.store.create_session(&session(owner)).await.unwrap();
    let admission = fixture.store.admit(owner, Some(&known), &demand(&[charge])).await.unwrap();
    assert!(found(admission.session).is_some());
    assert_eq!(admission.verdict, Verdict::Admitted);
    let refused = fixture.store.admit(owner, Some(&known), &demand(&[charge])).await.unwrap();
    assert!(found(refused.session).is_some(), "a refused request still has its session");
    assert!(matches!(refused.verdict, Verdict::Refused { .. }));
}

pub(super) async fn a_refund_gives_room_again(fixture: Fixture) {
    let (owner, charges) = (owner(), [charge(2, 60), charge(1, 600)]);
    let admission = admit(&fixture.store, owner, &charges).await;
    fixture.advance(20).await;
    assert!(!admitted(&fixture.store, owner, &charges).await);
    refund(&fixture.store, owner, &charges, &admission).await;
    let again = admit(&fixture.store, owner, &charges).await;
    assert_eq!(again.verdict, Verdict::Admitted);
    assert_eq!(again.rings[0].remaining, 1);
}

pub(super) async fn a_late_refund_gives_no_credit(fixture: Fixture) {
    let (owner, charges) = (owner(), [charge(1, 60)]);
    let admission = admit(&fixture.store, owner, &charges).await;
    refund(&fixture.store, owner, &charges, &admission).await;
    refund(&fixture.store, owner, &charges, &admission).await;
    assert!(admitted(&fixture.store, owner, &charges).await);
    assert!(!admitted(&fixture.store, owner, &charges).await);
    // The same slot index, one turn of the ring later.
    fixture.advance(61).await;
    assert!(admitted(&fixture.store, owner, &charges).await);
    refund(&fixture.store, owner, &charges, &admission).await;
    assert!(!admitted(&fixture.store, owner, &charges).await);
    // A ring that nobody ever charged.
    let untouched = [charge(1, 60)];
    refund(&fixture.store, owner, &untouched, &admission).await;
    assert!(admitted(&fixture.store, owner, &untouched).await);
    assert!(!admitted(&fixture.store, owner, &untouched).await);
}

pub(super) async fn a_settlement_moves_what_was_reserved_to_when_it_was_used(fixture: Fixture) {
    let owner = owner();
    let reserved = Charge { cost: 60, ..charge(100, 60) };
    let admission = admit(&fixture.store, owner, &[reserved]).await;
    let slot = admission.charged_at.slots().next().unwrap();
    fixture.advance(30).await;
    assert!(!admitted(&fixture.store, owner, &[reserved]).await);
    let settlement = Settlement { charge: reserved, slot, actual: 10 };
    fixture.store.settle(owner.tenant, Settled::of(&[settlement])).await.unwrap();
    let again = admit(&fixture.store, owner, &[reserved]).await;
    assert_eq!((again.verdict, again.rings[0].remaining), (Verdict::Admitted, 30));
    // What was given back was given back at the time of the reservation.
    fixture.advance(31).await;
    assert_eq!(admit(&fixture.store, owner, &[Charge { cost: 31, ..reserved }]).await.rings[0].remaining, 30);
    fixture.advance(30).await;
    assert!(admitted(&fixture.store, owner, &[Charge { cost: 100, ..reserved }]).await, "all of it has left");
}

pub(super) async fn what_was_used_beyond_the_limit_refuses_until_it_has_left(fixture: Fixture) {
    let owner = owner();
    let reserved = Charge { cost: 5, ..charge(100, 60) };
    let admission = admit(&fixture.store, owner, &[reserved]).await;
    let slot = admission.charged_at.slots().next().unwrap();
    fixture.advance(5).await;
    let settlement = Settlement { charge: reserved, slot, actual: 250 };
    fixture.store.settle(owner.tenant, Settled::of(&[settlement])).await.unwrap();
    let refused = admit(&fixture.store, owner, &[reserved]).await;
    assert_eq!(refused.rings, [RingState { remaining: 0, reset_s: 61, retry_after_s: 61 }]);
    // Also where the ring had been forgotten: what was used was used.
    let long = Charge { cost: 5, ..charge(100, 60) };
    let settlement = Settlement { charge: long, slot, actual: 250 };
    fixture.store.settle(owner.tenant, Settled::of(&[settlement])).await.unwrap();
    assert!(!admitted(&fixture.store, owner, &[long]).await);
}

fn place(limit: LimitId, places: u32) -> Place {
    Place { limit, places, call: CallId::new() }
}

async fn take(store: &Store, owner: Owner, places: &[Place]) -> Admission {
    store.admit(owner, None, &Demand { places: places.to_vec(), ..Demand::default() }).await.unwrap()
}

pub(super) async fn as_many_calls_run_at_once_as_there_are_places(fixture: Fixture) {
    let (owner, limit, other) = (owner(), LimitId::new(), LimitId::new());
    let first = place(limit, 2);
    assert_eq!(take(&fixture.store, owner, &[first]).await.running, [1]);
    assert_eq!(take(&fixture.store, owner, &[place(limit, 2), place(other, 9)]).await.running, [2, 1]);
    let refused = take(&fixture.store, owner, &[place(limit, 2), place(other, 9)]).await;
    assert_eq!(
        refused.verdict,
        Verdict::Refused { by: Vec::new(), full: vec![limit], over: Vec::new(), retry_after_s: 1 }
    );
    assert_eq!(refused.running, [2, 1], "whoever is refused takes no place elsewhere");
    for _ in 0..2 {
        fixture.store.settle(owner.tenant, Settled { places: &[first], ..Settled::default() }).await.unwrap();
    }
    assert_eq!(take(&fixture.store, owner, &[place(limit, 2)]).await.running, [2], "one place was given back, once");
}

pub(super) async fn a_call_of_which_nothing_is_heard_gives_its_place_back(fixture: Fixture) {
    let (owner, limit) = (owner(), LimitId::new());
    let (lost, goes_on) = (place(limit, 2), place(limit, 2));
    take(&fixture.store, owner, &[lost]).await;
    take(&fixture.store, owner, &[goes_on]).await;
    fixture.advance(PLACE_S - 1).await;
    fixture.store.keep_places(owner.tenant, &[goes_on]).await.unwrap();
    assert!(matches!(take(&fixture.store, owner, &[place(limit, 2)]).await.verdict, Verdict::Refused { .. }));
    fixture.advance(1).await;
    assert_eq!(take(&fixture.store, owner, &[place(limit, 2)]).await.running, [2]);
}

pub(super) async fn a_ring_that_refuses_takes_no_place_and_a_full_limit_charges_no_ring(fixture: Fixture) {
    let (owner, ring, limit) = (owner(), charge(1, 60), LimitId::new());
    let both = |place| Demand { charges: vec![ring], places: vec![place], ..Demand::default() };
    assert_eq!(fixture.store.admit(owner, None, &both(place(limit, 2))).await.unwrap().running, [1]);
    let refused = fixture.store.admit(owner, None, &both(place(limit, 2))).await.unwrap();
    assert_eq!((refused.running, refused.rings[0].retry_after_s), (vec![1], 61));
    fixture.advance(61).await;
    let kept = place(limit, 1);
    assert_eq!(take(&fixture.store, owner, &[kept]).await.running, [1]);
    let full = fixture.store.admit(owner, None, &both(place(limit, 1))).await.unwrap();
    assert_eq!((full.rings[0].remaining, full.rings[0].retry_after_s), (1, 0), "the ring has room, and keeps it");
}

pub(super) async fn a_limit_that_changes_counts_on(fixture: Fixture) {
    let (owner, five) = (owner(), charge(5, 60));
    for _ in 0..5 {
        assert!(admitted(&fixture.store, owner, &[five]).await);
    }
    let lowered = admit(&fixture.store, owner, &[Charge { limit: 0, ..five }]).await;
    assert_eq!(lowered.rings[0].remaining, 0);
    assert!(matches!(lowered.verdict, Verdict::Refused { .. }));
    let raised = admit(&fixture.store, owner, &[Charge { limit: 7, ..five }]).await;
    assert_eq!((raised.verdict, raised.rings[0].remaining), (Verdict::Admitted, 1));
}

pub(super) async fn a_window_that_changes_starts_anew(fixture: Fixture) {
    let (owner, minute) = (owner(), charge(1, 60));
    assert!(admitted(&fixture.store, owner, &[minute]).await);
    let hour = Charge { window_s: 3_600, ..minute };
    assert!(admitted(&fixture.store, owner, &[hour]).await);
    assert!(!admitted(&fixture.store, owner, &[hour]).await);
}

pub(super) async fn a_limit_of_zero_refuses_everything(fixture: Fixture) {
    let refused = admit(&fixture.store, owner(), &[charge(0, 60)]).await;
    assert_eq!(refused.rings, [RingState { remaining: 0, reset_s: 61, retry_after_s: 61 }]);
}

pub(super) async fn a_clock_that_goes_back_gives_no_room(fixture: Fixture) {
    let (owner, charges) = (owner(), [charge(1, 60)]);
    assert!(admitted(&fixture.store, owner, &charges).await);
    fixture.set_back(1_000).await;
    let refused = admit(&fixture.store, owner, &charges).await;
    assert_eq!(refused.rings[0].retry_after_s, 61, "no wait is longer than the ring");
    fixture.advance(1_060).await;
    assert!(!admitted(&fixture.store, owner, &charges).await);
    fixture.advance(1).await;
    assert!(admitted(&fixture.store, owner, &charges).await);
}

pub(super) async fn classes_and_tenants_are_counted_apart(fixture: Fixture) {
    let (one, executing) = (owner(), charge(1, 60));
    let discovery = Charge { key: RingKey { meter: Meter::Requests(Class::Discovery), ..executing.key }, ..executing };
    assert!(admitted(&fixture.store, one, &[executing, discovery]).await);
    assert!(!admitted(&fixture.store, one, &[discovery]).await);
    assert!(admitted(&fixture.store, owner(), &[executing]).await);
}

pub(super) async fn nothing_asked_is_admitted(fixture: Fixture) {
    let admission = admit(&fixture.store, owner(), &[]).await;
    assert!(matches!(admission.session, Loaded::NotAsked));
    assert_eq!(admission.verdict, Verdict::Admitted);
    refund(&fixture.store, owner(), &[], &admission).await;
}
