//! Sessions as operators look at them.

use tollgate_proto::{AgentId, ServerId, TenantId};

use super::{super::*, fixture::Fixture, leg, load, owner, session};

async fn open(store: &Store, owner: Owner, created_at_ms: u64) -> SessionId {
    store.create_session(&Session { created_at_ms, ..session(owner) }).await.unwrap()
}

async fn all(store: &Store, tenant: TenantId) -> Vec<Listed> {
    store.sessions(tenant, None, None, 100).await.unwrap().found
}

fn opened_at(listing: &Listing) -> Vec<u64> {
    listing.found.iter().map(Listed::created_at_ms).collect()
}

pub(super) async fn sessions_are_listed_from_the_newest_on_page_by_page(fixture: Fixture) {
    let (store, mine) = (&fixture.store, owner());
    let other = Owner { agent: AgentId::new(), ..mine };
    for (owner, at_ms) in [(mine, 3_000), (other, 5_000), (mine, 1_000), (mine, 4_000), (owner(), 9_000)] {
        open(store, owner, at_ms).await;
    }
    let first = store.sessions(mine.tenant, None, None, 2).await.unwrap();
    assert_eq!(opened_at(&first), [5_000, 4_000]);
    let second = store.sessions(mine.tenant, first.reached, None, 3).await.unwrap();
    assert_eq!(opened_at(&second), [3_000, 1_000]);
    assert_eq!(second.reached, None, "that was the end");
    let of_other = store.sessions(mine.tenant, None, Some(other.agent), 100).await.unwrap();
    assert_eq!(opened_at(&of_other), [5_000]);
    let looked_past = store.sessions(mine.tenant, first.reached, Some(other.agent), 1).await.unwrap();
    assert!(looked_past.found.is_empty() && looked_past.reached.is_some(), "{looked_past:?}");
}

pub(super) async fn a_handle_leads_to_its_session_within_its_tenant(fixture: Fixture) {
    let (store, kept) = (&fixture.store, session(owner()));
    let tenant = kept.owner.tenant;
    let id = store.create_session(&kept).await.unwrap();
    open(store, kept.owner, kept.created_at_ms).await;
    let listed = all(store, tenant).await.into_iter().find(|listed| listed.kept == Kept::Session(id, kept.clone()));
    let listed = listed.expect("it is in the list");
    assert_eq!((listed.last_used_at_s, listed.expires_at_s), (fixture.now_s(), fixture.now_s() + SESSION_IDLE_S));
    assert_eq!(listed.created_at_ms(), kept.created_at_ms);
    assert_eq!(store.session(tenant, listed.handle).await.unwrap().as_ref(), Some(&listed));
    assert_eq!(store.session(TenantId::new(), listed.handle).await, Ok(None));
    store.end_session(kept.owner, &id).await.unwrap();
    assert_eq!(store.session(tenant, listed.handle).await, Ok(None));
    assert_eq!(all(store, tenant).await.len(), 1, "the other one");
}

pub(super) async fn looking_at_a_session_does_not_keep_it(fixture: Fixture) {
    let (store, kept) = (&fixture.store, session(owner()));
    let tenant = kept.owner.tenant;
    let id = store.create_session(&kept).await.unwrap();
    fixture.advance(SESSION_IDLE_S - 1).await;
    let handle = all(store, tenant).await[0].handle;
    assert!(store.session(tenant, handle).await.unwrap().is_some());
    fixture.advance(1).await;
    assert_eq!(load(store, kept.owner, &id).await, None);
    assert!(all(store, tenant).await.is_empty());
    assert_eq!(store.session(tenant, handle).await, Ok(None));
    assert_eq!(store.expired_sessions(tenant, 10).await.unwrap().len(), 1, "whoever ends it still finds it");
    assert!(all(store, tenant).await.is_empty());
}

pub(super) async fn an_upstream_session_is_listed_until_it_is_removed(fixture: Fixture) {
    let (store, owner, server) = (&fixture.store, owner(), ServerId::new());
    let bridge = |session: &str| BridgeLeg { leg: leg(session), initialized: "{}".to_owned(), level: None };
    let (first, next) = (bridge("first"), bridge("next"));
    store.put_bridge_leg(owner, server, "", &first, None).await.unwrap();
    store.put_bridge_leg(owner, server, "", &next, Some(&first.leg)).await.unwrap();
    store.put_bridge_leg(owner, server, "fu", &first, None).await.unwrap();
    fixture.advance(SESSION_IDLE_S - 1).await;
    assert!(store.bridge_leg(owner, server, "").await.unwrap().is_some());
    fixture.advance(1).await;
    let [listed] = &all(store, owner.tenant).await[..] else { panic!("one is in use, one is replaced, one is over") };
    let key = UpstreamKey { owner, server, fingerprint: String::new() };
    assert_eq!(listed.kept, Kept::Upstream(key.clone(), next.clone()));
    assert_eq!(listed.expires_at_s, fixture.now_s() + SESSION_IDLE_S - 1);
    assert_eq!(store.session(owner.tenant, listed.handle).await.unwrap().as_ref(), Some(listed));
    assert_eq!(store.remove_bridge_leg(&key, &first.leg).await, Ok(false), "another one has taken its place");
    assert_eq!(store.remove_bridge_leg(&key, &next.leg).await, Ok(true));
    assert_eq!(store.remove_bridge_leg(&key, &next.leg).await, Ok(false));
    assert!(all(store, owner.tenant).await.is_empty());
    assert_eq!(store.bridge_leg(owner, server, "").await, Ok(None));
}
