//! The page of the data planes and of what they join with.

use chrono::{TimeDelta, Utc};
use serde_json::json;
use tollgate_proto::DataPlaneId;

use super::Browser;
use crate::{caller::Role, testing::run};

#[tokio::test]
async fn an_admin_makes_a_token_and_sends_a_data_plane_away() {
    run(async |bench| {
        let id = DataPlaneId::new();
        sqlx::query("INSERT INTO data_planes (id, version) VALUES ($1, '<b>1')")
            .bind(id.uuid())
            .execute(bench.app.db.pool())
            .await
            .unwrap();
        let mut admin = Browser::of(bench, Role::Admin).await;
        let page = admin.get("/fleet").await.expect(200);
        assert!(page.text.contains(&id.to_string()) && page.text.contains("connected") && !page.text.contains("<b>"));

        let made = [("name", "rack 7"), ("uses", "2"), ("expires_in", "")];
        let shown = admin.post("/fleet/enrollment-tokens", &made).await.expect(200);
        assert!(shown.text.contains("tge_") && shown.text.contains("tollgate data-plane --control-url"));
        let list = admin.get("/fleet").await.expect(200);
        assert!(list.text.contains("rack 7") && !list.text.contains("tge_"));
        let start = list.text.find("/fleet/enrollment-tokens/ent_").expect("a form");
        let path = list.text[start..].split('"').next().expect("an end").to_owned();
        admin.post(&path, &[]).await.expect(303);
        assert!(!admin.get("/fleet").await.text.contains("rack 7"));
        admin.post("/fleet/enrollment-tokens", &[("uses", "many")]).await.expect(422);

        admin.post(&format!("/fleet/data-planes/{id}/revoke"), &[]).await.expect(303);
        assert!(admin.get("/fleet").await.text.contains("revoked"));
    })
    .await;
}

#[tokio::test]
async fn the_page_shows_who_is_stale_and_how_fast_each_enforces_revocations() {
    run(async |bench| {
        let id = DataPlaneId::new();
        let times = json!({ "confirmed": 500, "p50_ms": 21.5, "p99_ms": 87.0, "worst_ms": 1_400.0, "unconfirmed": 3,
                            "unconfirmed_since": Utc::now() - TimeDelta::minutes(5) });
        sqlx::query(
            "INSERT INTO data_planes (id, last_seen_at, lease_ms, revocations)
             VALUES ($1, now() - interval '1 min', 10000, $2)",
        )
        .bind(id.uuid())
        .bind(&times)
        .execute(bench.app.db.pool())
        .await
        .unwrap();
        sqlx::query(
            "INSERT INTO policy_acknowledgements (data_plane_id, tenant_id, nacked_revision, nack_reason)
             VALUES ($1, $2, 1, 'limit `x` allows nothing')",
        )
        .bind(id.uuid())
        .bind(bench.acme.uuid())
        .execute(bench.app.db.pool())
        .await
        .unwrap();
        let listed = bench.get("/api/v1/data-planes").await.expect(200).json;
        let plane = &listed["items"][0];
        assert!(plane["stale_since"].as_str() > plane["last_seen_at"].as_str(), "{plane}");
        assert_eq!((&plane["revocations"]["p99_ms"], &plane["state"]), (&json!(87.0), &json!("away")));
        assert_eq!(
            (&listed["revocations"]["complete"], &listed["revocations"]["confirmed"]),
            (&json!(true), &json!(0))
        );

        let page = Browser::of(bench, Role::Viewer).await.get("/fleet").await.expect(200).text;
        for shown in
            ["stale</span>", "p99 87", "worst 1.4", "3 unconfirmed</span>", "5 min", "limit `x` allows nothing"]
        {
            assert!(page.contains(shown), "{shown} is not in {page}");
        }

        // Seen a moment ago, and not by this control plane.
        let seen = "UPDATE data_planes SET last_seen_at = now()";
        sqlx::query(seen).execute(bench.app.db.pool()).await.unwrap();
        let listed = bench.get("/api/v1/data-planes").await.expect(200).json;
        assert_eq!(
            (&listed["items"][0]["stale_since"], &listed["revocations"]["complete"]),
            (&json!(null), &json!(false))
        );
    })
    .await;
}

#[tokio::test]
async fn a_viewer_sees_the_fleet_and_changes_nothing() {
    run(async |bench| {
        let mut viewer = Browser::of(bench, Role::Viewer).await;
        let page = viewer.get("/fleet").await.expect(200);
        assert!(!page.text.contains("New token"));
        viewer.post("/fleet/enrollment-tokens", &[("name", "x")]).await.expect(403);
        viewer.post(&format!("/fleet/data-planes/{}/revoke", DataPlaneId::new()), &[]).await.expect(403);
    })
    .await;
}
