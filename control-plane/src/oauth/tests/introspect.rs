//! What clients learn about tokens.

use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};
use tollgate_proto::{AuthorizationId, UserId};

use crate::{
    oauth::testing::{Answer, Bed, Client, run},
    secret::{self, Digest, Purpose},
};

const INACTIVE: &str = r#"{"active":false}"#;

async fn ask(bed: &Bed, caller: &Client, token: &str) -> Answer {
    bed.post("introspect", Some(&caller.basic()), &format!("token={token}")).await
}

async fn is_active(bed: &Bed, caller: &Client, token: &str) -> bool {
    let answer = ask(bed, caller, token).await;
    assert_eq!(answer.status, StatusCode::OK);
    let active = answer.json()["active"].as_bool().expect("a verdict");
    assert!(active || answer.body == INACTIVE, "an inactive token has no other member: {:?}", answer.body);
    active
}

async fn token_of(bed: &Bed, client: &Client) -> String {
    bed.token(client, "").await.json()["access_token"].as_str().expect("a token").to_owned()
}

async fn opaque(bed: &Bed) {
    bed.run("UPDATE tenants SET access_token_format = 'opaque' WHERE id = $1", bed.tenant.uuid()).await;
}

/// A user who allowed the agent something, with a refresh token and an opaque access token of that family.
struct Family {
    id: AuthorizationId,
    user: UserId,
    refresh_token: String,
    access_token: String,
}

async fn family(bed: &Bed, client: &Client) -> Family {
    let (id, user) = (AuthorizationId::new(), UserId::new());
    let made = [Purpose::RefreshToken, Purpose::AccessToken].map(secret::generate);
    let mut tx = bed.tx().await;
    let statements = [
        "INSERT INTO users (tenant_id, id, email, display_name, role)
         VALUES ($1, $2, $2::text || '@acme.test', 'Ada', 'viewer')",
        "INSERT INTO authorizations (tenant_id, id, agent_id, user_id, transaction_id, session_digest, resources, scopes,
                                     authenticated_at, expires_at)
         VALUES ($1, $3, $4, $2, $3, '', '{https://gw/t/acme/mcp}', '{demo:*}', now(), now() + interval '90 days')",
        "INSERT INTO refresh_tokens (tenant_id, digest, authorization_id, expires_at)
         SELECT $1, $5, $3, now() + interval '30 days' WHERE $2::uuid IS NOT NULL AND $4::uuid IS NOT NULL",
        "INSERT INTO access_tokens (tenant_id, digest, jti, authorization_id, agent_id, user_id, resource, scope,
                                    issued_at, expires_at)
         SELECT $1, $6, $3, $3, $4, $2, 'https://gw/t/acme/mcp', 'demo:*', now(), now() + interval '15 minutes'
         WHERE $5::bytea IS NOT NULL",
    ];
    for statement in statements {
        let mut query = sqlx::query(statement).bind(bed.tenant.uuid()).bind(user.uuid());
        if statement.contains("$3") {
            query = query.bind(id.uuid()).bind(client.agent.uuid());
        }
        if statement.contains("$5") {
            query = query.bind(made[0].digest.as_bytes());
        }
        if statement.contains("$6") {
            query = query.bind(made[1].digest.as_bytes());
        }
        query.execute(&mut *tx).await.expect(statement);
    }
    tx.commit().await.expect("committed");
    let [refresh_token, access_token] = made.map(|made| made.text.to_string());
    Family { id, user, refresh_token, access_token }
}

#[tokio::test]
async fn an_agent_learns_what_its_token_is_good_for_in_either_format() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:echo"]).await;
        for format in ["jwt", "opaque"] {
            if format == "opaque" {
                opaque(bed).await;
            }
            let token = token_of(bed, &client).await;
            assert_eq!(token.starts_with("tga_"), format == "opaque");
            let answer = ask(bed, &client, &token).await;
            assert_eq!(answer.status, StatusCode::OK);
            assert_eq!(answer.header(header::CONTENT_TYPE), "application/json");
            assert_eq!(answer.header(header::CACHE_CONTROL), "no-store");
            let mut said = answer.json();
            let members = said.as_object_mut().expect("an object");
            let (issued_at, expires_at) = (members.remove("iat"), members.remove("exp"));
            let life = expires_at.and_then(|at| at.as_i64()).expect("exp")
                - issued_at.and_then(|at| at.as_i64()).expect("iat");
            assert_eq!(life, 900, "{format}");
            assert!(members.remove("jti").is_some_and(|jti| jti.is_string()), "{format}");
            let expected = json!({
                "active": true, "scope": "demo:echo", "client_id": client.id, "sub": client.id, "token_type": "Bearer",
                "aud": "https://gw/t/acme/mcp", "iss": "https://h/t/acme",
            });
            assert_eq!(said, expected, "{format}");
        }
    })
    .await;
}

