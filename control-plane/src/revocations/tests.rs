use sqlx::AssertSqlSafe;
use tollgate_proto::TeamId;

use super::*;
use crate::{
    oauth::{
        Known,
        liveness::{self, Shown},
    },
    testing::{Bench, run},
};

/// An agent, a user, and an approval of the one by the other.
struct Cast {
    agent: AgentId,
    user: UserId,
    family: AuthorizationId,
}

impl Cast {
    async fn make(bench: &Bench) -> Self {
        let cast = Self { agent: AgentId::new(), user: UserId::new(), family: AuthorizationId::new() };
        let (tenant, team) = (bench.acme.uuid(), TeamId::new().uuid());
        let (agent, user, family) = (cast.agent.uuid(), cast.user.uuid(), cast.family.uuid());
        write(
            bench,
            format!(
                "INSERT INTO teams (tenant_id, id, name, created_by) VALUES ('{tenant}', '{team}', '{team}', 'test');
                 INSERT INTO agents (tenant_id, id, name, team_id, created_by)
                     VALUES ('{tenant}', '{agent}', '{agent}', '{team}', 'test');
                 INSERT INTO users (tenant_id, id, email, role) VALUES ('{tenant}', '{user}', '{user}@x.test', 'viewer');
                 INSERT INTO authorizations (tenant_id, id, agent_id, user_id, transaction_id, session_digest, resources,
                                             scopes, authenticated_at, expires_at)
                     VALUES ('{tenant}', '{family}', '{agent}', '{user}', '{family}', '', '{{r}}', '{{}}', now(),
                             now() + interval '1 day');
                 INSERT INTO signing_keys (tenant_id, kid, public_jwk, private_sealed, state)
                     VALUES ('{tenant}', 'k1', '{{}}', '', 'retiring'), ('{tenant}', 'k2', '{{}}', '', 'retiring')
                     ON CONFLICT DO NOTHING"
            ),
        )
        .await;
        cast
    }

    /// A token of the approval that was issued long ago.
    fn token(&self) -> Known {
        Known {
            jti: Uuid::now_v7(),
            client_id: self.agent.to_string(),
            user: Some(self.user),
            authorization: Some(self.family),
            kid: Some("k1".to_owned()),
            audience: String::new(),
            scope: String::new(),
            issued_at: 1_000_000,
            expires_at: 10_000_000_000,
        }
    }
}

async fn write(bench: &Bench, sql: String) {
    let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *tx).await.expect("written");
    tx.commit().await.expect("committed");
}

async fn revoked(bench: &Bench, what: Revoked) -> i64 {
    let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
    let revision = revoke(&mut tx, what, "a test").await.expect("revoked");
    tx.commit().await.expect("committed");
    revision
}

async fn is_dead(bench: &Bench, token: &Known) -> bool {
    liveness::of(&bench.app.db, bench.acme, Shown::Signed(token)).await.expect("an answer").is_none()
}

async fn number(bench: &Bench, sql: &'static str) -> i64 {
    let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
    sqlx::query_scalar(sql).fetch_one(&mut *tx).await.expect("a number")
}

/// Undoes every revocation.
const UNREVOKED: &str = "DELETE FROM revocations; UPDATE authorizations SET revoked_at = NULL;
     UPDATE agents SET tokens_valid_from = 0; UPDATE users SET tokens_valid_from = 0";

#[tokio::test]
async fn each_revocation_hits_what_it_names_and_nothing_else() {
    run(async |bench| {
        let (hit, other) = (Cast::make(bench).await, Cast::make(bench).await);
        let token = hit.token();
        let expires_at = Utc::now() + TimeDelta::minutes(5);
        for (what, spared) in [
            (Revoked::Token { jti: token.jti, expires_at }, Known { jti: Uuid::now_v7(), ..token.clone() }),
            (Revoked::GrantFamily(hit.family), Known { authorization: None, ..token.clone() }),
            (Revoked::User(hit.user), Known { user: None, authorization: None, ..token.clone() }),
            (Revoked::Agent(hit.agent), Known { user: None, authorization: None, ..other.token() }),
            (Revoked::Key { kid: "k1".to_owned() }, Known { kid: Some("k2".to_owned()), ..other.token() }),
        ] {
            write(bench, UNREVOKED.to_owned()).await;
            assert!(!is_dead(bench, &token).await, "{what:?} before");
            revoked(bench, what.clone()).await;
            assert!(is_dead(bench, &token).await, "{what:?}");
            assert!(!is_dead(bench, &spared).await, "{what:?} hit {spared:?}");
        }
        revoked(bench, Revoked::Tenant).await;
        assert!(is_dead(bench, &Known { kid: None, authorization: None, user: None, ..other.token() }).await);
    })
    .await;
}

#[tokio::test]
async fn a_token_issued_from_the_next_second_on_is_not_hit() {
    run(async |bench| {
        let cast = Cast::make(bench).await;
        for what in [Revoked::Agent(cast.agent), Revoked::User(cast.user), Revoked::Tenant] {
            revoked(bench, what).await;
        }
        let from = number(bench, "SELECT max(issued_before) FROM revocations").await;
        let issued = |issued_at| Known { issued_at, authorization: None, ..cast.token() };
        assert!(is_dead(bench, &issued(from - 1)).await);
        assert!(!is_dead(bench, &issued(from)).await);
        for column in [
            "SELECT tokens_valid_from FROM agents WHERE tokens_valid_from > 0",
            "SELECT tokens_valid_from FROM users WHERE tokens_valid_from > 0",
        ] {
            assert!(number(bench, column).await <= from, "{column}");
        }
        assert_eq!(number(bench, "SELECT tokens_valid_from FROM tenants WHERE name = 'acme'").await, from);
    })
    .await;
}

