use http::Method;
use serde_json::json;
use tollgate_proto::policy::v1::Staleness;
use uuid::Uuid;

use crate::{caller::Role, policy, testing::run};

#[tokio::test]
async fn a_tenant_says_where_it_is_and_what_applies() {
    run(async |bench| {
        let tenant = bench.get("/api/v1/tenants/acme").await.expect(200).json;
        assert_eq!(tenant["name"], "acme");
        assert_eq!(tenant["spec"], json!({}));
        let status = &tenant["status"];
        assert_eq!(status["issuer"], "http://control.test/t/acme");
        assert_eq!(status["token_url"], "http://control.test/t/acme/oauth/token");
        assert_eq!(status["mcp_url"], "http://data.test/t/acme/mcp");
        let effective = &status["effective"];
        assert_eq!(effective["access_token_ttl"], "15m");
        assert_eq!(effective["access_token_format"], "jwt");
        assert_eq!(effective["egress_allow"], json!([]));
        assert_eq!(effective["local_sign_in"], true);
        assert_eq!(effective["signing_key_rotation"], "90d");
        assert_eq!(effective["staleness"], json!({ "max_stale": "60m", "destructive": "deny" }));
        assert_eq!((&effective["time_zone"], &effective["usage_retention"]), (&json!("UTC"), &json!("90d")));
        assert_eq!(status["policy"], json!({ "revision": 1, "data_planes": [] }));
        let by_id = format!("/api/v1/tenants/{}", bench.acme);
        assert_eq!(bench.get(&by_id).await.expect(200).json, tenant);
    })
    .await;
}

#[tokio::test]
async fn a_change_of_a_tenant_needs_an_admin_and_reaches_the_policy() {
    run(async |bench| {
        let patch = |role: Role| bench.call(Method::PATCH, "/api/v1/tenants/acme").header("if-match", "\"1\"").by(role);
        let change =
            json!({ "labels": { "a": "b" }, "spec": { "access_token_ttl": "5m", "access_token_format": "opaque", "egress_allow": ["127.1.2.3/8"] } });
        let refused = patch(Role::Operator).json(change.clone()).await.expect(403);
        assert_eq!(refused.problem().0, "role_insufficient");
        let changed = patch(Role::Admin).json(change.clone()).await.expect(200);
        assert_eq!(changed.json["spec"], change["spec"]);
        assert_eq!(changed.json["status"]["policy"]["revision"], 2);
        let stored: (i32, String, Vec<String>) =
            sqlx::query_as("SELECT access_token_ttl_s, access_token_format, egress_allow FROM tenants WHERE id = $1")
                .bind(bench.acme.uuid())
                .fetch_one(bench.app.db.pool())
                .await
                .expect("the tenant");
        assert_eq!(stored, (300, "opaque".to_owned(), vec!["127.0.0.0/8".to_owned()]));
        assert_eq!(bench.audit().await, ["tenant.update acme"]);
    })
    .await;
}

#[tokio::test]
async fn how_stale_a_policy_may_be_is_the_tenants_choice_and_part_of_the_policy() {
    run(async |bench| {
        let compiled = async || policy::compile(&bench.app, bench.acme).await.unwrap().unwrap().staleness.unwrap();
        assert_eq!(compiled().await, Staleness { allow_destructive: false, max_stale_s: Some(3_600) });
        for (revision, spec, wanted) in [
            (1, json!({ "max_stale": "15m", "destructive": "allow" }), (true, Some(900))),
            (2, json!({ "max_stale": "none", "destructive": null }), (false, None)),
            (3, json!({ "max_stale": "0s" }), (false, Some(0))),
            (4, json!(null), (false, Some(3_600))),
        ] {
            let patch =
                bench.call(Method::PATCH, "/api/v1/tenants/acme").header("if-match", &format!("\"{revision}\""));
            patch.json(json!({ "spec": { "staleness": spec } })).await.expect(200);
            let (allow_destructive, max_stale_s) = wanted;
            assert_eq!(compiled().await, Staleness { allow_destructive, max_stale_s }, "{spec}");
        }
        for max_stale in ["366d", "-1s", "for ever", ""] {
            let patch = bench.call(Method::PATCH, "/api/v1/tenants/acme").header("if-match", "\"5\"");
            let refused = patch.json(json!({ "spec": { "staleness": { "max_stale": max_stale } } })).await.expect(422);
            assert!(refused.problem().1[0].starts_with("/spec/staleness/max_stale "), "{max_stale}");
        }
    })
    .await;
}

