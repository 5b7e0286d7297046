use jsonwebtoken::jwk::{JwkSet, ThumbprintHash};
use proptest::prelude::*;

use super::*;
use crate::oauth::testing::{Bed, run};

async fn stored(bed: &Bed) -> i64 {
    let mut tx = bed.tx().await;
    sqlx::query_scalar("SELECT count(*) FROM signing_keys").fetch_one(&mut *tx).await.expect("a count")
}

#[tokio::test]
async fn concurrent_first_use_on_two_control_planes_makes_one_key() {
    run(async |bed| {
        let second = bed.second();
        let mut uses = tokio::task::JoinSet::new();
        for index in 0..12 {
            let app = Arc::clone(if index % 2 == 0 { &bed.app } else { &second });
            let tenant = bed.tenant;
            uses.spawn(async move {
                if index % 3 == 0 {
                    ensure(&app, tenant).await.expect("a key");
                    let mut tx = app.db.tenant(tenant).await.expect("a transaction");
                    let jwks = public_jwks(&mut tx).await.expect("keys");
                    serde_json::from_str::<JwkSet>(&jwks).expect("a set").keys[0].common.key_id.clone().expect("a kid")
                } else {
                    app.signing_keys
                        .signing_key(&app.db, &app.master_key, tenant, None)
                        .await
                        .expect("a key")
                        .kid
                        .clone()
                }
            });
        }
        let mut kids = uses.join_all().await;
        kids.dedup();
        assert_eq!(kids.len(), 1);
        assert_eq!(stored(bed).await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_new_key_bumps_the_policy_once_and_is_audited() {
    run(async |bed| {
        for _ in 0..2 {
            ensure(&bed.app, bed.tenant).await.expect("a key");
        }
        let mut tx = bed.tx().await;
        let revision: i64 = sqlx::query_scalar("SELECT policy_revision FROM tenants WHERE id = $1")
            .bind(bed.tenant.uuid())
            .fetch_one(&mut *tx)
            .await
            .expect("a revision");
        assert_eq!(revision, 2);
        let actions: Vec<String> =
            sqlx::query_scalar("SELECT action FROM audit_events").fetch_all(&mut *tx).await.expect("events");
        assert_eq!(actions, ["signing_key.create"]);
    })
    .await;
}

#[tokio::test]
async fn a_key_whose_transaction_was_rolled_back_never_signs() {
    run(async |bed| {
        let mut tx = bed.tx().await;
        make_first(&mut tx, &bed.app.master_key).await.expect("a key");
        let lost = public_jwks(&mut tx).await.expect("keys");
        drop(tx);
        let app = &bed.app;
        let key = app.signing_keys.signing_key(&app.db, &app.master_key, bed.tenant, None).await.expect("a key");
        assert!(!lost.contains(&key.kid));
        assert_eq!(stored(bed).await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_key_outlives_the_process_that_made_it() {
    run(async |bed| {
        let second = bed.second();
        let mut kids = Vec::new();
        for app in [&bed.app, &second] {
            kids.push(
                app.signing_keys
                    .signing_key(&app.db, &app.master_key, bed.tenant, None)
                    .await
                    .expect("a key")
                    .kid
                    .clone(),
            );
        }
        assert_eq!(kids[0], kids[1]);
    })
    .await;
}

#[tokio::test]
async fn a_key_sealed_with_another_master_key_is_no_key() {
    run(async |bed| {
        let app = &bed.app;
        app.signing_keys.signing_key(&app.db, &app.master_key, bed.tenant, None).await.expect("a key");
        let other = MasterKey::generate().expect("a key");
        let opened = KeyRing::default().signing_key(&app.db, &other, bed.tenant, None).await;
        assert!(matches!(opened, Err(KeyError::Seal(SealError::OtherKey))));
    })
    .await;
}

#[tokio::test]
async fn a_private_key_moved_to_another_tenant_does_not_open() {
    run(async |bed| {
        let app = &bed.app;
        let key = app.signing_keys.signing_key(&app.db, &app.master_key, bed.tenant, None).await.expect("a key");
        let mut tx = bed.tx().await;
        let row = sql::active_key(&mut tx).await.expect("a row");
        let elsewhere = place(TenantId::new(), &key.kid);
        assert_eq!(app.master_key.open(&elsewhere, &row.private_sealed).expect_err("sealed"), SealError::Damaged);
    })
    .await;
}

#[tokio::test]
async fn the_stored_private_key_is_not_readable() {
    run(async |bed| {
        let app = &bed.app;
        let key = app.signing_keys.signing_key(&app.db, &app.master_key, bed.tenant, None).await.expect("a key");
        let mut tx = bed.tx().await;
        let row = sql::active_key(&mut tx).await.expect("a row");
        let private = key.private.as_bytes();
        assert!(!row.private_sealed.windows(private.len()).any(|window| window == private));
        assert!(!format!("{key:?}").contains(&format!("{:?}", &private[36..40])));
    })
    .await;
}

#[test]
fn the_kid_is_the_rfc_7638_thumbprint() {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
    let public = PublicKey::of_point(pair.public_key().as_ref()).expect("a point");
    let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(json!(public)).expect("a JWK");
    assert_eq!(jwk.thumbprint(ThumbprintHash::SHA256).expect("a thumbprint"), public.kid);
}

proptest! {
    #[test]
    fn no_private_member_ever_leaves_whatever_a_row_holds(
        extra in prop::collection::btree_map("d|p|q|k|dp|dq|qi|oth|[a-z]{1,6}", "secret[a-z]{8}", 0..8),
    ) {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        let public = PublicKey::of_point(pair.public_key().as_ref()).expect("a point");
        let mut row = json!(public);
        for (member, value) in &extra {
            let members = row.as_object_mut().expect("an object");
            members.entry(member.clone()).or_insert_with(|| json!(value));
        }
        let set = jwk_set(vec![row]).expect("a set");
        prop_assert!(!set.contains("secret"));
        let set: Value = serde_json::from_str(&set).expect("JSON");
        let members: Vec<&str> = set["keys"][0].as_object().expect("an object").keys().map(String::as_str).collect();
        prop_assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x", "y"]);
    }

    #[test]
    fn keys_of_other_types_are_not_published(kty in "oct|RSA|OKP", member in "k|n|x") {
        let row = json!({ "kty": kty, "alg": "ES256", "use": "sig", "kid": "a", member: "secret" });
        prop_assert!(jwk_set(vec![row]).is_err());
    }
}
