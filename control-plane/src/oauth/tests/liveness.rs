//! Whether a token is alive, asked by a resource server and by a data plane.

use chrono::{TimeDelta, Utc};
use serde_json::Value;
use sqlx::AssertSqlSafe;
use tollgate_proto::{AgentId, AuthorizationId, TeamId, TenantId, UserId, policy::v1::IntrospectRequest};

use crate::{
    oauth::{
        AccessTokenFormat as Format,
        access_token::{self, Contents, OnBehalf},
        issuer::Issuer,
        keys,
        testing::{Bed, Client, run},
    },
    policy::introspect,
    revocations::{self, Revoked},
    secret::Digest,
};

/// An agent that a user allowed something, and a token of each format for it.
struct Cast {
    agent: AgentId,
    user: UserId,
    family: AuthorizationId,
    jwt: String,
    opaque: String,
}

impl Cast {
    /// With tokens that were issued `age` ago and live for a quarter of an hour.
    async fn make(bed: &Bed, tenant: TenantId, name: &str, age: TimeDelta) -> Self {
        let (team, agent, user, family) = (TeamId::new(), AgentId::new(), UserId::new(), AuthorizationId::new());
        let rows = format!(
            "INSERT INTO teams (tenant_id, id, name, created_by) VALUES ('{tenant}', '{team}', '{agent}', 'test');
             INSERT INTO agents (tenant_id, id, name, team_id, created_by)
                 VALUES ('{tenant}', '{agent}', '{agent}', '{team}', 'test');
             INSERT INTO users (tenant_id, id, email, role) VALUES ('{tenant}', '{user}', '{user}@x.test', 'viewer');
             INSERT INTO authorizations (tenant_id, id, agent_id, user_id, transaction_id, session_digest, resources,
                                         scopes, authenticated_at, expires_at)
                 VALUES ('{tenant}', '{family}', '{agent}', '{user}', '{family}', '', '{{r}}', '{{}}', now(),
                         now() + interval '1 day')",
            tenant = tenant.uuid(),
            team = team.uuid(),
            agent = agent.uuid(),
            user = user.uuid(),
            family = family.uuid(),
        );
        change(bed, tenant, rows).await;
        keys::ensure(&bed.app, tenant).await.expect("a key");
        let contents = || Contents {
            agent,
            client_id: agent.to_string(),
            on_behalf: Some(OnBehalf { user, authorization: family, authenticated_at: Utc::now() }),
            audience: "https://gw/t/acme/mcp".to_owned(),
            scope: "demo:echo demo:add".to_owned(),
            ttl_s: 900,
            valid_from: 0,
            now_ms: (Utc::now() - age).timestamp_millis(),
            signing_kid: None,
        };
        let name = name.parse().expect("a name");
        let issuer = Issuer { tenant, url: bed.app.urls.issuer(&format!("{name}")), name };
        let issued = async |format| {
            let mut tx = bed.app.db.tenant(tenant).await.expect("a transaction");
            let minted = access_token::mint(&mut tx, format, contents()).await.expect("a token");
            tx.commit().await.expect("committed");
            minted.text(&bed.app, &issuer).await.expect("its text").to_string()
        };
        let (jwt, opaque) = (issued(Format::Jwt).await, issued(Format::Opaque).await);
        Self { agent, user, family, jwt, opaque }
    }
}

/// What the endpoint tells a resource server.
async fn endpoint(bed: &Bed, caller: &Client, token: &str) -> Value {
    bed.post("introspect", Some(&caller.basic()), &format!("token={token}")).await.json()
}

/// What a data plane is told, in the words of the endpoint.
async fn operation(bed: &Bed, token: &str) -> Value {
    let token_digest = Digest::of(token).as_bytes().to_vec();
    let request = IntrospectRequest { tenant_id: bed.tenant.to_string(), token_digest };
    match introspect::answer(&bed.app, request).await.expect("an answer").token {
        None => serde_json::json!({ "active": false }),
        Some(token) => serde_json::json!({
            "active": true, "scope": token.scope, "client_id": token.client_id, "token_type": "Bearer",
            "exp": token.expires_at, "iat": token.issued_at, "sub": token.subject, "aud": token.audience,
            "iss": bed.app.urls.issuer("acme"), "jti": token.jti,
        }),
    }
}

/// Whether JWT and opaque token are alive, which the endpoint and the operation have to agree about.
async fn alive(bed: &Bed, caller: &Client, cast: &Cast) -> (bool, bool) {
    let opaque = endpoint(bed, caller, &cast.opaque).await;
    assert_eq!(opaque, operation(bed, &cast.opaque).await);
    assert_eq!(operation(bed, &cast.jwt).await["active"], false, "only opaque tokens are stored");
    let jwt = endpoint(bed, caller, &cast.jwt).await;
    (jwt["active"] == true, opaque["active"] == true)
}

async fn change(bed: &Bed, tenant: TenantId, sql: String) {
    let mut tx = bed.app.db.tenant(tenant).await.expect("a transaction");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *tx).await.expect("changed");
    tx.commit().await.expect("committed");
}

async fn revoke(bed: &Bed, what: Revoked) {
    let mut tx = bed.tx().await;
    revocations::revoke(&mut tx, what, "a test").await.expect("revoked");
    tx.commit().await.expect("committed");
}

async fn jti(bed: &Bed, caller: &Client, token: &str) -> uuid::Uuid {
    endpoint(bed, caller, token).await["jti"].as_str().expect("a jti").parse().expect("a UUID")
}

