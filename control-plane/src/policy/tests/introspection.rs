//! `PolicyService.Introspect` over a real socket.

use tollgate_proto::{
    AuthorizationId, UserId,
    policy::v1::{AccessToken, IntrospectRequest},
};
use uuid::Uuid;

use super::*;
use crate::{
    revocations::{self, Revoked},
    secret::{self, Purpose},
};

/// An opaque token of an agent, for a user or for itself.
struct Token {
    tenant: TenantId,
    agent: AgentId,
    user: UserId,
    family: AuthorizationId,
    jti: Uuid,
    digest: Vec<u8>,
}

impl Token {
    async fn make(database: &Database, furnished: &Furnished, for_user: bool) -> Self {
        let made = Self {
            tenant: furnished.tenant,
            agent: furnished.agent,
            user: UserId::new(),
            family: AuthorizationId::new(),
            jti: Uuid::now_v7(),
            digest: secret::generate(Purpose::AccessToken).digest.as_bytes().to_vec(),
        };
        let (tenant, agent) = (made.tenant.uuid(), made.agent.uuid());
        let (user, family, jti) = (made.user.uuid(), made.family.uuid(), made.jti);
        let digest: String = made.digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let (of_family, of_user) =
            if for_user { (format!("'{family}'"), format!("'{user}'")) } else { ("NULL".into(), "NULL".into()) };
        database
            .run(format!(
                "UPDATE agents SET state = 'active';
                 INSERT INTO users (tenant_id, id, email, role) VALUES ('{tenant}', '{user}', '{user}@x.test', 'viewer');
                 INSERT INTO authorizations (tenant_id, id, agent_id, user_id, transaction_id, session_digest, resources,
                                             scopes, authenticated_at, expires_at)
                     VALUES ('{tenant}', '{family}', '{agent}', '{user}', '{family}', '', '{{r}}', '{{}}', now(),
                             now() + interval '1 day');
                 INSERT INTO access_tokens (tenant_id, digest, jti, authorization_id, agent_id, user_id, resource, scope,
                                            issued_at, expires_at)
                     VALUES ('{tenant}', '\\x{digest}', '{jti}', {of_family}, '{agent}', {of_user}, 'http://data.test/r',
                             'demo:echo demo:add', to_timestamp(1700000000), to_timestamp(4000000000))"
            ))
            .await;
        made
    }

    async fn ask(&self, control_plane: &ControlPlane) -> Result<Option<AccessToken>, Status> {
        ask(control_plane, self.tenant.to_string(), self.digest.clone()).await
    }

    /// Undoes what made it inactive.
    async fn restore(&self, database: &Database) {
        database
            .run(
                "DELETE FROM revocations; UPDATE tenants SET tokens_valid_from = 0;
                 UPDATE agents SET state = 'active', tokens_valid_from = 0;
                 UPDATE users SET state = 'active', tokens_valid_from = 0;
                 UPDATE authorizations SET revoked_at = NULL; UPDATE access_tokens SET expires_at = to_timestamp(4000000000)",
            )
            .await;
    }
}

async fn ask(
    control_plane: &ControlPlane,
    tenant_id: String,
    token_digest: Vec<u8>,
) -> Result<Option<AccessToken>, Status> {
    let mut client = PolicyServiceClient::new(control_plane.channel(DataPlaneId::new()).await);
    let answer = client.introspect(IntrospectRequest { tenant_id, token_digest }).await?;
    Ok(answer.into_inner().token)
}

#[tokio::test]
async fn an_opaque_token_says_what_a_jwt_would() {
    run(async |database| {
        let furnished = Furnished::make(database).await;
        let control_plane = ControlPlane::start(database).await;
        let own = Token::make(database, &furnished, false).await;
        let expected = AccessToken {
            jti: own.jti.to_string(),
            gid: String::new(),
            client_id: own.agent.to_string(),
            subject: own.agent.to_string(),
            audience: "http://data.test/r".to_owned(),
            scope: "demo:echo demo:add".to_owned(),
            issued_at: 1_700_000_000,
            expires_at: 4_000_000_000,
        };
        assert_eq!(own.ask(&control_plane).await.unwrap(), Some(expected.clone()));

        let acting = Token::make(database, &furnished, true).await;
        database
            .run("UPDATE agents SET origin = 'client_document', document_url = 'https://app.test/client.json'")
            .await;
        let expected = AccessToken {
            jti: acting.jti.to_string(),
            gid: acting.family.to_string(),
            client_id: "https://app.test/client.json".to_owned(),
            subject: acting.user.to_string(),
            ..expected
        };
        assert_eq!(acting.ask(&control_plane).await.unwrap(), Some(expected));
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_token_that_no_longer_counts_is_none() {
    run(async |database| {
        let furnished = Furnished::make(database).await;
        let control_plane = ControlPlane::start(database).await;
        let token = Token::make(database, &furnished, true).await;
        for ends in [
            "UPDATE access_tokens SET expires_at = now()",
            "UPDATE agents SET state = 'suspended'",
            "UPDATE users SET state = 'disabled'",
            "UPDATE authorizations SET revoked_at = now()",
        ] {
            assert!(token.ask(&control_plane).await.unwrap().is_some());
            database.run(ends).await;
            assert_eq!(token.ask(&control_plane).await.unwrap(), None, "{ends}");
            token.restore(database).await;
        }
        for what in [
            Revoked::Token { jti: token.jti, expires_at: chrono::Utc::now() + chrono::TimeDelta::minutes(1) },
            Revoked::GrantFamily(token.family),
            Revoked::Agent(token.agent),
            Revoked::User(token.user),
            Revoked::Tenant,
        ] {
            assert!(token.ask(&control_plane).await.unwrap().is_some());
            let mut tx = control_plane.app.db.tenant(token.tenant).await.unwrap();
            revocations::revoke(&mut tx, what.clone(), "a test").await.unwrap();
            tx.commit().await.unwrap();
            // Asked at once, of Postgres: nothing has to travel first.
            assert_eq!(token.ask(&control_plane).await.unwrap(), None, "{what:?}");
            token.restore(database).await;
        }
        control_plane.stop().await;
    })
    .await;
}

#[tokio::test]
async fn nobody_learns_of_a_token_of_another_tenant_or_of_none() {
    run(async |database| {
        let furnished = Furnished::make(database).await;
        let other = database.make_tenant("other").await;
        let control_plane = ControlPlane::start(database).await;
        let token = Token::make(database, &furnished, false).await;
        assert_eq!(ask(&control_plane, other.to_string(), token.digest.clone()).await.unwrap(), None);
        assert_eq!(ask(&control_plane, TenantId::new().to_string(), token.digest.clone()).await.unwrap(), None);
        assert_eq!(ask(&control_plane, token.tenant.to_string(), vec![0; 32]).await.unwrap(), None);
        for (tenant, digest) in [("acme".to_owned(), vec![0; 32]), (token.tenant.to_string(), vec![0; 31])] {
            assert_eq!(ask(&control_plane, tenant, digest).await.unwrap_err().code(), Code::InvalidArgument);
        }

        let mut client = PolicyServiceClient::new(control_plane.stranger().await);
        let (tenant_id, token_digest) = (token.tenant.to_string(), token.digest.clone());
        let anonymous = client.introspect(IntrospectRequest { tenant_id, token_digest }).await;
        assert_eq!(anonymous.unwrap_err().code(), Code::Unauthenticated);

        database.set_reachable(false).await;
        assert_eq!(token.ask(&control_plane).await.unwrap_err().code(), Code::Unavailable);
        database.set_reachable(true).await;
        control_plane.stop().await;
    })
    .await;
}