#[tokio::test]
async fn every_fault_of_a_tenant_is_named_where_it_is() {
    run(async |bench| {
        let patch = bench.call(Method::PATCH, "/api/v1/tenants/acme").header("if-match", "\"1\"");
        let spec = json!({ "display_name": "a".repeat(121), "access_token_ttl": "2d", "egress_allow": ["10.0.0.0/8", "home"] });
        let refused = patch.json(json!({ "spec": spec })).await.expect(422);
        let expected = ["/spec/display_name text", "/spec/egress_allow/1 network", "/spec/access_token_ttl out_of_range"];
        assert_eq!(refused.problem().1, expected);
    })
    .await;
}

#[tokio::test]
async fn a_tenant_shows_what_data_planes_made_of_its_policy() {
    run(async |bench| {
        let id = Uuid::now_v7();
        sqlx::query("INSERT INTO data_planes (id) VALUES ($1)")
            .bind(id)
            .execute(bench.app.db.pool())
            .await
            .expect("seen");
        sqlx::query(
            "INSERT INTO policy_acknowledgements (data_plane_id, tenant_id, acked_revision) VALUES ($1, $2, 1)",
        )
        .bind(id)
        .bind(bench.acme.uuid())
        .execute(bench.app.db.pool())
        .await
        .expect("acknowledged");
        let tenant = bench.get("/api/v1/tenants/acme").await.expect(200).json;
        let data_plane = &tenant["status"]["policy"]["data_planes"][0];
        assert_eq!(data_plane["connected"], true);
        assert_eq!(data_plane["acked_revision"], 1);
        assert_eq!(data_plane["nack_reason"], json!(null));
    })
    .await;
}

#[tokio::test]
async fn an_owner_revokes_every_token_of_the_tenant_and_nobody_elses() {
    run(async |bench| {
        bench.tenant("other").await;
        let done = bench.call(Method::POST, "/api/v1/tenants/acme:revoke-tokens").send().await.expect(200);
        assert_eq!(done.json, json!({ "revision": 1, "applied": 0, "connected": 0 }));
        assert_eq!(bench.audit().await, ["tenant.revoke acme"]);
        let rows: Vec<(String, i64)> = sqlx::query_as("SELECT name, revocation_revision FROM tenants ORDER BY name")
            .fetch_all(bench.app.db.pool())
            .await
            .expect("tenants");
        assert_eq!(rows, [("acme".to_owned(), 1), ("other".to_owned(), 0)]);

        for (path, role, status) in [
            ("/api/v1/tenants/acme:revoke-tokens", Role::Admin, 403),
            ("/api/v1/tenants/other:revoke-tokens", Role::Owner, 404),
            ("/api/v1/tenants/acme:explode", Role::Owner, 404),
            ("/api/v1/tenants/acme", Role::Owner, 405),
        ] {
            bench.call(Method::POST, path).by(role).send().await.expect(status);
        }
        bench.call(Method::POST, "/api/v1/tenants/acme:revoke-tokens").anonymous().send().await.expect(401);
    })
    .await;
}

#[tokio::test]
async fn a_time_zone_is_one_that_there_is_and_records_are_kept_for_whole_days() {
    run(async |bench| {
        let patch = async |etag: &str, spec: serde_json::Value| {
            let call = bench.call(Method::PATCH, "/api/v1/tenants/acme").header("if-match", etag);
            call.json(json!({ "spec": spec })).await
        };
        let changed =
            patch("\"1\"", json!({ "time_zone": "Asia/Kolkata", "usage_retention": "30d" })).await.expect(200);
        assert_eq!(changed.json["status"]["effective"]["time_zone"], "Asia/Kolkata");
        let stored: (String, i32) = sqlx::query_as("SELECT time_zone, usage_retention_days FROM tenants WHERE id = $1")
            .bind(bench.acme.uuid())
            .fetch_one(bench.app.db.pool())
            .await
            .expect("the tenant");
        assert_eq!(stored, ("Asia/Kolkata".to_owned(), 30));
        for (wrong, fault) in [
            (json!({ "time_zone": "Mars/Olympus" }), "/spec/time_zone time_zone"),
            (json!({ "time_zone": "" }), "/spec/time_zone time_zone"),
            (json!({ "usage_retention": "36h" }), "/spec/usage_retention duration"),
            (json!({ "usage_retention": "23h" }), "/spec/usage_retention out_of_range"),
            (json!({ "usage_retention": "3651d" }), "/spec/usage_retention out_of_range"),
        ] {
            let refused = patch("\"2\"", wrong.clone()).await.expect(422);
            assert_eq!(refused.problem().1, [fault], "{wrong}");
        }
    })
    .await;
}
