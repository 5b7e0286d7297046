use std::sync::Arc;

use http::Method;
use serde_json::json;
use sqlx::AssertSqlSafe;

use super::*;
use crate::testing::{Bench, run};

async fn write(bench: &Bench, sql: impl Into<String>) {
    let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
    sqlx::raw_sql(AssertSqlSafe(sql.into())).execute(&mut *tx).await.expect("written");
    tx.commit().await.expect("committed");
}

/// A data plane that is connected and has acknowledged the policy up to `revision`.
async fn data_plane(bench: &Bench, revision: i64) -> DataPlaneId {
    let id = DataPlaneId::new();
    let (data_plane, tenant) = (id.uuid(), bench.acme.uuid());
    write(
        bench,
        format!(
            "INSERT INTO data_planes (id, version, last_seen_at) VALUES ('{data_plane}', '', now() + interval '1 hour');
             INSERT INTO policy_acknowledgements (data_plane_id, tenant_id, acked_revision)
                 VALUES ('{data_plane}', '{tenant}', {revision})"
        ),
    )
    .await;
    id
}

/// `kid`s by state, the newest first.
async fn keys(bench: &Bench) -> Vec<(KeyState, String)> {
    let keys = list(&bench.app, &bench.owner()).await.expect("keys").items;
    keys.into_iter().map(|key| (key.state, key.kid)).collect()
}

async fn states(bench: &Bench) -> Vec<KeyState> {
    keys(bench).await.into_iter().map(|(state, _)| state).collect()
}

async fn signing(app: &App, tenant: TenantId) -> String {
    let mut tx = app.db.tenant(tenant).await.expect("a transaction");
    let active = sql::active_kid(&mut tx).await.expect("an answer");
    drop(tx);
    let key = app.signing_keys.signing_key(&app.db, &app.master_key, tenant, active.as_deref()).await;
    key.expect("a key").kid.clone()
}

async fn published(bench: &Bench) -> String {
    let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
    super::super::public_jwks(&mut tx).await.expect("a set")
}

async fn tended(bench: &Bench) {
    tend(&bench.app, bench.acme).await.expect("tended");
}

/// Another control plane on the same database.
fn second(bench: &Bench) -> Arc<App> {
    Arc::new(crate::testing::app(bench.app.db.clone(), bench.app.master_key.clone()))
}

/// Ages the keys: what happened to them happened this much earlier.
async fn age(bench: &Bench, by: &str) {
    write(
        bench,
        format!(
            "UPDATE signing_keys SET created_at = created_at - interval '{by}', published_at = published_at - interval '{by}',
                 activated_at = activated_at - interval '{by}', retired_at = retired_at - interval '{by}'"
        ),
    )
    .await;
}

#[tokio::test]
async fn a_rotation_publishes_then_signs_and_keeps_what_was_signed_before() {
    run(async |bench| {
        let first = signing(&bench.app, bench.acme).await;
        data_plane(bench, 1_000).await;
        let after = bench.call(Method::POST, "signing-keys:rotate").send().await.expect(200);
        assert_eq!(after.json["items"][0]["state"], "active");
        assert_eq!(after.json["items"][0]["alg"], "ES256");
        assert_eq!(after.json["items"][1]["state"], "retiring");
        assert_eq!(after.json["items"][1]["kid"], first.as_str());
        assert!(after.json["items"][1]["removed_at"].is_string());

        let second = signing(&bench.app, bench.acme).await;
        assert_ne!(first, second);
        let published = published(bench).await;
        assert!(published.contains(&first) && published.contains(&second), "{published}");
        let events = bench.audit().await;
        let expected = ["signing_key.create", "signing_key.create", "signing_key.activate"];
        assert_eq!(
            events.iter().map(|event| event.split(' ').next().unwrap_or_default()).collect::<Vec<_>>(),
            expected
        );
    })
    .await;
}

#[tokio::test]
async fn the_private_half_of_a_key_that_signs_no_more_is_gone() {
    run(async |bench| {
        signing(&bench.app, bench.acme).await;
        rotate(&bench.app, &bench.owner(), false).await.expect("rotated");
        let active = signing(&bench.app, bench.acme).await;
        revoke(&bench.app, &bench.owner(), &active).await.expect("revoked");
        let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
        let kept: Vec<String> = sqlx::query_scalar("SELECT state FROM signing_keys WHERE private_sealed <> ''")
            .fetch_all(&mut *tx)
            .await
            .expect("states");
        assert_eq!(kept, ["active"]);
    })
    .await;
}