#[tokio::test]
async fn whoever_proves_nothing_learns_nothing() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:*"]).await;
        let token = token_of(bed, &client).await;
        let body = format!("token={token}");
        let refusal = (401, "invalid_client".to_owned());
        assert_eq!(bed.post("introspect", None, &body).await.error(), refusal);
        for authorization in [format!("Bearer {token}"), "Basic eDp5".to_owned()] {
            let answer = bed.post("introspect", Some(&authorization), &body).await;
            assert_eq!(answer.error(), refusal, "{authorization}");
            assert!(answer.header(header::WWW_AUTHENTICATE).starts_with("Basic realm="), "{authorization}");
        }
        bed.run("UPDATE agents SET auth_method = 'none' WHERE id = $1", client.agent.uuid()).await;
        let public = bed.post("introspect", None, &format!("{body}&client_id={}", client.id)).await;
        assert_eq!(public.error(), refusal, "a public client");
    })
    .await;
}

#[tokio::test]
async fn a_request_that_is_none_is_refused() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:*"]).await;
        let invalid = (400, "invalid_request".to_owned());
        assert_eq!(bed.post("introspect", Some(&client.basic()), "").await.error(), invalid);
        assert_eq!(bed.post("introspect", Some(&client.basic()), "token=a&token=b").await.error(), invalid);
        let json = Request::post("/t/acme/oauth/introspect")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::AUTHORIZATION, client.basic());
        assert_eq!(bed.send(json.body("{}".into()).expect("a request")).await.error(), invalid);
        let read = bed.get("/t/acme/oauth/introspect?token=x").await;
        assert_eq!((read.status, read.header(header::ALLOW)), (StatusCode::METHOD_NOT_ALLOWED, "POST"));
        let asked = ask(bed, &client, "x").await;
        assert_eq!(asked.header(header::ACCESS_CONTROL_ALLOW_ORIGIN), "", "no page of another site asks");
    })
    .await;
}

