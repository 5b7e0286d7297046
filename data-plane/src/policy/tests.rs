use std::fs;

use prost::Message as _;
use tollgate_proto::{AgentId, policy::v1::revocation::What};
use uuid::Uuid;

use super::*;

pub(super) const NOW: i64 = 1_800_000_000;

pub(super) fn dir(name: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("tollgate-policies-{name}-{}", Uuid::now_v7()))
}

pub(super) fn open(dir: &std::path::Path, now: i64) -> Policies {
    Policies::open(Shelf::open(dir.to_owned(), dir.join("vault")).unwrap(), now)
}

/// A policy that can be served.
pub(super) fn policy(tenant: TenantId, revision: u64) -> TenantPolicy {
    TenantPolicy {
        tenant_id: tenant.to_string(),
        tenant: "acme".to_owned(),
        revision,
        jwks: r#"{"keys":[]}"#.to_owned(),
        ..TenantPolicy::default()
    }
}

pub(super) fn revoked(tenant: TenantId, revision: u64, jti: Uuid) -> wire::Revocations {
    let what = Some(What::Token(jti.to_string()));
    let entries = vec![wire::Revocation { what, issued_before: 0, expires_at: NOW + 900 }];
    wire::Revocations { tenant_id: tenant.to_string(), revision, complete: false, entries }
}

pub(super) fn facts(jti: Uuid) -> TokenFacts<'static> {
    TokenFacts { jti, gid: None, agent: AgentId::new(), user: None, kid: None, issued_at: NOW }
}

