//! One suite for both implementations, by a clock that the test moves, and what only one of them can show.

mod admission;
mod bridge_leg;
mod fixture;
mod listing;
mod mail;
mod outage;
mod property;
mod reading;
pub(crate) mod server;
mod spending;

use std::time::{Duration, Instant};

use tollgate_proto::{AgentId, InstanceId, LimitId, ServerId, TenantId, UserId};

use self::{
    admission::{
        a_call_of_which_nothing_is_heard_gives_its_place_back, a_clock_that_goes_back_gives_no_room,
        a_late_refund_gives_no_credit, a_limit_of_zero_refuses_everything, a_limit_that_changes_counts_on,
        a_missing_session_charges_nothing, a_refund_gives_room_again,
        a_refusal_charges_no_ring_and_names_those_that_refused,
        a_ring_that_refuses_takes_no_place_and_a_full_limit_charges_no_ring,
        a_settlement_moves_what_was_reserved_to_when_it_was_used, a_window_that_changes_starts_anew, admit, admitted,
        as_many_calls_run_at_once_as_there_are_places, charge, classes_and_tenants_are_counted_apart, demand,
        exactly_the_limit_passes_at_once, nothing_asked_is_admitted, refund,
        what_was_used_beyond_the_limit_refuses_until_it_has_left,
    },
    bridge_leg::{
        a_lease_is_one_holders_until_it_ends, a_level_belongs_to_the_session_that_it_was_set_in,
        a_lost_one_is_replaced_by_whoever_comes_first, a_round_of_answers_is_taken_once,
        a_waiting_call_is_held_for_as_long_as_its_holder_says_so, an_idle_upstream_session_is_handed_to_one_who_looks,
        an_upstream_session_in_use_stays_and_an_idle_one_goes,
        an_upstream_session_is_found_by_owner_server_and_capabilities, members_are_counted_while_they_stay,
        of_two_that_open_at_once_the_first_one_stays,
    },
    fixture::{Fixture, patient},
    listing::{
        a_handle_leads_to_its_session_within_its_tenant, an_upstream_session_is_listed_until_it_is_removed,
        looking_at_a_session_does_not_keep_it, sessions_are_listed_from_the_newest_on_page_by_page,
    },
    mail::{
        a_full_mailbox_takes_no_more_until_it_is_read, a_reader_that_waits_gets_what_comes, discarded_mail_is_gone,
        mail_is_for_its_owner_only, mail_is_read_in_its_order_until_it_is_passed, mail_that_nobody_reads_expires,
        what_is_announced_is_heard_where_it_was_said,
    },
    reading::{
        a_store_has_an_id_of_its_own_that_stays, looking_charges_nothing_and_lets_nothing_leave,
        the_calls_that_run_are_seen_until_they_are_lost, what_is_in_the_window_is_seen_and_no_more,
    },
    spending::{
        a_budget_that_refuses_charges_no_ring_and_a_ring_no_budget, a_settlement_corrects_what_is_spent,
        another_period_and_another_unit_begin_anew, nothing_passes_where_nobody_knows_what_is_spent,
        of_many_budgets_all_are_charged_or_none, what_fits_into_a_budget_passes_to_the_last_unit,
        what_the_ledger_has_counts_where_it_is_more,
    },
};
use super::*;