async fn resource_server(bed: &Bed) -> Client {
    let caller = bed.agent("resource-server", &[]).await;
    bed.run("UPDATE agents SET spec = '{\"introspect\": true}' WHERE id = $1", caller.agent.uuid()).await;
    caller
}

#[tokio::test]
async fn a_resource_server_and_a_data_plane_are_told_the_same() {
    run(async |bed| {
        let caller = resource_server(bed).await;
        let fresh = TimeDelta::zero();
        let cast = Cast::make(bed, bed.tenant, "acme", fresh).await;
        assert_eq!(alive(bed, &caller, &cast).await, (true, true));
        let expired = Cast::make(bed, bed.tenant, "acme", TimeDelta::minutes(16)).await;
        assert_eq!(alive(bed, &caller, &expired).await, (false, false), "expired");
        let elsewhere = bed.tenant("elsewhere").await;
        let foreign = Cast::make(bed, elsewhere, "elsewhere", fresh).await;
        assert_eq!(alive(bed, &caller, &foreign).await, (false, false), "another tenant's");

        for (what, sql) in [
            ("suspended agent", "UPDATE agents SET state = 'suspended' WHERE id = '{agent}'"),
            ("disabled user", "UPDATE users SET state = 'disabled' WHERE id = '{user}'"),
            ("removed agent", "DELETE FROM agents WHERE id = '{agent}'"),
            ("removed user", "DELETE FROM users WHERE id = '{user}'"),
            ("ended family", "UPDATE authorizations SET revoked_at = now() WHERE id = '{family}'"),
        ] {
            let cast = Cast::make(bed, bed.tenant, "acme", fresh).await;
            assert_eq!(alive(bed, &caller, &cast).await, (true, true), "before: {what}");
            let sql = sql
                .replace("{agent}", &cast.agent.uuid().to_string())
                .replace("{user}", &cast.user.uuid().to_string())
                .replace("{family}", &cast.family.uuid().to_string());
            change(bed, bed.tenant, sql).await;
            assert_eq!(alive(bed, &caller, &cast).await, (false, false), "{what}");
        }
        assert_eq!(alive(bed, &caller, &cast).await, (true, true), "nobody else's token was hit");
    })
    .await;
}

#[tokio::test]
async fn what_is_revoked_is_dead_for_both_at_once() {
    run(async |bed| {
        let caller = resource_server(bed).await;
        for what in ["token", "family", "agent", "user", "tenant", "key"] {
            let cast = Cast::make(bed, bed.tenant, "acme", TimeDelta::zero()).await;
            assert_eq!(alive(bed, &caller, &cast).await, (true, true), "before: {what}");
            let expires_at = Utc::now() + TimeDelta::hours(1);
            match what {
                "token" => {
                    for token in [&cast.jwt, &cast.opaque] {
                        let jti = jti(bed, &caller, token).await;
                        revoke(bed, Revoked::Token { jti, expires_at }).await;
                    }
                }
                "family" => revoke(bed, Revoked::GrantFamily(cast.family)).await,
                "agent" => revoke(bed, Revoked::Agent(cast.agent)).await,
                "user" => revoke(bed, Revoked::User(cast.user)).await,
                "tenant" => {
                    revoke(bed, Revoked::Tenant).await;
                    assert_eq!(alive(bed, &caller, &cast).await, (false, false), "{what}");
                    let undone = "UPDATE tenants SET tokens_valid_from = 0 WHERE id = $1";
                    bed.run(undone, bed.tenant.uuid()).await;
                }
                _ => {
                    let kid = sqlx::query_scalar("SELECT kid FROM signing_keys").fetch_one(&mut *bed.tx().await).await;
                    revoke(bed, Revoked::Key { kid: kid.expect("a key") }).await;
                }
            }
            // No key has signed an opaque token.
            assert_eq!(alive(bed, &caller, &cast).await, (false, what == "key"), "{what}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_hundred_thousand_tokens_die_by_one_number() {
    run(async |bed| {
        let caller = resource_server(bed).await;
        let cast = Cast::make(bed, bed.tenant, "acme", TimeDelta::zero()).await;
        let other = Cast::make(bed, bed.tenant, "acme", TimeDelta::zero()).await;
        let copies = format!(
            "INSERT INTO access_tokens (tenant_id, digest, jti, authorization_id, agent_id, user_id, resource, scope,
                                        issued_at, expires_at)
             SELECT tenant_id, sha256(number::text::bytea), gen_random_uuid(), authorization_id, agent_id, user_id,
                    resource, scope, issued_at, expires_at
             FROM access_tokens, generate_series(1, 100000) AS number WHERE agent_id = '{}'",
            cast.agent.uuid()
        );
        change(bed, bed.tenant, copies).await;
        revoke(bed, Revoked::User(cast.user)).await;
        assert_eq!(bed.count("revocations").await, 1);
        let alive_still = "access_tokens JOIN users ON users.id = access_tokens.user_id
                           WHERE users.tokens_valid_from <= extract(epoch FROM issued_at)";
        assert_eq!(bed.count(alive_still).await, 1, "the other user's");
        assert_eq!(bed.count("access_tokens").await, 100_002, "none was touched");
        assert_eq!(alive(bed, &caller, &cast).await, (false, false));
        assert_eq!(alive(bed, &caller, &other).await, (true, true));
    })
    .await;
}
