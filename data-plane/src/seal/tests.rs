use proptest::prelude::*;
use tollgate_proto::{TenantId, policy::v1 as wire};

use super::*;

const NOW: i64 = 1_800_000_000;
const BOUND: [&[u8]; 2] = [b"agent", b"user"];

fn tenant_with(id: TenantId, secrets: &[u8]) -> Tenant {
    let key = |secret: &u8| wire::SealingKey { id: format!("k{secret}"), secret: vec![*secret; SECRET_LEN] };
    let policy = wire::TenantPolicy {
        tenant_id: id.to_string(),
        tenant: "acme".to_owned(),
        jwks: r#"{"keys":[]}"#.to_owned(),
        sealing_keys: secrets.iter().map(key).collect(),
        ..wire::TenantPolicy::default()
    };
    Tenant::read(&policy, None).unwrap()
}

fn tenant() -> Tenant {
    tenant_with(TenantId::new(), &[7])
}

fn sealed(tenant: &Tenant) -> String {
    seal(tenant, Purpose::Cursor, &BOUND, NOW + 60, b"page 2").unwrap()
}

fn opens(tenant: &Tenant, sealed: &str) -> bool {
    open(tenant, Purpose::Cursor, &BOUND, NOW, sealed).is_some()
}

#[test]
fn what_was_sealed_opens_until_the_second_it_expires() {
    let tenant = tenant();
    let sealed = sealed(&tenant);
    let opened = |now| open(&tenant, Purpose::Cursor, &BOUND, now, &sealed);
    assert_eq!(opened(NOW + 59).as_deref(), Some(b"page 2".as_slice()));
    assert_eq!(opened(NOW + 60), None);
}

#[test]
fn it_opens_for_no_other_purpose_tenant_or_binding() {
    let tenant = tenant();
    let sealed = sealed(&tenant);
    for purpose in [Purpose::RequestState, Purpose::ServerRequestId, Purpose::TaskId] {
        assert_eq!(open(&tenant, purpose, &BOUND, NOW, &sealed), None, "{purpose:?}");
    }
    let others: [&[&[u8]]; 5] = [&[], &[b"agent"], &[b"agent", b"other"], &[b"agentuser"], &[b"agent", b"user", b""]];
    for bound_to in others {
        assert_eq!(open(&tenant, Purpose::Cursor, bound_to, NOW, &sealed), None, "{bound_to:?}");
    }
    assert!(!opens(&tenant_with(TenantId::new(), &[7]), &sealed), "another tenant that has the same key");
}

#[test]
fn a_new_first_key_seals_and_the_old_one_still_opens_until_it_is_gone() {
    let id = TenantId::new();
    let sealed_before = sealed(&tenant_with(id, &[7]));
    let rotated = tenant_with(id, &[8, 7]);
    assert!(opens(&rotated, &sealed_before));
    let sealed_after = sealed(&rotated);
    assert!(!opens(&tenant_with(id, &[7]), &sealed_after));
    assert!(!opens(&tenant_with(id, &[8]), &sealed_before));
    assert!(opens(&tenant_with(id, &[8]), &sealed_after));
}

#[test]
fn a_value_with_any_character_changed_or_missing_does_not_open() {
    let tenant = tenant();
    let whole = sealed(&tenant);
    assert!(opens(&tenant, &whole));
    for index in 0..whole.len() {
        let mut changed = whole.clone().into_bytes();
        changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
        assert!(!opens(&tenant, std::str::from_utf8(&changed).unwrap()), "character {index}");
        assert!(!opens(&tenant, &whole[..index]), "cut at {index}");
    }
}

#[test]
fn the_same_value_is_never_sealed_to_the_same_text() {
    let tenant = tenant();
    assert_ne!(sealed(&tenant), sealed(&tenant));
}

#[test]
fn without_a_key_nothing_is_sealed_and_nothing_opens() {
    let bare = tenant_with(TenantId::new(), &[]);
    assert_eq!(seal(&bare, Purpose::TaskId, &[], NOW + 1, b"t"), Err(SealError::NoKey));
    assert!(!opens(&bare, &sealed(&tenant())));
}

#[test]
fn a_policy_with_a_short_secret_is_refused() {
    let secrets = [("a".to_owned(), [0_u8; SECRET_LEN].as_slice()), ("b".to_owned(), &[0; SECRET_LEN - 1])];
    assert!(SealingKeys::new(secrets).is_none());
}

#[test]
fn keys_show_their_id_and_nothing_else() {
    assert_eq!(format!("{:?}", tenant().sealing), "SealingKeys([SealingKey(k7)])");
    let message = wire::SealingKey { id: "k7".to_owned(), secret: vec![7; SECRET_LEN] };
    assert_eq!(format!("{message:?}"), r#"SealingKey { id: "k7", .. }"#);
}

proptest! {
    #[test]
    fn any_value_survives_the_round_trip(value in prop::collection::vec(any::<u8>(), 0..200),
                                         bound in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..4)) {
        let tenant = tenant();
        let bound_to: Vec<&[u8]> = bound.iter().map(Vec::as_slice).collect();
        let sealed = seal(&tenant, Purpose::RequestState, &bound_to, NOW + 1, &value).unwrap();
        prop_assert_eq!(open(&tenant, Purpose::RequestState, &bound_to, NOW, &sealed), Some(value));
    }

    #[test]
    fn no_text_that_was_not_sealed_opens(text in ".{0,120}") {
        prop_assert!(!opens(&tenant(), &text));
    }
}
