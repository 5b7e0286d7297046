//! What is allowed, listed and taken back.

use http::Method;
use serde_json::{Value, json};
use sqlx::Connection as _;
use tollgate_proto::{AgentId, AuthorizationId, TeamId, UserId};

use super::{Parties, allowed_apps, remember, remembered};
use crate::{
    caller::Role,
    db::TenantTx,
    testing::{Bench, run},
};

const RESOURCE: &str = "http://data.test/t/acme/mcp";
const DIGEST: &[u8] = b"as it described itself";

struct Setting {
    agent: AgentId,
    user: UserId,
}

impl Setting {
    /// Agent `editor` and user `ada@acme.test`.
    async fn new(bench: &Bench) -> Self {
        let made = Self { agent: AgentId::new(), user: UserId::new() };
        let (mut tx, team) = (tx(bench).await, TeamId::new());
        for (statement, id, also) in [
            ("INSERT INTO teams (tenant_id, id, name, created_by) VALUES ($1, $2, 'core', 'test')", team.uuid(), None),
            (
                "INSERT INTO agents (tenant_id, id, name, team_id, type, auth_method, display_name, created_by)
                 VALUES ($1, $2, 'editor', $3, 'interactive', 'none', 'The \u{202e}Editor', 'test')",
                made.agent.uuid(),
                Some(team.uuid()),
            ),
            (
                "INSERT INTO users (tenant_id, id, email, role) VALUES ($1, $2, 'ada@acme.test', 'viewer')",
                made.user.uuid(),
                None,
            ),
        ] {
            let query = sqlx::query(statement).bind(bench.acme.uuid()).bind(id);
            let query = if let Some(also) = also { query.bind(also) } else { query };
            query.execute(&mut *tx).await.expect(statement);
        }
        tx.commit().await.expect("committed");
        made
    }

    fn parties<'a>(&self, client_digest: &'a [u8]) -> Parties<'a> {
        Parties { user: self.user, agent: self.agent, client_digest }
    }

    /// A grant family, allowed just now.
    async fn family(&self, bench: &Bench, resources: &[&str], scopes: &[&str]) -> AuthorizationId {
        let (mut tx, id) = (tx(bench).await, AuthorizationId::new());
        sqlx::query(
            "INSERT INTO authorizations (tenant_id, id, agent_id, user_id, transaction_id, session_digest, resources,
                                         scopes, authenticated_at, expires_at)
             VALUES ($1, $2, $3, $4, $2, '\\x00', $5, $6, now(), now() + interval '90 days')",
        )
        .bind(bench.acme.uuid())
        .bind(id.uuid())
        .bind(self.agent.uuid())
        .bind(self.user.uuid())
        .bind(resources)
        .bind(scopes)
        .execute(&mut *tx)
        .await
        .expect("a family");
        tx.commit().await.expect("committed");
        id
    }

    async fn consent(&self, bench: &Bench, resource: &str, scopes: &[&str]) {
        let scopes: Vec<_> = scopes.iter().map(|scope| scope.parse().expect("a scope")).collect();
        let mut tx = tx(bench).await;
        remember(&mut tx, self.parties(DIGEST), resource, &scopes, &scopes).await.expect("remembered");
        tx.commit().await.expect("committed");
    }

    async fn remembers(&self, bench: &Bench, digest: &[u8], resource: &str) -> Vec<String> {
        let found = remembered(&mut tx(bench).await, self.parties(digest), resource).await.expect("an answer");
        found.iter().map(ToString::to_string).collect()
    }
}

async fn tx(bench: &Bench) -> TenantTx {
    bench.app.db.tenant(bench.acme).await.expect("a transaction")
}

async fn is_revoked(bench: &Bench, family: AuthorizationId) -> bool {
    sqlx::query_scalar("SELECT revoked_at IS NOT NULL FROM authorizations WHERE id = $1")
        .bind(family.uuid())
        .fetch_one(&mut *tx(bench).await)
        .await
        .expect("the family")
}

