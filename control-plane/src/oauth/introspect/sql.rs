//! Queries about tokens that are introspected: one each, and each says nothing of a token that is no longer good.

use serde_json::Value;
use tollgate_proto::{AgentId, AuthorizationId, UserId};
use uuid::Uuid;

use crate::{db::TenantTx, oauth::client::ClientId, secret::Digest};

/// What a JWT says of itself, as far as it decides whether it is still good.
pub(super) struct JwtFacts<'a> {
    pub(super) client: &'a ClientId,
    pub(super) user: Option<UserId>,
    pub(super) family: Option<AuthorizationId>,
    pub(super) jti: Uuid,
    pub(super) kid: &'a str,
    /// Unix seconds.
    pub(super) issued_at: i64,
}

/// A JWT that is good if its signature is.
pub(super) struct Jwt {
    pub(super) agent: Uuid,
    pub(super) public_jwk: Value,
}

/// An opaque access token that is good.
pub(super) struct OpaqueToken {
    pub(super) agent: Uuid,
    pub(super) document_url: Option<String>,
    pub(super) user: Option<Uuid>,
    pub(super) jti: Uuid,
    pub(super) resource: String,
    pub(super) scope: String,
    /// Unix seconds.
    pub(super) issued_at: i64,
    /// Unix seconds.
    pub(super) expires_at: i64,
}

/// A refresh token that is good.
pub(super) struct RefreshToken {
    pub(super) user: Uuid,
    pub(super) scope: String,
    /// Unix seconds.
    pub(super) issued_at: i64,
    /// Unix seconds.
    pub(super) expires_at: i64,
}

pub(super) async fn jwt(tx: &mut TenantTx, facts: &JwtFacts<'_>) -> Result<Option<Jwt>, sqlx::Error> {
    let (agent, document) = match facts.client {
        ClientId::Agent(agent) => (Some(agent.uuid()), None),
        ClientId::Document(url) => (None, Some(url.as_str())),
        ClientId::Nobody => return Ok(None),
    };
    sqlx::query_as!(
        Jwt,
        r#"SELECT agents.id AS agent, keys.public_jwk
           FROM agents
           JOIN tenants ON tenants.id = agents.tenant_id
           JOIN signing_keys AS keys ON keys.kid = $3 AND keys.state <> 'revoked'
           LEFT JOIN users ON users.id = $4
           LEFT JOIN authorizations AS family ON family.id = $5 AND family.agent_id = agents.id
           WHERE agents.id = COALESCE($1, (SELECT id FROM agents AS known WHERE known.document_url = $2))
             AND agents.state = 'active'
             AND GREATEST(agents.tokens_valid_from, tenants.tokens_valid_from, users.tokens_valid_from) <= $6
             AND ($4::uuid IS NULL OR users.state = 'active')
             AND ($5::uuid IS NULL OR (family.id IS NOT NULL AND family.revoked_at IS NULL))
             AND NOT EXISTS(SELECT FROM revocations
                            WHERE (kind, subject) IN (('token', $7), ('key', $3)))"#,
        agent,
        document,
        facts.kid,
        facts.user.map(UserId::uuid),
        facts.family.map(AuthorizationId::uuid),
        facts.issued_at,
        facts.jti.to_string(),
    )
    .fetch_optional(&mut **tx)
    .await
}

pub(super) async fn opaque_token(tx: &mut TenantTx, digest: &Digest) -> Result<Option<OpaqueToken>, sqlx::Error> {
    sqlx::query_as!(
        OpaqueToken,
        r#"SELECT agents.id AS agent, agents.document_url,
                  token.user_id AS "user?", token.jti, token.resource, token.scope,
                  extract(epoch FROM token.issued_at)::bigint AS "issued_at!",
                  extract(epoch FROM token.expires_at)::bigint AS "expires_at!"
           FROM access_tokens AS token
           JOIN agents ON agents.id = token.agent_id
           JOIN tenants ON tenants.id = token.tenant_id
           LEFT JOIN users ON users.id = token.user_id
           LEFT JOIN authorizations AS family ON family.id = token.authorization_id
           WHERE token.digest = $1 AND token.expires_at > now() AND agents.state = 'active'
             AND GREATEST(agents.tokens_valid_from, tenants.tokens_valid_from, users.tokens_valid_from)
                 <= extract(epoch FROM token.issued_at)
             AND (token.user_id IS NULL OR users.state = 'active')
             AND family.revoked_at IS NULL
             AND NOT EXISTS(SELECT FROM revocations WHERE kind = 'token' AND subject = token.jti::text)"#,
        digest.as_bytes(),
    )
    .fetch_optional(&mut **tx)
    .await
}

/// Of this agent only.
pub(super) async fn refresh_token(
    tx: &mut TenantTx,
    digest: &Digest,
    agent: AgentId,
) -> Result<Option<RefreshToken>, sqlx::Error> {
    sqlx::query_as!(
        RefreshToken,
        r#"SELECT family.user_id AS "user", array_to_string(family.scopes, ' ') AS "scope!",
                  extract(epoch FROM token.created_at)::bigint AS "issued_at!",
                  extract(epoch FROM LEAST(token.expires_at, family.expires_at))::bigint AS "expires_at!"
           FROM refresh_tokens AS token
           JOIN authorizations AS family ON family.id = token.authorization_id
           JOIN users ON users.id = family.user_id
           WHERE token.digest = $1 AND family.agent_id = $2 AND token.consumed_at IS NULL
             AND token.expires_at > now() AND family.expires_at > now() AND family.revoked_at IS NULL
             AND users.state = 'active'"#,
        digest.as_bytes(),
        agent.uuid(),
    )
    .fetch_optional(&mut **tx)
    .await
}
