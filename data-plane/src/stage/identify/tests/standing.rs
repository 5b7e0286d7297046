//! What is checked on every request, however well the token is known.

use std::{env, fs, ops::Deref, path::PathBuf};

use tollgate_proto::policy::v1::{Revocation, Revocations, revocation::What};

use super::*;
use crate::{
    endpoint::Target,
    policy::{Policies, Shelf},
    stage::identify::Holder,
};

/// Policies in a directory that is gone after them.
struct Kept {
    policies: Policies,
    dir: PathBuf,
}

impl Deref for Kept {
    type Target = Policies;

    fn deref(&self) -> &Policies {
        &self.policies
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.dir);
    }
}

fn policies() -> Kept {
    let dir = env::temp_dir().join(format!("tollgate-standing-{}", Uuid::now_v7()));
    let shelf = Shelf::open(dir.clone(), dir.join("vault")).unwrap();
    Kept { policies: Policies::open(shelf, NOW), dir }
}

fn revoke(policies: &Policies, tenant: &Tenant, what: What) {
    let entry = Revocation { what: Some(what), issued_before: NOW + 1, expires_at: NOW + 900 };
    let tenant_id = tenant.id.to_string();
    policies.revoke(&Revocations { tenant_id, revision: 1, complete: false, entries: vec![entry] }).unwrap();
}

/// Whether the token of a user is good, the agent being remembered by a desk.
async fn stands(desk: &Desk, signer: &Signer, policies: &Policies, token: &str) -> bool {
    let token = desk.resolve(&signer.tenant, token).await.expect("a token of the tenant");
    let standing = Holder::of(&signer.tenant, &token).standing(&signer.tenant, &token, policies);
    assert!(standing.is_ok() || standing.as_ref().err() == Some(&TokenFault::Revoked));
    standing.is_ok()
}

#[tokio::test]
async fn a_remembered_token_is_refused_from_the_moment_it_is_revoked_in_any_way() {
    let signer = signer_for("https://agents.example/bot.json");
    let claims = signer.claims_for_user();
    let token = signer.sign(&header(), &claims);
    let text = |name: &str| claims[name].as_str().unwrap().to_owned();
    for what in [
        What::Token(text("jti")),
        What::GrantFamily(text("gid")),
        What::Agent(signer.agent.to_string()),
        What::User(signer.user.to_string()),
        What::Tenant(true),
        What::Key("k1".to_owned()),
    ] {
        let (desk, policies) = (Desk::alone(), policies());
        assert!(stands(&desk, &signer, &policies, &token).await);
        revoke(&policies, &signer.tenant, what.clone());
        assert!(!stands(&desk, &signer, &policies, &token).await, "{what:?}");
        let another = signer.sign(&header(), &signer.claims_for_user());
        let only_this = matches!(what, What::Token(_) | What::GrantFamily(_));
        assert_eq!(stands(&desk, &signer, &policies, &another).await, only_this, "{what:?}");
    }
}

#[tokio::test]
async fn a_suspended_agent_and_a_disabled_user_may_not_act() {
    let (desk, policies) = (Desk::alone(), policies());
    let mut signer = signer();
    let token = signer.sign(&header(), &signer.claims_for_user());
    let own = signer.token();
    assert!(stands(&desk, &signer, &policies, &token).await);

    let ada = Arc::get_mut(signer.tenant.users.get_mut(&signer.user).unwrap()).unwrap();
    ada.active = false;
    assert!(!stands(&desk, &signer, &policies, &token).await);
    assert!(stands(&desk, &signer, &policies, &own).await, "the agent acts for itself still");
    signer.tenant.users.clear();
    assert!(!stands(&desk, &signer, &policies, &token).await, "nobody acts for a user who is gone");

    let agent = Arc::get_mut(signer.tenant.agents.get_mut(&signer.client_id).unwrap()).unwrap();
    agent.active = false;
    assert!(!stands(&desk, &signer, &policies, &own).await);
    signer.tenant.agents.clear();
    assert!(!stands(&desk, &signer, &policies, &own).await);
}

#[test]
fn a_resource_is_compared_without_being_written_out() {
    let tenant = &signer().tenant;
    let name = || "files".parse().unwrap();
    let targets = [Target::All, Target::Server(name()), Target::Toolset(name())];
    for target in &targets {
        for other in &targets {
            assert_eq!(tenant.is_resource(&tenant.resource(other), target), other == target);
        }
        let own = tenant.resource(target);
        let (longer, elsewhere) = (format!("{own}/"), own.replace("http://data", "http://date"));
        for other in ["", "http://data", &longer, &elsewhere] {
            assert!(!tenant.is_resource(other, target), "{other}");
        }
    }
}