macro_rules! on_both_stores {
    ($($test:ident),* $(,)?) => {
        mod in_memory {
            $(#[tokio::test(flavor = "multi_thread")] async fn $test() { super::$test(super::Fixture::memory()).await; })*
        }
        mod in_redis {
            $(#[tokio::test(flavor = "multi_thread")] async fn $test() { super::$test(super::Fixture::redis().await).await; })*
        }
        /// One cluster for all: it takes a while to form.
        #[tokio::test(flavor = "multi_thread")]
        async fn the_whole_suite_holds_in_a_cluster() {
            let cluster = std::sync::Arc::new(server::RedisCluster::start().await);
            $($test(Fixture::cluster(&cluster).await).await;)*
        }
    };
}

on_both_stores!(
    a_session_comes_back_as_it_was_kept,
    a_session_is_found_by_its_owner_only,
    a_used_session_stays_and_an_idle_one_goes,
    a_busy_session_ends_after_a_day,
    legs_put_at_once_are_all_kept,
    a_log_level_is_kept_with_its_session,
    a_session_keeps_what_it_subscribed_to,
    a_session_subscribes_to_so_many_resources_and_no_more,
    a_removed_session_is_gone,
    a_session_whose_time_is_up_is_handed_to_one_who_looks,
    a_session_in_use_is_handed_to_nobody,
    exactly_the_limit_passes_at_once,
    a_refusal_charges_no_ring_and_names_those_that_refused,
    a_missing_session_charges_nothing,
    a_refund_gives_room_again,
    a_late_refund_gives_no_credit,
    a_settlement_moves_what_was_reserved_to_when_it_was_used,
    what_was_used_beyond_the_limit_refuses_until_it_has_left,
    as_many_calls_run_at_once_as_there_are_places,
    a_call_of_which_nothing_is_heard_gives_its_place_back,
    a_ring_that_refuses_takes_no_place_and_a_full_limit_charges_no_ring,
    a_limit_that_changes_counts_on,
    a_window_that_changes_starts_anew,
    a_limit_of_zero_refuses_everything,
    a_clock_that_goes_back_gives_no_room,
    classes_and_tenants_are_counted_apart,
    nothing_asked_is_admitted,
    a_budget_that_refuses_charges_no_ring_and_a_ring_no_budget,
    a_settlement_corrects_what_is_spent,
    another_period_and_another_unit_begin_anew,
    nothing_passes_where_nobody_knows_what_is_spent,
    of_many_budgets_all_are_charged_or_none,
    what_fits_into_a_budget_passes_to_the_last_unit,
    what_the_ledger_has_counts_where_it_is_more,
    what_is_in_the_window_is_seen_and_no_more,
    looking_charges_nothing_and_lets_nothing_leave,
    the_calls_that_run_are_seen_until_they_are_lost,
    a_store_has_an_id_of_its_own_that_stays,
    a_name_is_recalled_within_its_tenant,
    a_name_that_is_used_stays,
    mail_is_read_in_its_order_until_it_is_passed,
    a_reader_that_waits_gets_what_comes,
    mail_is_for_its_owner_only,
    mail_that_nobody_reads_expires,
    discarded_mail_is_gone,
    a_full_mailbox_takes_no_more_until_it_is_read,
    what_is_announced_is_heard_where_it_was_said,
    a_level_belongs_to_the_session_that_it_was_set_in,
    a_lost_one_is_replaced_by_whoever_comes_first,
    a_round_of_answers_is_taken_once,
    a_waiting_call_is_held_for_as_long_as_its_holder_says_so,
    an_upstream_session_in_use_stays_and_an_idle_one_goes,
    an_idle_upstream_session_is_handed_to_one_who_looks,
    an_upstream_session_is_found_by_owner_server_and_capabilities,
    of_two_that_open_at_once_the_first_one_stays,
    a_lease_is_one_holders_until_it_ends,
    members_are_counted_while_they_stay,
    sessions_are_listed_from_the_newest_on_page_by_page,
    a_handle_leads_to_its_session_within_its_tenant,
    looking_at_a_session_does_not_keep_it,
    an_upstream_session_is_listed_until_it_is_removed,
);

fn owner() -> Owner {
    Owner { tenant: TenantId::new(), agent: AgentId::new(), user: None }
}

fn leg(upstream_session: &str) -> Leg {
    Leg {
        instance: InstanceId::new(),
        upstream_session: Some(upstream_session.to_owned()),
        protocol_version: "2025-06-18".to_owned(),
    }
}

fn session(owner: Owner) -> Session {
    Session {
        owner,
        endpoint: "http://127.0.0.1:7402/t/default/mcp".to_owned(),
        protocol_version: "2025-11-25".to_owned(),
        initialize_params: br#"{"capabilities":{},"clientInfo":{"name":"\u00e4 \"test\""}}"#.to_vec(),
        legs: [(ServerId::new(), leg("first"))].into(),
        log_level: Some("warning".to_owned()),
        subscriptions: [subscription("file:///a:b {c}")].into(),
        created_at_ms: 1_800_000_000_123,
    }
}

fn subscription(uri: &str) -> Subscription {
    Subscription { server: ServerId::new(), uri: uri.to_owned() }
}

fn found(loaded: Loaded) -> Option<Session> {
    match loaded {
        Loaded::Found(session) => Some(*session),
        Loaded::NotAsked | Loaded::Missing => None,
    }
}

async fn load(store: &Store, owner: Owner, id: &SessionId) -> Option<Session> {
    store.own_session(owner, id).await.unwrap()
}

async fn a_session_comes_back_as_it_was_kept(fixture: Fixture) {
    let kept = session(owner());
    let id = fixture.store.create_session(&kept).await.unwrap();
    let id = id.to_string().parse().expect("what is shown is read again");
    assert_eq!(load(&fixture.store, kept.owner, &id).await, Some(kept));
}

async fn a_session_is_found_by_its_owner_only(fixture: Fixture) {
    let store = &fixture.store;
    let kept = session(owner());
    let id = store.create_session(&kept).await.unwrap();
    let same_tenant = Owner { agent: AgentId::new(), ..kept.owner };
    let same_agent = Owner { tenant: TenantId::new(), ..kept.owner };
    let same_agent_for_a_user = Owner { user: Some(UserId::new()), ..kept.owner };
    for other in [same_tenant, same_agent, same_agent_for_a_user] {
        assert_eq!(load(store, other, &id).await, None);
        assert!(!store.put_leg(other, &id, ServerId::new(), &leg("x")).await.unwrap());
        assert_eq!(store.remove_session(other, &id).await.unwrap(), None);
    }
    assert_eq!(load(store, kept.owner, &id).await, Some(kept));
}

async fn a_used_session_stays_and_an_idle_one_goes(fixture: Fixture) {
    let kept = session(owner());
    let id = fixture.store.create_session(&kept).await.unwrap();
    for _ in 0..3 {
        fixture.advance(SESSION_IDLE_S - 1).await;
        assert!(load(&fixture.store, kept.owner, &id).await.is_some());
    }
    fixture.advance(SESSION_IDLE_S).await;
    assert!(load(&fixture.store, kept.owner, &id).await.is_none());
    assert!(!fixture.store.put_leg(kept.owner, &id, ServerId::new(), &leg("late")).await.unwrap());
    assert_eq!(fixture.store.remove_session(kept.owner, &id).await.unwrap(), None);
}

async fn a_busy_session_ends_after_a_day(fixture: Fixture) {
    let kept = session(owner());
    let id = fixture.store.create_session(&kept).await.unwrap();
    let step_s = SESSION_IDLE_S / 2;
    for _ in 1..SESSION_LIFE_S / step_s {
        fixture.advance(step_s).await;
        assert!(load(&fixture.store, kept.owner, &id).await.is_some());
    }
    fixture.advance(step_s).await;
    assert!(load(&fixture.store, kept.owner, &id).await.is_none());
}

async fn legs_put_at_once_are_all_kept(fixture: Fixture) {
    let kept = session(owner());
    let store = &fixture.store;
    let id = store.create_session(&kept).await.unwrap();
    let servers: Vec<ServerId> = (0..50).map(|_| ServerId::new()).collect();
    let puts = servers.iter().map(|&server| async move {
        assert!(store.put_leg(kept.owner, &id, server, &leg(&server.to_string())).await.unwrap());
    });
    futures_util::future::join_all(puts).await;
    let legs = load(store, kept.owner, &id).await.expect("the session lives").legs;
    assert_eq!(legs.len(), 51);
    for server in servers {
        assert_eq!(legs[&server].upstream_session, Some(server.to_string()));
    }
}

async fn a_log_level_is_kept_with_its_session(fixture: Fixture) {
    let (kept, store) = (session(owner()), &fixture.store);
    let id = store.create_session(&kept).await.unwrap();
    assert!(store.put_log_level(kept.owner, &id, "debug").await.unwrap());
    let loaded = load(store, kept.owner, &id).await;
    assert_eq!(loaded, Some(Session { log_level: Some("debug".to_owned()), ..kept.clone() }));
    assert!(!store.put_log_level(owner(), &id, "info").await.unwrap());
    store.remove_session(kept.owner, &id).await.unwrap();
    assert!(!store.put_log_level(kept.owner, &id, "info").await.unwrap());
}

async fn a_session_keeps_what_it_subscribed_to(fixture: Fixture) {
    let (kept, store) = (session(owner()), &fixture.store);
    let id = store.create_session(&kept).await.unwrap();
    let first = kept.subscriptions.first().unwrap();
    let second = subscription("demo://two");
    for wanted in [&second, &second, first] {
        assert_eq!(store.subscribe(kept.owner, &id, wanted).await, Ok(Subscribed::Kept));
    }
    let loaded = load(store, kept.owner, &id).await.unwrap();
    assert_eq!(loaded.subscriptions, [first.clone(), second.clone()].into());
    assert_eq!(store.unsubscribe(kept.owner, &id, first).await, Ok(true));
    assert_eq!(store.unsubscribe(kept.owner, &id, &subscription("never")).await, Ok(true));
    assert_eq!(load(store, kept.owner, &id).await.unwrap().subscriptions, [second.clone()].into());
    store.remove_session(kept.owner, &id).await.unwrap();
    assert_eq!(store.subscribe(kept.owner, &id, first).await, Ok(Subscribed::NoSession));
    assert_eq!(store.unsubscribe(kept.owner, &id, first).await, Ok(false));
}

async fn a_session_subscribes_to_so_many_resources_and_no_more(fixture: Fixture) {
    let (kept, store) = (session(owner()), &fixture.store);
    let id = store.create_session(&kept).await.unwrap();
    let first = kept.subscriptions.first().unwrap();
    for number in 1..SUBSCRIPTIONS_MAX {
        let subscribed = store.subscribe(kept.owner, &id, &subscription(&number.to_string())).await;
        assert_eq!(subscribed, Ok(Subscribed::Kept));
    }
    assert_eq!(store.subscribe(kept.owner, &id, &subscription("more")).await, Ok(Subscribed::Full));
    assert_eq!(store.subscribe(kept.owner, &id, first).await, Ok(Subscribed::Kept), "it has this one already");
    store.unsubscribe(kept.owner, &id, first).await.unwrap();
    assert_eq!(store.subscribe(kept.owner, &id, &subscription("more")).await, Ok(Subscribed::Kept));
}

async fn a_removed_session_is_gone(fixture: Fixture) {
    let kept = session(owner());
    let id = fixture.store.create_session(&kept).await.unwrap();
    assert_eq!(fixture.store.remove_session(kept.owner, &id).await.unwrap(), Some(kept.clone()));
    assert_eq!(fixture.store.remove_session(kept.owner, &id).await.unwrap(), None);
    assert_eq!(load(&fixture.store, kept.owner, &id).await, None);
}

async fn a_session_whose_time_is_up_is_handed_to_one_who_looks(fixture: Fixture) {
    let tenant = TenantId::new();
    let user = |at| (at % 2 == 0).then(UserId::new);
    let kept: Vec<Session> = (0..21).map(|at| session(Owner { tenant, user: user(at), ..owner() })).collect();
    for session in kept.iter().chain([&session(owner())]) {
        fixture.store.create_session(session).await.unwrap();
    }
    assert!(fixture.store.expired_sessions(tenant, 100).await.unwrap().is_empty());
    fixture.advance(SESSION_IDLE_S).await;
    let looks = (0..4).map(|_| fixture.store.expired_sessions(tenant, 10));
    let found = futures_util::future::join_all(looks).await;
    let mut found: Vec<Session> = found.into_iter().flat_map(Result::unwrap).map(|(_, session)| session).collect();
    for (_, session) in fixture.store.expired_sessions(tenant, 100).await.unwrap() {
        found.push(session);
    }
    assert_eq!(found.len(), 21, "each of the tenant's once");
    for session in &kept {
        assert!(found.contains(session), "with its legs: {session:?}");
    }
    assert!(fixture.store.expired_sessions(tenant, 100).await.unwrap().is_empty());
}

async fn a_session_in_use_is_handed_to_nobody(fixture: Fixture) {
    let kept = session(owner());
    let id = fixture.store.create_session(&kept).await.unwrap();
    fixture.advance(SESSION_IDLE_S - 1).await;
    assert!(load(&fixture.store, kept.owner, &id).await.is_some());
    fixture.advance(SESSION_IDLE_S - 1).await;
    for _ in 0..2 {
        assert!(fixture.store.expired_sessions(kept.owner.tenant, 100).await.unwrap().is_empty());
    }
    fixture.advance(1).await;
    let expired = fixture.store.expired_sessions(kept.owner.tenant, 100).await.unwrap();
    assert_eq!(expired, [(id, kept.clone())]);
    assert!(!fixture.store.put_leg(kept.owner, &id, ServerId::new(), &leg("late")).await.unwrap());
}

async fn a_name_is_recalled_within_its_tenant(fixture: Fixture) {
    let (tenant, server) = (TenantId::new(), ServerId::new());
    fixture.store.remember_name(tenant, "demo__long_1a2b", server, "a tool with spaces").await.unwrap();
    let recalled = fixture.store.recall_name(tenant, "demo__long_1a2b").await.unwrap();
    assert_eq!(recalled, Some((server, "a tool with spaces".to_owned())));
    assert_eq!(fixture.store.recall_name(TenantId::new(), "demo__long_1a2b").await.unwrap(), None);
    assert_eq!(fixture.store.recall_name(tenant, "demo__other").await.unwrap(), None);
    fixture.store.remember_name(tenant, "demo__long_1a2b", server, "renamed").await.unwrap();
    let recalled = fixture.store.recall_name(tenant, "demo__long_1a2b").await.unwrap();
    assert_eq!(recalled, Some((server, "renamed".to_owned())));
}

async fn a_name_that_is_used_stays(fixture: Fixture) {
    let (tenant, server) = (TenantId::new(), ServerId::new());
    fixture.store.remember_name(tenant, "used", server, "tool").await.unwrap();
    // Redis forgets names by its own expiry, which no test clock moves: here they only must not go too early.
    for _ in 0..3 {
        fixture.advance(NAME_IDLE_S - 1).await;
        assert!(fixture.store.recall_name(tenant, "used").await.unwrap().is_some());
    }
}

#[tokio::test]
async fn memory_forgets_names_that_nobody_uses() {
    let fixture = Fixture::memory();
    let (tenant, server) = (TenantId::new(), ServerId::new());
    fixture.store.remember_name(tenant, "idle", server, "tool").await.unwrap();
    fixture.advance(NAME_IDLE_S).await;
    assert_eq!(fixture.store.recall_name(tenant, "idle").await.unwrap(), None);
    for number in 0..50_000 {
        fixture.store.remember_name(tenant, &number.to_string(), server, "tool").await.unwrap();
    }
    let mut known = 0;
    for number in 0..50_000 {
        known += usize::from(fixture.store.recall_name(tenant, &number.to_string()).await.unwrap().is_some());
    }
    assert!((15_000..=20_000).contains(&known), "{known}");
}

#[tokio::test]
async fn memory_bounds_the_sessions_of_one_agent_and_of_nobody_else() {
    let fixture = Fixture::memory();
    let (quiet, busy) = (owner(), owner());
    let quiet_id = fixture.store.create_session(&session(quiet)).await.unwrap();
    let first = fixture.store.create_session(&session(busy)).await.unwrap();
    fixture.advance(1).await;
    for _ in 0..1_000 {
        fixture.store.create_session(&session(busy)).await.unwrap();
    }
    assert!(load(&fixture.store, busy, &first).await.is_none());
    assert!(load(&fixture.store, quiet, &quiet_id).await.is_some());
}

#[test]
fn what_is_no_session_id_is_refused() {
    for text in ["", "short", &"A".repeat(42), &"A".repeat(44), &"=".repeat(43), &"é".repeat(22)] {
        assert!(text.parse::<SessionId>().is_err(), "{text}");
    }
    let id = SessionId::generate().unwrap();
    assert_eq!(id.to_string().len(), 43);
    assert!(!format!("{id:?}").contains(&id.to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_keeps_the_limit_by_its_own_clock() {
    const LIMIT: u32 = 7;
    let server = server::RedisServer::start().await;
    let store = Store::Redis(redis::Store::open(&[server.url()], patient()).unwrap());
    let (owner, charges) = (owner(), [charge(LIMIT, 1)]);
    let mut passed: Vec<(Instant, Instant)> = Vec::new();
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(5) {
        let before = Instant::now();
        if admitted(&store, owner, &charges).await {
            passed.push((before, Instant::now()));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(passed.len() > 2 * LIMIT as usize, "{}", passed.len());
    for pair in passed.windows(LIMIT as usize + 1) {
        let apart = pair[LIMIT as usize].1 - pair[0].0;
        assert!(apart > Duration::from_secs(1), "{LIMIT} and one passed within {apart:?}");
    }
    // Redis counts whole seconds: waiting as long as it says always suffices.
    if let Verdict::Refused { retry_after_s, .. } = admit(&store, owner, &charges).await.verdict {
        assert!((1..=2).contains(&retry_after_s));
        tokio::time::sleep(Duration::from_secs(retry_after_s.into())).await;
        assert!(admitted(&store, owner, &charges).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_forgets_what_has_expired() {
    let fixture = Fixture::redis().await;
    let owner = owner();
    fixture.store.create_session(&session(owner)).await.unwrap();
    fixture.store.remember_name(owner.tenant, "name", ServerId::new(), "tool").await.unwrap();
    let bridge = BridgeLeg { leg: leg("s"), initialized: "{}".to_owned(), level: None };
    fixture.store.put_bridge_leg(owner, ServerId::new(), "", &bridge, None).await.unwrap();
    for window_s in [1, 60, 3_600] {
        assert!(admitted(&fixture.store, owner, &[charge(1, window_s)]).await);
        assert!(!admitted(&fixture.store, owner, &[charge(0, window_s)]).await);
    }
    fixture.store.look(owner.tenant, &Look { running: vec![LimitId::new()], ..Look::default() }).await.unwrap();
    let keys = fixture.keys_with_expiry().await;
    let expected = "two kinds of sessions, when they end, their handles, a name, three charged rings and no refused one, \
                    the store's id";
    assert_eq!(keys.len(), 10, "{expected}: {keys:?}");
    let longest = SESSION_LIFE_S + SESSION_GRACE_S;
    for (key, expires_s) in keys {
        assert!(key.starts_with(&format!("tg:{{{}}}:", owner.tenant)), "{key}");
        assert!((1..=longest as i64).contains(&expires_s), "{key} expires in {expires_s} s");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_serves_every_tenant() {
    let cluster = server::RedisCluster::start().await;
    let store = Store::Redis(redis::Store::open(&cluster.urls(), patient()).unwrap());
    for _ in 0..30 {
        let owner = owner();
        let id = store.create_session(&session(owner)).await.unwrap();
        assert!(store.put_leg(owner, &id, ServerId::new(), &leg("second")).await.unwrap());
        let charges = [charge(1, 60), charge(2, 3_600)];
        let admission = store.admit(owner, Some(&id), &demand(&charges)).await.unwrap();
        assert_eq!(admission.verdict, Verdict::Admitted);
        assert_eq!(found(admission.session.clone()).map(|session| session.legs.len()), Some(2));
        assert!(!admitted(&store, owner, &charges).await);
        refund(&store, owner, &charges, &admission).await;
        assert!(admitted(&store, owner, &charges).await);
        store.remember_name(owner.tenant, "name", ServerId::new(), "tool").await.unwrap();
        assert!(store.recall_name(owner.tenant, "name").await.unwrap().is_some());
        assert!(store.remove_session(owner, &id).await.unwrap().is_some());
    }
}