#[tokio::test]
async fn a_revoked_agent_user_or_tenant_takes_its_approvals_with_it() {
    run(async |bench| {
        const LIVING: &str = "SELECT count(*) FROM authorizations WHERE revoked_at IS NULL";
        let casts = [Cast::make(bench).await, Cast::make(bench).await, Cast::make(bench).await];
        let last = Cast::make(bench).await;
        for (what, left) in [
            (Revoked::Agent(casts[0].agent), 3),
            (Revoked::User(casts[1].user), 2),
            (Revoked::GrantFamily(casts[2].family), 1),
            (Revoked::Agent(casts[0].agent), 1),
            (Revoked::Tenant, 0),
        ] {
            revoked(bench, what.clone()).await;
            assert_eq!(number(bench, LIVING).await, left, "{what:?}");
        }
        let because = "SELECT count(*) FROM authorizations WHERE revoked_because = 'a test'";
        assert_eq!(number(bench, because).await, 4);
        assert!(is_dead(bench, &last.token()).await);
    })
    .await;
}

#[tokio::test]
async fn a_mass_revocation_is_one_row_however_many_tokens_there_are() {
    run(async |bench| {
        let cast = Cast::make(bench).await;
        let (tenant, agent, user) = (bench.acme.uuid(), cast.agent.uuid(), cast.user.uuid());
        write(
            bench,
            format!(
                "INSERT INTO access_tokens (tenant_id, digest, jti, agent_id, user_id, resource, scope, issued_at,
                                            expires_at)
                     SELECT '{tenant}', sha256(n::text::bytea), gen_random_uuid(), '{agent}', '{user}', 'r', '', now(),
                            now() + interval '15 minutes'
                     FROM generate_series(1, 100000) n"
            ),
        )
        .await;
        revoked(bench, Revoked::User(cast.user)).await;
        assert_eq!(number(bench, "SELECT count(*) FROM revocations").await, 1);
        assert_eq!(number(bench, "SELECT revocation_revision FROM tenants WHERE name = 'acme'").await, 1);
        assert_eq!(number(bench, "SELECT count(*) FROM access_tokens").await, 100_000, "no token's row was touched");
    })
    .await;
}

#[tokio::test]
async fn what_is_revoked_for_good_is_written_once() {
    run(async |bench| {
        let cast = Cast::make(bench).await;
        let token = Revoked::Token { jti: Uuid::now_v7(), expires_at: Utc::now() + TimeDelta::minutes(5) };
        for what in [token, Revoked::GrantFamily(cast.family), Revoked::Key { kid: "k1".to_owned() }] {
            let first = revoked(bench, what.clone()).await;
            assert_eq!(revoked(bench, what).await, first);
        }
        // What was issued since has to be hit too.
        let first = revoked(bench, Revoked::Agent(cast.agent)).await;
        assert_eq!(revoked(bench, Revoked::Agent(cast.agent)).await, first + 1);
    })
    .await;
}

#[tokio::test]
async fn revocations_at_the_same_time_get_numbers_without_gaps() {
    run(async |bench| {
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..16 {
            let (app, tenant) = (std::sync::Arc::clone(&bench.app), bench.acme);
            all.spawn(async move {
                let mut tx = app.db.tenant(tenant).await.expect("a transaction");
                let what = Revoked::Token { jti: Uuid::now_v7(), expires_at: Utc::now() + TimeDelta::minutes(5) };
                let revision = revoke(&mut tx, what, "a test").await.expect("revoked");
                tx.commit().await.expect("committed");
                revision
            });
        }
        let mut revisions = all.join_all().await;
        revisions.sort_unstable();
        assert_eq!(revisions, (1..=16).collect::<Vec<i64>>());
    })
    .await;
}

#[tokio::test]
async fn what_speaks_of_nothing_any_more_is_deleted_and_nothing_else() {
    run(async |bench| {
        revoked(bench, Revoked::Key { kid: "old".to_owned() }).await;
        write(bench, "UPDATE revocations SET expires_at = now()".to_owned()).await;
        revoked(bench, Revoked::Key { kid: "new".to_owned() }).await;
        assert_eq!(purge(&bench.app, bench.acme).await.expect("purged"), 1);
        assert_eq!(number(bench, "SELECT count(*) FROM revocations WHERE subject = 'new'").await, 1);
        assert_eq!(purge(&bench.app, bench.acme).await.expect("purged"), 0);
    })
    .await;
}

#[tokio::test]
async fn a_revocation_whose_transaction_is_rolled_back_never_was() {
    run(async |bench| {
        let cast = Cast::make(bench).await;
        let mut tx = bench.app.db.tenant(bench.acme).await.expect("a transaction");
        revoke(&mut tx, Revoked::Tenant, "a test").await.expect("revoked");
        drop(tx);
        assert!(!is_dead(bench, &cast.token()).await);
        assert_eq!(number(bench, "SELECT revocation_revision FROM tenants WHERE name = 'acme'").await, 0);
    })
    .await;
}