#[tokio::test]
async fn no_key_signs_before_every_connected_data_plane_knows_it() {
    run(async |bench| {
        let first = signing(&bench.app, bench.acme).await;
        data_plane(bench, 1_000).await;
        let slow = data_plane(bench, 2).await;
        let gone = data_plane(bench, 2).await.uuid();
        write(bench, format!("UPDATE data_planes SET last_seen_at = now() - interval '1 minute' WHERE id = '{gone}'"))
            .await;
        let refused = bench.call(Method::POST, "signing-keys:rotate").send().await.expect(409);
        assert_eq!(refused.problem().0, "key_not_distributed");
        let detail = refused.json["detail"].as_str().expect("a detail");
        assert!(detail.contains(&slow.to_string()) && !detail.contains("data planes dpl_"), "{detail}");
        assert_eq!(states(bench).await, [KeyState::Next, KeyState::Active]);
        assert_eq!(signing(&bench.app, bench.acme).await, first);
        let next = keys(bench).await.swap_remove(0).1;
        assert!(published(bench).await.contains(&next));

        let owner = bench.owner();
        // It acknowledges while the command waits; the key is the one that was published before.
        let (rotated, ()) = tokio::join!(rotate(&bench.app, &owner, false), async {
            write(bench, "UPDATE policy_acknowledgements SET acked_revision = 1000").await;
        });
        assert_eq!(rotated.expect("rotated").items[0].kid, next);
        assert_eq!(signing(&bench.app, bench.acme).await, next);
    })
    .await;
}

#[tokio::test]
async fn whoever_will_not_wait_says_so() {
    run(async |bench| {
        let first = signing(&bench.app, bench.acme).await;
        data_plane(bench, 1).await;
        bench.post("signing-keys:rotate", json!({ "now": true })).await.expect(200);
        assert_ne!(signing(&bench.app, bench.acme).await, first);
        bench.post("signing-keys:rotate", json!({ "soon": true })).await.expect(422);
    })
    .await;
}

#[tokio::test]
async fn two_control_planes_that_rotate_at_the_same_time_rotate_once() {
    run(async |bench| {
        signing(&bench.app, bench.acme).await;
        let (other, owner) = (second(bench), bench.owner());
        let (one, two) = tokio::join!(rotate(&bench.app, &owner, false), rotate(&other, &owner, false));
        one.expect("rotated");
        two.expect("rotated");
        let states = states(bench).await;
        assert_eq!(states.iter().filter(|state| **state == KeyState::Active).count(), 1, "{states:?}");
        // Whoever came after the other was done rotated again; nobody did both steps of one rotation.
        assert!(states.len() == 2 || states.len() == 3, "{states:?}");

        age(bench, "90 days 1 hour").await;
        let before = self::states(bench).await.len();
        for _ in 0..2 {
            let (one, two) = tokio::join!(tend(&bench.app, bench.acme), tend(&other, bench.acme));
            one.expect("tended");
            two.expect("tended");
        }
        let next: Vec<_> = keys(bench).await.into_iter().filter(|(state, _)| *state == KeyState::Next).collect();
        assert_eq!(next.len(), 1);
        age(bench, "1 hour").await;
        let (one, two) = tokio::join!(tend(&bench.app, bench.acme), tend(&other, bench.acme));
        one.expect("tended");
        two.expect("tended");
        assert!(self::states(bench).await.len() <= before + 1);
        assert_eq!(signing(&bench.app, bench.acme).await, next[0].1);
        assert_eq!(signing(&other, bench.acme).await, next[0].1);
    })
    .await;
}

#[tokio::test]
async fn another_control_plane_signs_with_the_new_key_from_its_next_token_on() {
    run(async |bench| {
        let other = second(bench);
        let first = signing(&bench.app, bench.acme).await;
        assert_eq!(signing(&other, bench.acme).await, first);
        rotate(&bench.app, &bench.owner(), false).await.expect("rotated");
        let second = signing(&bench.app, bench.acme).await;
        assert_eq!(signing(&other, bench.acme).await, second);
        revoke(&other, &bench.owner(), &second).await.expect("revoked");
        let third = signing(&bench.app, bench.acme).await;
        assert_ne!(third, second);
        assert_eq!(signing(&other, bench.acme).await, third);
    })
    .await;
}

#[tokio::test]
async fn the_schedule_publishes_an_hour_ahead_and_removes_when_all_has_expired() {
    run(async |bench| {
        let first = signing(&bench.app, bench.acme).await;
        tended(bench).await;
        assert_eq!(states(bench).await, [KeyState::Active]);

        age(bench, "89 days 23 hours").await;
        tended(bench).await;
        assert_eq!(states(bench).await, [KeyState::Next, KeyState::Active]);
        tended(bench).await;
        assert_eq!(signing(&bench.app, bench.acme).await, first);

        // The period is over, but the next key has not been known for an hour.
        write(bench, "UPDATE signing_keys SET activated_at = activated_at - interval '1 day' WHERE state = 'active'")
            .await;
        tended(bench).await;
        assert_eq!(signing(&bench.app, bench.acme).await, first);

        age(bench, "1 hour").await;
        let behind = data_plane(bench, 1).await.uuid();
        tended(bench).await;
        assert_eq!(signing(&bench.app, bench.acme).await, first, "a data plane does not know the next one");
        write(bench, format!("DELETE FROM policy_acknowledgements; DELETE FROM data_planes WHERE id = '{behind}'"))
            .await;
        tended(bench).await;
        assert_eq!(states(bench).await, [KeyState::Active, KeyState::Retiring]);
        assert_ne!(signing(&bench.app, bench.acme).await, first);

        age(bench, "1 day").await;
        tended(bench).await;
        assert_eq!(
            states(bench).await,
            [KeyState::Active, KeyState::Retiring],
            "a token of a day may live a minute yet"
        );
        let revision = bench.policy_revision().await;
        age(bench, "1 minute").await;
        tended(bench).await;
        assert_eq!(states(bench).await, [KeyState::Active]);
        assert!(!published(bench).await.contains(&first));
        assert_eq!(bench.policy_revision().await, revision + 1, "data planes forget it too");
    })
    .await;
}