#[tokio::test]
async fn a_hint_changes_nothing() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:*"]).await;
        let family = family(bed, &client).await;
        for token in [token_of(bed, &client).await, family.refresh_token, family.access_token, "garbage".to_owned()] {
            let plain = ask(bed, &client, &token).await.body;
            for hint in ["access_token", "refresh_token", "nonsense", ""] {
                assert_eq!(ask(bed, &client, &format!("{token}&token_type_hint={hint}")).await.body, plain, "{hint}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn tokens_of_others_look_like_none_unless_an_admin_lets_the_agent_introspect() {
    run(async |bed| {
        let owner = bed.agent("bot", &["demo:*"]).await;
        let server = bed.agent("resource-server", &[]).await;
        let jwt = token_of(bed, &owner).await;
        let family = family(bed, &owner).await;
        for token in [&jwt, &family.access_token, &family.refresh_token] {
            assert!(is_active(bed, &owner, token).await);
            assert!(!is_active(bed, &server, token).await);
        }
        bed.run("UPDATE agents SET spec = '{\"introspect\": true}' WHERE id = $1", server.agent.uuid()).await;
        assert!(is_active(bed, &server, &jwt).await && is_active(bed, &server, &family.access_token).await);
        assert!(!is_active(bed, &server, &family.refresh_token).await, "a refresh token is its client's alone");
        let said = ask(bed, &server, &family.access_token).await.json();
        assert_eq!(said["sub"], json!(family.user));
        assert_eq!(said["client_id"], json!(owner.id));
    })
    .await;
}

#[tokio::test]
async fn a_resource_server_learns_of_tokens_for_the_endpoints_that_it_stands_for_alone() {
    run(async |bed| {
        bed.server("demo").await;
        let owner = bed.agent("bot", &["demo:*"]).await;
        let server = bed.agent("resource-server", &[]).await;
        let spec = json!({ "introspect": ["https://gw/t/acme/mcp/demo"] }).to_string();
        let mut tx = bed.tx().await;
        sqlx::query("UPDATE agents SET spec = $2::jsonb WHERE id = $1")
            .bind(server.agent.uuid())
            .bind(spec)
            .execute(&mut *tx)
            .await
            .expect("set");
        tx.commit().await.expect("committed");
        let for_all = token_of(bed, &owner).await;
        let answer = bed.token(&owner, "&resource=https://gw/t/acme/mcp/demo").await;
        let for_demo = answer.access_token();
        assert!(is_active(bed, &server, &for_demo).await);
        let told = ask(bed, &server, &for_all).await;
        assert_eq!(told.json(), json!({ "active": false }), "of any other not even that it lives");
        for token in [&for_all, &for_demo] {
            assert!(is_active(bed, &owner, token).await, "its own are everybody's business");
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_no_good_token_is_inactive_and_nothing_else() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:*"]).await;
        let token = token_of(bed, &client).await;
        let (message, signature) = token.rsplit_once('.').expect("three parts");
        let (header, claims) = message.split_once('.').expect("two parts");
        let never_stored = secret::generate(Purpose::AccessToken).text.to_string();
        let long = "a".repeat(20_000);
        for forged in [
            "garbage",
            "..",
            long.as_str(),
            never_stored.as_str(),
            &format!("{message}."),
            &format!("{message}.{}", signature.chars().rev().collect::<String>()),
            &format!("{claims}.{header}.{signature}"),
            &format!("{message}.{signature}."),
            &token.to_uppercase(),
        ] {
            assert!(!is_active(bed, &client, forged).await, "{forged}");
        }
        assert!(is_active(bed, &client, &token).await);
        // The secret of a client is no token, whoever shows it.
        assert!(!is_active(bed, &client, &client.secret).await);
    })
    .await;
}

#[tokio::test]
async fn a_token_ends_with_all_that_it_descends_from() {
    run(async |bed| {
        let bed = &bed;
        let caller = bed.agent("resource-server", &[]).await;
        bed.run("UPDATE agents SET spec = '{\"introspect\": true}' WHERE id = $1", caller.agent.uuid()).await;
        for (what, statement) in [
            ("agent suspended", "UPDATE agents SET state = 'suspended' WHERE id = $1"),
            ("agent revoked", "UPDATE agents SET tokens_valid_from = extract(epoch FROM now()) + 1 WHERE id = $1"),
            (
                "tenant revoked",
                "UPDATE tenants SET tokens_valid_from = extract(epoch FROM now()) + 1
                 WHERE id = (SELECT tenant_id FROM agents WHERE id = $1)",
            ),
            (
                "key revoked",
                "UPDATE signing_keys SET state = 'revoked'
                 WHERE tenant_id = (SELECT tenant_id FROM agents WHERE id = $1)",
            ),
        ] {
            let client = bed.agent(&format!("bot-{}", what.replace(' ', "-")), &["demo:*"]).await;
            let token = token_of(bed, &client).await;
            assert!(is_active(bed, &caller, &token).await, "before: {what}");
            bed.run(statement, client.agent.uuid()).await;
            assert!(!is_active(bed, &caller, &token).await, "{what}");
            bed.run(
                "UPDATE tenants SET tokens_valid_from = 0 WHERE id = (SELECT tenant_id FROM agents WHERE id = $1)",
                client.agent.uuid(),
            )
            .await;
        }
    })
    .await;
}

#[tokio::test]
async fn tokens_of_a_family_end_with_it_with_its_user_and_with_time() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:*"]).await;
        for (statement, both) in [
            ("UPDATE authorizations SET revoked_at = now() WHERE id = $1", true),
            ("UPDATE users SET state = 'disabled' WHERE id = (SELECT user_id FROM authorizations WHERE id = $1)", true),
            ("UPDATE access_tokens SET expires_at = now() WHERE authorization_id = $1", false),
        ] {
            let family = family(bed, &client).await;
            bed.run(statement, family.id.uuid()).await;
            assert!(!is_active(bed, &client, &family.access_token).await, "{statement}");
            assert_eq!(is_active(bed, &client, &family.refresh_token).await, !both, "{statement}");
        }
        for statement in [
            "UPDATE refresh_tokens SET consumed_at = now() WHERE authorization_id = $1",
            "UPDATE refresh_tokens SET expires_at = now() WHERE authorization_id = $1",
            "UPDATE authorizations SET expires_at = now() WHERE id = $1",
        ] {
            let family = family(bed, &client).await;
            bed.run(statement, family.id.uuid()).await;
            assert!(!is_active(bed, &client, &family.refresh_token).await, "{statement}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_revoked_token_is_inactive_at_every_control_plane_at_once() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:*"]).await;
        let elsewhere = bed.beside_on_its_own_connections().await;
        let jwt = token_of(bed, &client).await;
        opaque(bed).await;
        let reference = token_of(bed, &client).await;
        for token in [jwt, reference] {
            let jti = ask(bed, &client, &token).await.json()["jti"].as_str().expect("a jti").to_owned();
            let mut tx = bed.tx().await;
            let (jti, expires_at) = (jti.parse().expect("a UUID"), chrono::Utc::now() + chrono::TimeDelta::hours(1));
            let what = crate::revocations::Revoked::Token { jti, expires_at };
            crate::revocations::revoke(&mut tx, what, "test").await.expect("revoked");
            assert!(is_active(&elsewhere, &client, &token).await, "not committed yet");
            tx.commit().await.expect("committed");
            for bed in [bed, &elsewhere] {
                assert!(!is_active(bed, &client, &token).await);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn another_tenants_token_does_not_exist() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:*"]).await;
        bed.run("UPDATE agents SET spec = '{\"introspect\": true}' WHERE id = $1", client.agent.uuid()).await;
        let other = bed.tenant("elsewhere").await;
        let made = secret::generate(Purpose::AccessToken);
        let mut tx = bed.app.db.tenant(other).await.expect("a transaction");
        let agent = tollgate_proto::AgentId::new();
        for statement in [
            "INSERT INTO teams (tenant_id, id, name, created_by) VALUES ($1, $2, 'core', 'test')",
            "INSERT INTO agents (tenant_id, id, name, team_id, created_by) VALUES ($1, $2, 'bot', $2, 'test')",
        ] {
            sqlx::query(statement).bind(other.uuid()).bind(agent.uuid()).execute(&mut *tx).await.expect(statement);
        }
        insert_token(&mut tx, other, agent, &made.digest).await;
        tx.commit().await.expect("committed");
        assert!(!is_active(bed, &client, &made.text).await);
    })
    .await;
}

async fn insert_token(
    tx: &mut crate::db::TenantTx,
    tenant: tollgate_proto::TenantId,
    agent: tollgate_proto::AgentId,
    digest: &Digest,
) {
    sqlx::query(
        "INSERT INTO access_tokens (tenant_id, digest, jti, agent_id, resource, scope, issued_at, expires_at)
         VALUES ($1, $3, $2, $2, 'https://gw/t/elsewhere/mcp', 'demo:*', now(), now() + interval '15 minutes')",
    )
    .bind(tenant.uuid())
    .bind(agent.uuid())
    .bind(digest.as_bytes())
    .execute(&mut **tx)
    .await
    .expect("a token");
}

#[tokio::test]
async fn looking_for_tokens_is_stopped() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:*"]).await;
        let other = bed.agent("other", &["demo:*"]).await;
        let token = token_of(bed, &client).await;
        for _ in 0..1_000 {
            assert_eq!(ask(bed, &client, "garbage").await.body, INACTIVE);
        }
        let stopped = ask(bed, &client, &token).await;
        assert_eq!(stopped.error(), (429, "too_many_requests".to_owned()));
        assert_ne!(stopped.header(header::RETRY_AFTER), "");
        assert_eq!(ask(bed, &other, "garbage").await.status, StatusCode::OK);
    })
    .await;
}

#[tokio::test]
async fn asking_about_a_token_changes_nothing_about_it() {
    run(async |bed| {
        let client = bed.agent("bot", &["demo:*"]).await;
        let family = family(bed, &client).await;
        let rows = async || -> (Value, Value, Value) {
            let sql = "SELECT (SELECT to_jsonb(r) FROM refresh_tokens r), (SELECT to_jsonb(a) FROM access_tokens a),
                              (SELECT to_jsonb(f) FROM authorizations f)";
            sqlx::query_as(sql).fetch_one(&mut *bed.tx().await).await.expect("rows")
        };
        let before = rows().await;
        assert!(is_active(bed, &client, &family.access_token).await);
        assert!(is_active(bed, &client, &family.refresh_token).await);
        assert_eq!(rows().await, before);
    })
    .await;
}
