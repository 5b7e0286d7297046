//! Revocations that Postgres does not take: 503 means that the token is as good as before (RFC 7009 section 2.2.1).

use axum::http::{StatusCode, header};

use super::{empty_ok, revoke, told};
use crate::oauth::testing::{Answer, Bed, Client, run};

/// Ends the session of whoever runs it, as an operator or a crash would.
pub(in crate::oauth::tests) const DIE: &str =
    "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
    $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$";
/// Where a revocation is when its session ends: after its first write, after its last, and while it commits.
const MOMENTS: [&str; 3] = [
    "CREATE TRIGGER dying AFTER INSERT ON revocations FOR EACH ROW EXECUTE FUNCTION die()",
    "CREATE TRIGGER dying AFTER INSERT ON audit_events FOR EACH ROW EXECUTE FUNCTION die()",
    "CREATE CONSTRAINT TRIGGER dying AFTER INSERT ON audit_events DEFERRABLE INITIALLY DEFERRED
     FOR EACH ROW EXECUTE FUNCTION die()",
];

/// A client with tokens of both kinds.
struct Scene<'a> {
    bed: &'a Bed,
    client: Client,
    access_token: String,
    refresh_token: String,
}

impl<'a> Scene<'a> {
    async fn new(bed: &'a Bed) -> Self {
        let client = bed.confidential_app("app", &["demo:*"]).await;
        let ada = bed.person("ada@example.com").await;
        let code = bed.code(&client, ada, &["demo:*"]).await;
        let issued = bed.redeem(&client, &code, "").await;
        Self { bed, client, access_token: issued.access_token(), refresh_token: issued.refresh_token() }
    }

    fn tokens(&self) -> [&str; 2] {
        [&self.access_token, &self.refresh_token]
    }

    async fn is_active(&self, token: &str) -> bool {
        let answer = self.bed.post_as("introspect", &self.client, &format!("token={token}")).await;
        answer.json()["active"].as_bool().expect("a verdict")
    }

    /// Everything that a revocation changes is as it was.
    async fn assert_untouched(&self, when: &str) {
        for token in self.tokens() {
            assert!(self.is_active(token).await, "{when}");
        }
        assert_eq!(told(self.bed).await, [], "{when}");
        assert_eq!(self.bed.count("authorizations WHERE revoked_at IS NULL AND revoked_because IS NULL").await, 1);
        assert_eq!(self.bed.count("tenants WHERE name = 'acme' AND revocation_revision = 0").await, 1, "{when}");
        assert_eq!(self.bed.count("audit_events WHERE action LIKE '%.revoke'").await, 0, "{when}");
    }
}

/// Runs one statement as the owner of the tables.
pub(in crate::oauth::tests) async fn as_owner(bed: &Bed, sql: &str) {
    let mut connection = bed.app.db.pool().acquire().await.expect("a connection");
    let sql = sqlx::AssertSqlSafe(format!("RESET ROLE; {sql}; SET ROLE tollgate_app"));
    sqlx::raw_sql(sql).execute(&mut *connection).await.expect("the owner may do all");
}

pub(in crate::oauth::tests) fn assert_try_again(answer: &Answer, when: &str) {
    assert_eq!(answer.error(), (503, "temporarily_unavailable".to_owned()), "{when}");
    assert!(answer.header(header::RETRY_AFTER).parse::<u32>().is_ok_and(|wait_s| wait_s > 0), "{when}");
    assert_eq!(answer.header(header::CACHE_CONTROL), "no-store", "{when}");
}

#[tokio::test]
async fn a_session_that_ends_half_way_leaves_nothing_half_revoked() {
    run(async |bed| {
        let scene = Scene::new(bed).await;
        as_owner(bed, DIE).await;
        for moment in MOMENTS {
            as_owner(bed, moment).await;
            for token in scene.tokens() {
                assert_try_again(&revoke(bed, &scene.client, token, "").await, moment);
            }
            as_owner(bed, "DROP TRIGGER IF EXISTS dying ON revocations; DROP TRIGGER IF EXISTS dying ON audit_events")
                .await;
            scene.assert_untouched(moment).await;
        }
        assert_eq!(bed.refresh(&scene.client, &scene.refresh_token, "").await.status, StatusCode::OK);
        for token in scene.tokens() {
            empty_ok(&revoke(bed, &scene.client, token, "").await);
            assert!(!scene.is_active(token).await, "the next try succeeds");
        }
    })
    .await;
}

#[tokio::test]
async fn without_a_database_nothing_is_promised() {
    run(async |bed| {
        let scene = Scene::new(bed).await;
        let here = bed.beside_on_its_own_connections().await;
        here.app.db.pool().close().await;
        for token in scene.tokens() {
            assert_try_again(&revoke(&here, &scene.client, token, "").await, "without a database");
        }
        scene.assert_untouched("without a database").await;
    })
    .await;
}

#[tokio::test]
async fn while_every_connection_is_busy_nothing_is_promised_and_nothing_is_left_in_the_queue() {
    run(async |bed| {
        let scene = Scene::new(bed).await;
        let pool = bed.app.db.pool();
        let mut busy = Vec::new();
        for _ in 0..pool.options().get_max_connections() {
            busy.push(pool.acquire().await.expect("a connection"));
        }
        let answer = revoke(bed, &scene.client, &scene.refresh_token, "").await;
        assert_try_again(&answer, "while every connection is busy");
        drop(busy);
        scene.assert_untouched("once connections are free").await;
    })
    .await;
}