#[tokio::test]
async fn what_is_remembered_is_of_the_client_as_it_was() {
    run(async |bench| {
        let made = Setting::new(bench).await;
        made.consent(bench, RESOURCE, &["demo:echo", "demo:add"]).await;
        assert_eq!(made.remembers(bench, DIGEST, RESOURCE).await, ["demo:add", "demo:echo"]);
        assert!(made.remembers(bench, b"another", RESOURCE).await.is_empty());
        assert!(made.remembers(bench, DIGEST, "http://data.test/t/acme/mcp/demo").await.is_empty());
        made.consent(bench, RESOURCE, &["demo:*"]).await;
        assert_eq!(made.remembers(bench, DIGEST, RESOURCE).await, ["demo:*"], "what it covers is not kept beside it");
    })
    .await;
}

#[tokio::test]
async fn a_user_sees_all_they_allowed_by_app_and_resource() {
    run(async |bench| {
        let made = Setting::new(bench).await;
        let at_demo = "http://data.test/t/acme/mcp/demo";
        made.consent(bench, RESOURCE, &["demo:*"]).await;
        made.family(bench, &[RESOURCE, at_demo], &["demo:echo"]).await;
        let gone = made.family(bench, &["http://data.test/t/acme/mcp/gone"], &["gone:x"]).await;
        let over = made.family(bench, &["http://data.test/t/acme/mcp/over"], &["over:x"]).await;
        let mut tx = tx(bench).await;
        for (statement, id) in [
            ("UPDATE authorizations SET revoked_at = now() WHERE id = $1", gone),
            ("UPDATE authorizations SET expires_at = now() WHERE id = $1", over),
        ] {
            sqlx::query(statement).bind(id.uuid()).execute(&mut *tx).await.expect(statement);
        }
        let apps = allowed_apps(&mut tx, made.user).await.expect("a list");
        let seen: Vec<(String, &str, Vec<String>)> = apps
            .iter()
            .map(|app| (app.shown_name(), app.resource.as_str(), app.scopes.iter().map(ToString::to_string).collect()))
            .collect();
        let name = || "The Editor".to_owned();
        assert_eq!(seen, [(name(), RESOURCE, vec!["demo:*".into()]), (name(), at_demo, vec!["demo:echo".into()])]);
        tx.ping().await.expect("still there");
    })
    .await;
}

#[tokio::test]
async fn admins_list_and_take_back_what_a_user_allowed() {
    run(async |bench| {
        let made = Setting::new(bench).await;
        made.consent(bench, RESOURCE, &["demo:echo"]).await;
        let (family, other) = (
            made.family(bench, &[RESOURCE], &["demo:echo"]).await,
            made.family(bench, &[RESOURCE], &["demo:add"]).await,
        );
        let path = "users/ADA@acme.test/authorizations";
        let listed = bench.call(Method::GET, path).by(Role::Admin).send().await.expect(200);
        let items = listed.json["items"].as_array().expect("a list");
        assert_eq!((items.len(), &listed.json["next_cursor"]), (2, &Value::Null));
        let mine = items.iter().find(|item| item["id"] == json!(family)).expect("the family");
        assert_eq!(mine["agent"], "editor");
        assert_eq!((&mine["resources"], &mine["scopes"]), (&json!([RESOURCE]), &json!(["demo:echo"])));
        let one = format!("{path}/{family}");
        for role in [Role::Operator, Role::Viewer] {
            bench.call(Method::GET, path).by(role).send().await.expect(403);
            bench.call(Method::DELETE, &one).by(role).send().await.expect(403);
        }
        bench.call(Method::DELETE, &one).by(Role::Admin).send().await.expect(204);
        bench.call(Method::DELETE, &one).by(Role::Admin).send().await.expect(404);
        bench.call(Method::DELETE, &format!("{path}/nonsense")).by(Role::Admin).send().await.expect(404);
        bench.call(Method::GET, "users/nobody@acme.test/authorizations").by(Role::Admin).send().await.expect(404);
        assert!(is_revoked(bench, family).await && !is_revoked(bench, other).await);
        assert!(made.remembers(bench, DIGEST, RESOURCE).await.is_empty(), "the agent has to ask again");
        assert!(bench.audit().await.contains(&"authorization.revoke editor".to_owned()));
    })
    .await;
}