#[test]
fn no_policy_that_comes_is_refused_or_goes_takes_a_revocation_away() {
    let (dir, tenant, jti) = (dir("kept"), TenantId::new(), Uuid::now_v7());
    let policies = open(&dir, NOW);
    policies.revoke(&revoked(tenant, 1, jti)).unwrap();
    let is_revoked = || policies.is_revoked(tenant, &facts(jti));
    assert!(is_revoked(), "ahead of any policy");
    policies.put(&policy(tenant, 5)).unwrap();
    assert!(is_revoked());
    let unusable = TenantPolicy { jwks: String::new(), ..policy(tenant, 6) };
    assert!(policies.put(&unusable).is_err());
    assert!(is_revoked());
    policies.remove(tenant);
    assert!(is_revoked());
    assert!(!policies.is_revoked(TenantId::new(), &facts(jti)), "another tenant's tokens are its own");
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn what_was_revoked_is_refused_after_a_restart_until_it_has_expired() {
    let (dir, tenant) = (dir("restart"), TenantId::new());
    let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
    let policies = open(&dir, NOW);
    policies.put(&policy(tenant, 5)).unwrap();
    policies.revoke(&revoked(tenant, 1, first)).unwrap();
    policies.revoke(&revoked(tenant, 2, second)).unwrap();
    for _ in 0..2 {
        let again = open(&dir, NOW);
        assert!(again.is_revoked(tenant, &facts(first)) && again.is_revoked(tenant, &facts(second)));
        assert_eq!(again.revocations()[0].1.revision(), 2);
        assert!(again.is_synced(), "the policy is served too");
    }
    let later = open(&dir, NOW + 900);
    assert!(!later.is_revoked(tenant, &facts(first)), "the token has expired by itself");
    assert!(Shelf::open(dir.clone(), dir.join("vault")).unwrap().load_revocations().is_empty(), "so nothing is kept");
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_tenant_whose_revocations_are_damaged_is_not_served_from_disk() {
    let (dir, tenant) = (dir("damaged"), TenantId::new());
    let policies = open(&dir, NOW);
    policies.put(&policy(tenant, 5)).unwrap();
    policies.revoke(&revoked(tenant, 1, Uuid::now_v7())).unwrap();
    let file = dir.join(tenant.to_string()).with_extension("revocations");
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    let again = open(&dir, NOW);
    assert!(again.load().tenant(&"acme".parse().unwrap()).is_none());
    assert!(!again.is_synced());
    // The control plane sends everything that lives: then the tenant is whole again.
    let complete = wire::Revocations { complete: true, ..revoked(tenant, 3, Uuid::now_v7()) };
    again.revoke(&complete).unwrap();
    assert!(open(&dir, NOW).load().tenant(&"acme".parse().unwrap()).is_some());
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn an_update_that_is_faulty_old_or_of_a_later_version_changes_nothing_and_the_next_good_one_is_served() {
    let (dir, tenant) = (dir("poison"), TenantId::new());
    let policies = open(&dir, NOW);
    policies.put(&policy(tenant, 5)).unwrap();
    let grant = |scope: &str| wire::Grant {
        id: tollgate_proto::GrantId::new().to_string(),
        to: Some(wire::grant::To::AgentId(AgentId::new().to_string())),
        scopes: vec![scope.to_owned()],
        ..wire::Grant::default()
    };
    let bad = [
        TenantPolicy { grants: vec![grant("no scope at all")], ..policy(tenant, 6) },
        TenantPolicy { egress_allow: vec!["everywhere".to_owned()], ..policy(tenant, 6) },
        TenantPolicy { jwks: r#"{"keys":["#.to_owned(), ..policy(tenant, 6) },
        TenantPolicy { tenant: "no slug".to_owned(), ..policy(tenant, 6) },
        TenantPolicy { requires: vec!["telepathy".to_owned()], ..policy(tenant, 6) },
        policy(tenant, 4),
    ];
    let in_force = |policies: &Policies| policies.load().tenants().map(|held| held.revision).collect::<Vec<_>>();
    for refused in bad {
        let reason = policies.put(&refused).unwrap_err().to_string();
        assert!(!reason.is_empty() && reason.len() < 200, "{reason}");
        assert_eq!(in_force(&policies), [5], "{reason}");
        assert_eq!(in_force(&open(&dir, NOW)), [5], "on disk too: {reason}");
    }
    let needs = TenantPolicy { requires: vec!["telepathy".to_owned()], ..policy(tenant, 6) };
    assert!(policies.put(&needs).unwrap_err().to_string().contains("`telepathy`"));
    policies.put(&policy(tenant, 6)).unwrap();
    assert_eq!(in_force(&policies), [6]);
    // The same revision, compiled by another version; and after a restore of the database.
    policies.put(&TenantPolicy { digest: "another".to_owned(), ..policy(tenant, 6) }).unwrap();
    policies.put(&TenantPolicy { epoch: "restored".to_owned(), ..policy(tenant, 1) }).unwrap();
    assert_eq!(in_force(&policies), [1]);
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn an_update_that_is_cut_anywhere_is_refused_or_is_none() {
    let (dir, tenant) = (dir("cut"), TenantId::new());
    let policies = open(&dir, NOW);
    let whole = wire::WatchResponse {
        message: Some(wire::watch_response::Message::Policy(policy(tenant, 5).encode_to_vec().into())),
    };
    let bytes = whole.encode_to_vec();
    for end in 0..bytes.len() {
        let message = wire::WatchResponse::decode(&bytes[..end]).map(|read| read.message);
        assert!(message.is_err() || message == Ok(None), "cut at {end}");
    }
    assert!(policies.load().tenants().next().is_none());
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn only_a_heartbeat_makes_a_policy_current_and_a_restart_makes_none_younger() {
    let (dir, tenant) = (dir("lease"), TenantId::new());
    let policies = open(&dir, NOW);
    policies.put(&policy(tenant, 5)).unwrap();
    policies.revoke(&revoked(tenant, 1, Uuid::now_v7())).unwrap();
    assert!(!policies.freshness().is_current());
    assert_eq!(policies.freshness().age, None, "nothing was ever heard");
    policies.renew(Duration::from_secs(3_600), NOW);
    assert!(policies.freshness().is_current());

    let again = open(&dir, NOW + 90);
    assert!(!again.freshness().is_current());
    let age = again.freshness().age.unwrap();
    assert!((90..100).contains(&age.as_secs()), "{age:?}");
    let set_back = open(&dir, NOW - 90);
    assert_eq!(set_back.freshness().age, None, "the clock was set back, and nobody knows how far");
    set_back.renew(Duration::from_secs(3_600), NOW - 90);
    set_back.renew(Duration::from_secs(3_600), NOW - 95);
    assert_eq!(open(&dir, NOW - 90).freshness().age.unwrap().as_secs(), 0, "it was heard by the clock that there is");
    fs::remove_dir_all(dir).unwrap();
}

#[tokio::test]
async fn whoever_watches_hears_of_policies_and_of_revocations() {
    let (dir, tenant) = (dir("changes"), TenantId::new());
    let policies = open(&dir, NOW);
    let mut changes = policies.changes();
    assert!(changes.has_changed().unwrap(), "what changed before the watch began counts too");
    changes.changed().await.unwrap();
    assert!(!changes.has_changed().unwrap());
    policies.revoke(&revoked(tenant, 1, Uuid::now_v7())).unwrap();
    assert!(changes.has_changed().unwrap());
    changes.changed().await.unwrap();
    policies.put(&policy(tenant, 1)).unwrap();
    assert!(changes.has_changed().unwrap());
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn nothing_is_served_or_kept_again_once_the_data_plane_was_revoked() {
    let (dir, tenant) = (dir("withdrawn"), TenantId::new());
    let policies = open(&dir, NOW);
    policies.put(&policy(tenant, 5)).unwrap();
    policies.withdraw();
    assert!(matches!(policies.put(&policy(tenant, 6)), Err(SnapshotError::Withdrawn)), "one that was being read then");
    assert!(policies.load().tenants().next().is_none());
    assert!(open(&dir, NOW).load().tenants().next().is_none());
    fs::remove_dir_all(dir).unwrap();
}
