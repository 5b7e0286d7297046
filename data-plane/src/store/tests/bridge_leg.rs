//! What modern agents' calls at legacy servers share.

use tollgate_proto::{AgentId, ServerId, TenantId, UserId};
use uuid::Uuid;

use super::{super::*, fixture::Fixture, leg, owner};
use crate::mcp::level::Level;

fn bridge(upstream_session: &str) -> BridgeLeg {
    BridgeLeg { leg: leg(upstream_session), initialized: r#"{"capabilities":{}}"#.to_owned(), level: None }
}

pub(super) async fn an_upstream_session_is_found_by_owner_server_and_capabilities(fixture: Fixture) {
    let (store, owner, server, kept) = (&fixture.store, owner(), ServerId::new(), bridge("s"));
    assert_eq!(store.put_bridge_leg(owner, server, "f", &kept, None).await, Ok(None));
    assert_eq!(store.bridge_leg(owner, server, "f").await, Ok(Some(kept)));
    let others = [
        (Owner { agent: AgentId::new(), ..owner }, server, "f"),
        (Owner { user: Some(UserId::new()), ..owner }, server, "f"),
        (Owner { tenant: TenantId::new(), ..owner }, server, "f"),
        (owner, ServerId::new(), "f"),
        (owner, server, "fu"),
        (owner, server, ""),
    ];
    for (owner, server, fingerprint) in others {
        assert_eq!(store.bridge_leg(owner, server, fingerprint).await, Ok(None));
    }
}

pub(super) async fn an_upstream_session_in_use_stays_and_an_idle_one_goes(fixture: Fixture) {
    let (store, owner, server, kept) = (&fixture.store, owner(), ServerId::new(), bridge("s"));
    store.put_bridge_leg(owner, server, "", &kept, None).await.unwrap();
    for _ in 0..3 {
        fixture.advance(SESSION_IDLE_S - 1).await;
        assert_eq!(store.bridge_leg(owner, server, "").await, Ok(Some(kept.clone())));
    }
    fixture.advance(SESSION_IDLE_S - 1).await;
    assert_eq!(store.expired_bridge_legs(owner.tenant, 9).await, Ok(vec![]));
    fixture.advance(1).await;
    assert_eq!(store.expired_bridge_legs(owner.tenant, 9).await, Ok(vec![(owner, server, kept.leg)]));
    assert_eq!(store.bridge_leg(owner, server, "").await, Ok(None));
    assert_eq!(store.put_bridge_leg(owner, server, "", &bridge("next"), None).await, Ok(None));
}

pub(super) async fn an_idle_upstream_session_is_handed_to_one_who_looks(fixture: Fixture) {
    let (store, tenant) = (&fixture.store, TenantId::new());
    let user = |at| (at % 2 == 0).then(UserId::new);
    let owners: Vec<Owner> = (0..11).map(|at| Owner { tenant, user: user(at), ..owner() }).collect();
    let (server, kept) = (ServerId::new(), bridge("s"));
    for owner in &owners {
        store.put_bridge_leg(*owner, server, "", &kept, None).await.unwrap();
        store.put_bridge_leg(*owner, server, "fu", &kept, None).await.unwrap();
    }
    store.put_bridge_leg(owner(), server, "", &bridge("of another tenant"), None).await.unwrap();
    fixture.advance(SESSION_IDLE_S).await;
    let used = store.bridge_leg(owners[0], server, "").await.unwrap();
    assert!(used.is_some(), "as long as nobody ends it, it is there");
    let looks = (0..4).map(|_| store.expired_bridge_legs(tenant, 5));
    let found = futures_util::future::join_all(looks).await;
    let mut found: Vec<_> = found.into_iter().flat_map(Result::unwrap).collect();
    found.extend(store.expired_bridge_legs(tenant, 100).await.unwrap());
    assert_eq!(found.len(), 21, "each of the tenant's once, but for the one in use");
    for owner in &owners[1..] {
        assert_eq!(found.iter().filter(|found| **found == (*owner, server, kept.leg.clone())).count(), 2);
    }
    assert!(store.expired_bridge_legs(tenant, 100).await.unwrap().is_empty());
}

pub(super) async fn of_two_that_open_at_once_the_first_one_stays(fixture: Fixture) {
    let (store, owner, server) = (&fixture.store, owner(), ServerId::new());
    let (first, second) = (bridge("first"), bridge("second"));
    assert_eq!(store.put_bridge_leg(owner, server, "", &first, None).await, Ok(None));
    assert_eq!(store.put_bridge_leg(owner, server, "", &second, None).await, Ok(Some(first.clone())));
    assert_eq!(store.bridge_leg(owner, server, "").await, Ok(Some(first)));
}

pub(super) async fn a_lost_one_is_replaced_by_whoever_comes_first(fixture: Fixture) {
    let (store, owner, server) = (&fixture.store, owner(), ServerId::new());
    let (lost, next, late) = (bridge("lost"), bridge("next"), bridge("late"));
    store.put_bridge_leg(owner, server, "", &lost, None).await.unwrap();
    store.set_bridge_level(owner, server, "", &lost.leg, Level::Debug).await.unwrap();
    assert_eq!(store.put_bridge_leg(owner, server, "", &next, Some(&lost.leg)).await, Ok(None));
    assert_eq!(
        store.put_bridge_leg(owner, server, "", &late, Some(&lost.leg)).await,
        Ok(Some(next)),
        "without a level"
    );
}

pub(super) async fn a_level_belongs_to_the_session_that_it_was_set_in(fixture: Fixture) {
    let (store, owner, server, kept) = (&fixture.store, owner(), ServerId::new(), bridge("s"));
    store.put_bridge_leg(owner, server, "", &kept, None).await.unwrap();
    store.set_bridge_level(owner, server, "", &leg("another"), Level::Debug).await.unwrap();
    assert_eq!(store.bridge_leg(owner, server, "").await, Ok(Some(kept.clone())));
    store.set_bridge_level(owner, server, "", &kept.leg, Level::Warning).await.unwrap();
    let known = store.bridge_leg(owner, server, "").await.unwrap().unwrap();
    assert_eq!(known.level, Some(Level::Warning));
}

pub(super) async fn a_waiting_call_is_held_for_as_long_as_its_holder_says_so(fixture: Fixture) {
    let (store, owner, call) = (&fixture.store, owner(), MailboxId::generate().unwrap());
    assert_eq!(store.is_held(owner, call).await, Ok(false));
    store.hold(owner, call, 6).await.unwrap();
    fixture.advance(5).await;
    assert_eq!(store.is_held(owner, call).await, Ok(true));
    store.hold(owner, call, 6).await.unwrap();
    fixture.advance(5).await;
    assert_eq!(store.is_held(owner, call).await, Ok(true));
    fixture.advance(1).await;
    assert_eq!(store.is_held(owner, call).await, Ok(false));
    store.hold(owner, call, 6).await.unwrap();
    store.release(owner, call).await.unwrap();
    assert_eq!(store.is_held(owner, call).await, Ok(false));
    let other = Owner { agent: AgentId::new(), ..owner };
    store.hold(other, call, 6).await.unwrap();
    assert_eq!(store.is_held(owner, call).await, Ok(false));
}

pub(super) async fn a_lease_is_one_holders_until_it_ends(fixture: Fixture) {
    let (store, owner, what) = (&fixture.store, owner(), MailboxId::generate().unwrap());
    let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
    assert_eq!(store.lease(owner, what, first, 6).await, Ok(true));
    fixture.advance(5).await;
    assert_eq!(store.lease(owner, what, second, 6).await, Ok(false));
    assert_eq!(store.lease(owner, what, first, 6).await, Ok(true), "renewed");
    fixture.advance(5).await;
    store.end_lease(owner, what, second).await.unwrap();
    assert_eq!(store.lease(owner, what, second, 6).await, Ok(false), "only its holder ends it");
    fixture.advance(1).await;
    assert_eq!(store.lease(owner, what, second, 6).await, Ok(true), "it ran out");
    store.end_lease(owner, what, second).await.unwrap();
    assert_eq!(store.lease(owner, what, first, 6).await, Ok(true));
}

pub(super) async fn members_are_counted_while_they_stay(fixture: Fixture) {
    let (store, owner, what) = (&fixture.store, owner(), MailboxId::generate().unwrap());
    let members = [Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7()];
    for member in members {
        store.join(owner, what, member, 60).await.unwrap();
    }
    store.join(owner, MailboxId::generate().unwrap(), Uuid::now_v7(), 60).await.unwrap();
    assert_eq!(store.leave(owner, what, members[0]).await, Ok(2));
    fixture.advance(30).await;
    store.join(owner, what, members[1], 60).await.unwrap();
    fixture.advance(30).await;
    assert_eq!(store.leave(owner, what, members[1]).await, Ok(0), "the third has not been heard of");
}

pub(super) async fn a_round_of_answers_is_taken_once(fixture: Fixture) {
    let (store, owner, call) = (&fixture.store, owner(), MailboxId::generate().unwrap());
    let claims = (0..8).map(|_| store.claim(owner, call, 1, 600));
    let taken = futures_util::future::join_all(claims).await;
    assert_eq!(taken.iter().filter(|taken| **taken == Ok(true)).count(), 1, "{taken:?}");
    assert_eq!(store.claim(owner, call, 2, 600).await, Ok(true));
    assert_eq!(store.claim(owner, call, 1, 600).await, Ok(false));
    let other = Owner { agent: AgentId::new(), ..owner };
    assert_eq!(store.claim(other, call, 1, 600).await, Ok(true));
}
