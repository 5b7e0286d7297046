use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_800_000_000;

fn entry(what: What, issued_before: i64, expires_at: i64) -> wire::Revocation {
    wire::Revocation { what: Some(what), issued_before, expires_at }
}

fn message(revision: u64, complete: bool, entries: Vec<wire::Revocation>) -> wire::Revocations {
    wire::Revocations { tenant_id: TenantId::new().to_string(), revision, complete, entries }
}

fn after(held: &Revocations, sent: &wire::Revocations) -> Revocations {
    let (next, read) = held.with(sent);
    read.expect("readable");
    next
}

fn holding(entries: Vec<wire::Revocation>) -> Revocations {
    after(&Revocations::default(), &message(1, false, entries))
}

/// A token of an agent that acts for a user, issued at `NOW`.
fn token() -> TokenFacts<'static> {
    TokenFacts {
        jti: Uuid::now_v7(),
        gid: Some(AuthorizationId::new()),
        agent: AgentId::new(),
        user: Some(UserId::new()),
        kid: Some("k1"),
        issued_at: NOW,
    }
}

#[test]
fn each_of_the_six_ways_hits_what_it_speaks_of_and_nothing_else() {
    let mine = token();
    let other = TokenFacts { kid: Some("k2"), ..token() };
    let (gid, user) = (mine.gid.expect("set above"), mine.user.expect("set above"));
    for what in [
        What::Token(mine.jti.to_string()),
        What::GrantFamily(gid.to_string()),
        What::Agent(mine.agent.to_string()),
        What::User(user.to_string()),
        What::Key("k1".to_owned()),
    ] {
        let held = holding(vec![entry(what.clone(), NOW + 1, NOW + 900)]);
        assert!(held.hit(&mine), "{what:?}");
        assert!(!held.hit(&other), "{what:?}");
    }
    let held = holding(vec![entry(What::Tenant(true), NOW + 1, NOW + 900)]);
    assert!(held.hit(&mine) && held.hit(&other));
}

#[test]
fn what_is_issued_afterwards_is_good() {
    let old = token();
    let new = TokenFacts { issued_at: NOW + 1, ..old };
    let user = old.user.expect("set above").to_string();
    for what in [What::Agent(old.agent.to_string()), What::User(user), What::Tenant(true)] {
        let held = holding(vec![entry(what, NOW + 1, NOW + 900)]);
        assert!(held.hit(&old) && !held.hit(&new));
    }
}

#[test]
fn an_agent_that_acts_for_itself_has_no_family_and_no_user() {
    let own = TokenFacts { gid: None, user: None, kid: None, ..token() };
    assert!(!holding(vec![entry(What::User(UserId::new().to_string()), NOW + 1, NOW + 900)]).hit(&own));
    assert!(holding(vec![entry(What::Agent(own.agent.to_string()), NOW + 1, NOW + 900)]).hit(&own));
}

#[test]
fn an_earlier_cutoff_that_comes_later_lets_nothing_in_again() {
    let token = token();
    let cutoff = |before| message(1, false, vec![entry(What::Agent(token.agent.to_string()), before, before + 900)]);
    let held = after(&after(&Revocations::default(), &cutoff(NOW + 1)), &cutoff(NOW - 100));
    assert!(held.hit(&token));
    assert!(held.without_expired(NOW + 800).is_none(), "it lives as long as the later one");
}

#[test]
fn an_increment_adds_and_a_complete_message_replaces() {
    let (first, second) = (token(), token());
    let of = |token: &TokenFacts<'_>| vec![entry(What::Token(token.jti.to_string()), 0, NOW + 900)];
    let held = after(&after(&Revocations::default(), &message(4, false, of(&first))), &message(7, false, of(&second)));
    assert!(held.hit(&first) && held.hit(&second));
    assert_eq!((held.revision(), held.len()), (7, 2));
    assert_eq!(after(&held, &message(5, false, Vec::new())).revision(), 7, "what comes late turns nothing back");
    // As after a restored backup: the revisions begin anew.
    let replaced = after(&held, &message(2, true, of(&second)));
    assert!(!replaced.hit(&first) && replaced.hit(&second));
    assert_eq!(replaced.revision(), 2);
}

#[test]
fn what_cannot_be_read_is_not_confirmed_and_the_rest_is_in_force() {
    let token = token();
    let good = entry(What::Token(token.jti.to_string()), 0, NOW + 900);
    let old = TokenFacts { jti: Uuid::now_v7(), ..token };
    let held = holding(vec![entry(What::Token(old.jti.to_string()), 0, NOW + 900)]);
    let broken = [
        entry(What::Token("nobody".to_owned()), 0, NOW + 900),
        entry(What::Agent(UserId::new().to_string()), NOW, NOW + 900),
        wire::Revocation { what: None, issued_before: 0, expires_at: NOW + 900 },
    ];
    for broken in broken {
        for complete in [true, false] {
            let (next, read) = held.with(&message(3, complete, vec![broken.clone(), good.clone()]));
            assert!(read.is_err());
            assert!(next.hit(&token) && next.hit(&old));
            assert_eq!(next.revision(), 1, "the control plane is not told that everything is in force");
        }
    }
}

fn any_entry() -> impl Strategy<Value = wire::Revocation> {
    // Few subjects, so that they meet.
    let ids = || prop::sample::select(vec![1_u128, 2, 3]).prop_map(Uuid::from_u128);
    let what = prop_oneof![
        ids().prop_map(|id| What::Token(id.to_string())),
        ids().prop_map(|id| What::GrantFamily(AuthorizationId::from(id).to_string())),
        ids().prop_map(|id| What::Agent(AgentId::from(id).to_string())),
        ids().prop_map(|id| What::User(UserId::from(id).to_string())),
        prop::sample::select(vec!["k1", "k2"]).prop_map(|kid| What::Key(kid.to_owned())),
        Just(What::Tenant(true)),
    ];
    (what, NOW - 3..NOW + 3, NOW - 3..NOW + 3).prop_map(|(what, before, until)| entry(what, before, until))
}

proptest! {
    #[test]
    fn what_is_held_survives_being_written_down(entries in prop::collection::vec(any_entry(), 0..12)) {
        let held = holding(entries);
        let read_back = after(&Revocations::default(), &held.to_message(TenantId::new()));
        prop_assert_eq!(read_back, held);
    }

    #[test]
    fn adding_never_lets_in_what_was_refused(
        before in prop::collection::vec(any_entry(), 0..8), more in prop::collection::vec(any_entry(), 0..8),
        subject in 1_u128..4, issued_at in NOW - 3..NOW + 3,
    ) {
        let id = Uuid::from_u128(subject);
        let token = TokenFacts {
            jti: id, gid: Some(id.into()), agent: id.into(), user: Some(id.into()), kid: Some("k1"), issued_at,
        };
        let held = holding(before);
        let next = after(&held, &message(2, false, more));
        prop_assert!(!held.hit(&token) || next.hit(&token));
    }

    #[test]
    fn forgetting_takes_only_what_has_expired(entries in prop::collection::vec(any_entry(), 0..12), now in NOW - 3..NOW + 4) {
        let held = holding(entries);
        match held.without_expired(now) {
            None => prop_assert_eq!(held.to_message(TenantId::new()).entries.iter().filter(|entry| entry.expires_at <= now).count(), 0),
            Some(living) => {
                prop_assert!(living.to_message(TenantId::new()).entries.iter().all(|entry| now < entry.expires_at));
                let kept = held.to_message(TenantId::new()).entries.iter().filter(|entry| now < entry.expires_at).count();
                prop_assert_eq!(living.len(), kept);
            }
        }
    }
}
