use sqlx::AssertSqlSafe;

use super::*;
use crate::testing::{Bench, run as with_bench};

/// Where rows have an end that a round removes them after, and how one is made that ends then. The digest and the id are
/// another one each time.
const REMOVED: [(&str, &str); 10] = [
    (
        "access_tokens",
        "(tenant_id, digest, jti, agent_id, resource, scope, issued_at, expires_at)
         SELECT tenant, digest, id, id, '', '', now(), expires_at",
    ),
    ("authorization_codes", "SELECT tenant, digest, id, '', '', now(), expires_at"),
    ("authorizations", "SELECT tenant, id, id, id, id, digest, '{x}', '{}', now(), now(), NULL, expires_at"),
    ("console_sessions", "(digest, tenant_id, user_id, expires_at) SELECT digest, tenant, id, expires_at"),
    (
        "enrollment_tokens",
        "(id, name, digest, created_by, expires_at, uses_left) SELECT id, 'x', digest, 'test', expires_at, 1",
    ),
    ("refresh_tokens", "SELECT tenant, digest, id, NULL, now(), expires_at"),
    (
        "revocations",
        "(tenant_id, revision, kind, subject, expires_at)
         SELECT tenant, extract(epoch FROM expires_at)::bigint, 'token', id::text, expires_at",
    ),
    ("sign_in_links", "SELECT digest, tenant, id, expires_at"),
    ("used_assertions", "SELECT tenant, digest, expires_at"),
    ("used_logout_tokens", "SELECT tenant, digest, expires_at"),
];
/// Where rows have an end and stay after it, because people see there that it is over, until they remove them; and the
/// authorities, of which an installation has a few.
const KEPT: [&str; 5] = ["agent_credentials", "api_keys", "certificate_authorities", "grants", "initial_access_tokens"];

#[tokio::test]
async fn a_round_is_left_to_the_control_plane_that_is_at_it() {
    with_bench(async |bench| {
        let mut other = bench.app.db.platform().await.expect("Postgres");
        assert!(sql::try_lock(&mut other, Lane::Short as i64).await.expect("Postgres"));
        run(&bench.app).await.expect("nothing to do");
        assert!(
            !bench
                .app
                .metrics
                .render(bench.app.db.pool(), bench.app.policy_changes.connected())
                .contains(r#"job="oauth.purge""#)
        );
        other.commit().await.expect("Postgres");
        run(&bench.app).await.expect("a round");
        let metrics = bench.app.metrics.render(bench.app.db.pool(), bench.app.policy_changes.connected());
        assert!(metrics.contains(r#"tollgate_jobs_total{job="oauth.purge",outcome="ok"}"#), "{metrics}");
    })
    .await;
}

#[tokio::test]
async fn whatever_has_an_end_is_removed_after_it_or_kept_on_purpose() {
    with_bench(async |bench| {
        let known = "SELECT c.table_name::text FROM information_schema.columns c
                     JOIN information_schema.tables t USING (table_schema, table_name)
                     WHERE table_schema = 'public' AND column_name = 'expires_at' AND table_type = 'BASE TABLE'
                     ORDER BY 1";
        let known: Vec<String> = sqlx::query_scalar(known).fetch_all(bench.app.db.pool()).await.expect("tables");
        let mut said: Vec<&str> = REMOVED.iter().map(|(table, _)| *table).chain(KEPT).collect();
        said.sort_unstable();
        assert_eq!(known, said, "say of each table with an end what becomes of its rows");

        for (table, row) in REMOVED {
            for end in ["now() - interval '40 days'", "now() + interval '1 day'"] {
                insert(bench, table, row, end).await;
            }
        }
        run(&bench.app).await.expect("a round");
        for (table, _) in REMOVED {
            assert_eq!(ends_in(bench, table).await, [true], "{table}: what is over is gone, and nothing else");
        }
    })
    .await;
}

/// A row that ends then. What it refers to need not be there.
async fn insert(bench: &Bench, table: &str, row: &str, end: &str) {
    let made = format!(
        "SET LOCAL ROLE NONE; SET LOCAL session_replication_role = replica;
         INSERT INTO {table} {row} FROM (SELECT '{}'::uuid AS tenant, gen_random_uuid() AS id,
             uuid_send(gen_random_uuid()) AS digest, {end} AS expires_at) made",
        bench.acme.uuid()
    );
    let mut tx = bench.app.db.platform().await.expect("Postgres");
    let inserted = sqlx::raw_sql(AssertSqlSafe(made)).execute(&mut *tx).await;
    inserted.unwrap_or_else(|error| panic!("{table}: {error}"));
    tx.commit().await.expect("committed");
}

/// Of each row, whether it has not ended yet.
async fn ends_in(bench: &Bench, table: &str) -> Vec<bool> {
    let mut tx = bench.app.db.tenant(bench.acme).await.expect("Postgres");
    let ends = format!("SELECT expires_at > now() FROM {table}");
    sqlx::query_scalar(AssertSqlSafe(ends)).fetch_all(&mut *tx).await.expect("rows")
}
