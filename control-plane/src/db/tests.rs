use serde_json::json;

use crate::testing::run;

/// Tables that name a tenant and are read before the tenant is known, or for all tenants at once.
const OPEN: [&str; 5] = ["api_keys", "console_sessions", "policy_acknowledgements", "sign_in_links", "usage_marks"];

#[tokio::test]
async fn every_table_of_a_tenant_is_behind_row_level_security() {
    run(async |bench| {
        let unguarded: Vec<String> = sqlx::query_scalar(
            "SELECT c.relname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
             WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.attname = 'tenant_id'
               AND c.relnamespace = 'public'::regnamespace AND NOT (c.relrowsecurity AND c.relforcerowsecurity)
             ORDER BY 1",
        )
        .fetch_all(bench.app.db.pool())
        .await
        .expect("tables");
        assert_eq!(unguarded, OPEN);
    })
    .await;
}

#[tokio::test]
async fn a_tenants_transaction_neither_sees_nor_writes_anothers_rows() {
    run(async |bench| {
        let other = bench.tenant("other").await;
        bench.put("teams/platform", json!({ "spec": {} })).await.expect(201);
        let teams = "SELECT count(*) FROM teams";

        let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
        let seen: i64 = sqlx::query_scalar(teams).fetch_one(&mut *tx).await.expect("a count");
        assert_eq!(seen, 1);

        let mut tx = bench.app.db.tenant(other).await.expect("a transaction");
        let seen: i64 = sqlx::query_scalar(teams).fetch_one(&mut *tx).await.expect("a count");
        assert_eq!(seen, 0);
        let changed = sqlx::query("UPDATE teams SET display_name = 'mine'").execute(&mut *tx).await.expect("an update");
        assert_eq!(changed.rows_affected(), 0);
        let insert = "INSERT INTO teams (tenant_id, id, name, created_by) VALUES ($1, gen_random_uuid(), 'x', 'x')";
        let refused = sqlx::query(insert).bind(bench.acme.uuid()).execute(&mut *tx).await.expect_err("not ours");
        assert!(refused.to_string().contains("row-level security"), "{refused}");

        let mut tx = bench.app.db.platform().await.expect("a transaction");
        let seen: i64 = sqlx::query_scalar(teams).fetch_one(&mut *tx).await.expect("a count");
        assert_eq!(seen, 0, "without a tenant nothing is seen");
    })
    .await;
}

#[tokio::test]
async fn a_control_plane_that_hangs_in_a_transaction_gives_up_its_locks() {
    run(async |bench| {
        let db = &bench.app.db;
        let limit = "SELECT current_setting('idle_in_transaction_session_timeout')";
        let mut tenant = db.tenant(bench.acme).await.expect("a transaction");
        let mut platform = db.platform().await.expect("a transaction");
        for transaction in [&mut *tenant, &mut *platform] {
            let ends_after: String = sqlx::query_scalar(limit).fetch_one(&mut *transaction).await.expect("a setting");
            assert_eq!(ends_after, "10s");
        }
    })
    .await;
}

#[tokio::test]
async fn a_look_up_sees_its_tenant_alone_and_cannot_write() {
    run(async |bench| {
        let other = bench.tenant("other").await;
        bench.put("teams/platform", json!({ "spec": {} })).await.expect(201);
        for (tenant, expected) in [(bench.acme, 1), (other, 0), (bench.acme, 1)] {
            let mut tx = bench.app.db.tenant_lookup(tenant).await.expect("a transaction");
            let seen: i64 =
                sqlx::query_scalar("SELECT count(*) FROM teams").fetch_one(&mut *tx).await.expect("a count");
            assert_eq!(seen, expected);
        }
        let mut tx = bench.app.db.tenant_lookup(bench.acme).await.expect("a transaction");
        let refused =
            sqlx::query("UPDATE teams SET display_name = 'mine'").execute(&mut *tx).await.expect_err("read only");
        assert!(refused.to_string().contains("read-only"), "{refused}");
    })
    .await;
}