#[tokio::test]
async fn a_tenant_may_choose_its_period_and_one_without_a_key_needs_none() {
    run(async |bench| {
        tended(bench).await;
        assert_eq!(states(bench).await, []);
        signing(&bench.app, bench.acme).await;
        let etag = bench.get("/api/v1/tenants/acme").await.expect(200).header("etag").to_owned();
        let patch = |period: &str| {
            bench
                .call(Method::PATCH, "/api/v1/tenants/acme")
                .header("if-match", &etag)
                .json(json!({ "spec": { "signing_key_rotation": period } }))
        };
        for (period, code) in [("1h", "out_of_range"), ("9999d", "out_of_range"), ("often", "duration")] {
            let refused = patch(period).await.expect(422);
            assert_eq!(refused.problem().1, [format!("/spec/signing_key_rotation {code}")]);
        }
        let changed = patch("2h").await.expect(200);
        assert_eq!(changed.json["status"]["effective"]["signing_key_rotation"], "2h");
        age(bench, "1 hour").await;
        tended(bench).await;
        assert_eq!(states(bench).await, [KeyState::Next, KeyState::Active]);
    })
    .await;
}

#[tokio::test]
async fn a_compromised_key_is_replaced_unpublished_and_revoked_with_all_it_signed() {
    run(async |bench| {
        let first = signing(&bench.app, bench.acme).await;
        let revision = bench.policy_revision().await;
        let done = bench.call(Method::POST, &format!("signing-keys/{first}:revoke")).send().await.expect(200);
        assert_eq!(done.json, json!({ "revision": 1, "applied": 0, "connected": 0 }));
        assert_eq!(states(bench).await, [KeyState::Active, KeyState::Revoked]);
        assert_ne!(signing(&bench.app, bench.acme).await, first);
        assert!(!published(bench).await.contains(&first));
        assert!(bench.policy_revision().await > revision);
        let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
        let revoked: Vec<String> = sqlx::query_scalar("SELECT subject FROM revocations WHERE kind = 'key'")
            .fetch_all(&mut *tx)
            .await
            .expect("revocations");
        assert_eq!(revoked, [first.as_str()]);
        drop(tx);

        // Again it is the same revocation, and nothing else happens.
        let again = bench.call(Method::POST, &format!("signing-keys/{first}:revoke")).send().await.expect(200);
        assert_eq!(again.json["revision"], 1);
        assert_eq!(states(bench).await, [KeyState::Active, KeyState::Revoked]);
        let events = bench.audit().await;
        assert_eq!(events.iter().filter(|event| event.starts_with("signing_key.revoke")).count(), 1);
        bench.call(Method::POST, "signing-keys/nobody:revoke").send().await.expect(404);
    })
    .await;
}

#[tokio::test]
async fn keys_that_do_not_sign_can_be_revoked_too() {
    run(async |bench| {
        let first = signing(&bench.app, bench.acme).await;
        rotate(&bench.app, &bench.owner(), false).await.expect("rotated");
        publish_next(&bench.app, bench.acme, "system").await.expect("published");
        let active = signing(&bench.app, bench.acme).await;
        let next = keys(bench).await.swap_remove(0).1;
        for kid in [&first, &next] {
            revoke(&bench.app, &bench.owner(), kid).await.expect("revoked");
        }
        assert_eq!(states(bench).await, [KeyState::Revoked, KeyState::Active, KeyState::Revoked]);
        assert_eq!(signing(&bench.app, bench.acme).await, active);
    })
    .await;
}

#[tokio::test]
async fn who_may_do_what_with_keys() {
    run(async |bench| {
        signing(&bench.app, bench.acme).await;
        for (role, method, path, status) in [
            (Role::Viewer, Method::GET, "signing-keys", 200),
            (Role::Operator, Method::POST, "signing-keys:rotate", 403),
            (Role::Admin, Method::POST, "signing-keys:rotate", 200),
            (Role::Admin, Method::POST, "signing-keys/k:revoke", 403),
            (Role::Owner, Method::POST, "signing-keys/k:revoke", 404),
            (Role::Owner, Method::POST, "signing-keys/k:burn", 404),
            (Role::Owner, Method::POST, "signing-keys/k", 405),
        ] {
            bench.call(method, path).by(role).send().await.expect(status);
        }
        let text = bench.get("signing-keys").await.text;
        assert!(!text.contains("private") && !text.contains("\"d\""), "{text}");
    })
    .await;
}
