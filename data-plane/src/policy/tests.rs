use std::fs;

use tollgate_proto::{AgentId, policy::v1::revocation::What};
use uuid::Uuid;

use super::*;

const NOW: i64 = 1_800_000_000;

fn dir(name: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("tollgate-policies-{name}-{}", Uuid::now_v7()))
}

fn open(dir: &std::path::Path, now: i64) -> Policies {
    Policies::open(Shelf::open(dir.to_owned(), dir.join("vault")).unwrap(), now)
}

/// A policy that can be served, with a digest as the control plane makes it.
fn policy(tenant: TenantId, revision: u64) -> TenantPolicy {
    let mut policy = TenantPolicy {
        tenant_id: tenant.to_string(),
        tenant: "acme".to_owned(),
        revision,
        jwks: r#"{"keys":[]}"#.to_owned(),
        ..TenantPolicy::default()
    };
    policy.digest = disk::digest_of(&policy);
    policy
}

fn revoked(tenant: TenantId, revision: u64, jti: Uuid) -> wire::Revocations {
    let what = Some(What::Token(jti.to_string()));
    let entries = vec![wire::Revocation { what, issued_before: 0, expires_at: NOW + 900 }];
    wire::Revocations { tenant_id: tenant.to_string(), revision, complete: false, entries }
}

fn facts(jti: Uuid) -> TokenFacts<'static> {
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
    let (dir, tenant, other) = (dir("damaged"), TenantId::new(), TenantId::new());
    let policies = open(&dir, NOW);
    policies.put(&policy(tenant, 5)).unwrap();
    policies.put(&TenantPolicy { digest: String::new(), ..policy(other, 5) }).unwrap();
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
