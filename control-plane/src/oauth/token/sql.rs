//! Queries that use codes and refresh tokens. Each is one statement: what it uses is used in it, and the family is
//! locked in it, so that it waits for a revocation and sees that one's outcome.

use sqlx::types::chrono::{DateTime, Utc};
use tollgate_proto::{AgentId, AuthorizationId};
use uuid::Uuid;

use super::{
    authorization_code::{REPETITION_S, Redemption},
    family::Family,
    refresh_token::{BURST_S, GRACE_HOURS, IDLE_DAYS, REUSES_MAX},
};
use crate::{db::TenantTx, oauth::sql::parsed, secret::Digest};

/// A refresh token for another.
pub(super) struct Exchange<'a> {
    /// Of the one that is shown.
    pub(super) used: &'a Digest,
    /// Of the one to be given, if the client's tokens rotate.
    pub(super) successor: &'a Digest,
    /// Whether they do.
    pub(super) rotates: bool,
}

/// A family as queries answer it.
struct FamilyRow {
    id: Uuid,
    user_id: Uuid,
    authenticated_at: DateTime<Utc>,
    resources: Vec<String>,
    scopes: Vec<String>,
    servers: Vec<String>,
    tokens_valid_from: i64,
    role_allowed: Vec<String>,
    role_denied: Vec<String>,
    rotated: bool,
}

/// Redeems a code and stores the family's first refresh token, if there is to be one. Nothing when there is no such
/// code, something about the request is not as the code wants it, or the family, its user or the sign-in session that it began in is no longer good; then the transaction must not be committed.
pub(super) async fn redeem_code(
    tx: &mut TenantTx,
    agent: AgentId,
    redemption: &Redemption<'_>,
    refresh: Option<&Digest>,
    server_prefix: &str,
) -> Result<Option<Family>, sqlx::Error> {
    let row = sqlx::query_as!(
        FamilyRow,
        r#"WITH used AS (
               UPDATE authorization_codes SET consumed_at = now()
               WHERE digest = $1 AND consumed_at IS NULL AND expires_at > now() AND code_challenge = $2
                 AND ($3::text IS NULL OR redirect_uri = $3)
                 AND authorization_id IN (SELECT id FROM authorizations WHERE agent_id = $4)
               RETURNING authorization_id),
           family AS (
               UPDATE authorizations SET last_used_at = now() FROM used
               WHERE id = used.authorization_id AND revoked_at IS NULL AND expires_at > now()
                 AND EXISTS (SELECT FROM console_sessions AS session
                             WHERE session.digest = session_digest AND session.tenant_id = authorizations.tenant_id)
               RETURNING authorizations.*),
           successor AS (
               INSERT INTO refresh_tokens (tenant_id, digest, authorization_id, expires_at)
               SELECT tenant_id, $5, id, now() + make_interval(days => $6) FROM family WHERE $5::bytea IS NOT NULL)
           SELECT family.id, family.user_id, family.authenticated_at, family.resources, family.scopes,
                  users.tokens_valid_from,
                  ARRAY(SELECT DISTINCT unnest(grants.scopes) FROM grants
                        WHERE role = users.role AND NOT deny
                          AND (grants.expires_at IS NULL OR grants.expires_at > now())) AS "role_allowed!",
                  ARRAY(SELECT DISTINCT unnest(grants.scopes) FROM grants
                        WHERE role = users.role AND deny AND conditions = '[]' AND networks = '{}'
                          AND (grants.expires_at IS NULL OR grants.expires_at > now())) AS "role_denied!",
                  ARRAY(SELECT name FROM servers WHERE $7 || name = ANY(family.resources)) AS "servers!",
                  true AS "rotated!"
           FROM family
           JOIN users ON users.id = family.user_id AND users.state = 'active'"#,
        redemption.code.as_bytes(),
        redemption.challenge,
        redemption.redirect_uri,
        agent.uuid(),
        refresh.map(Digest::as_bytes),
        IDLE_DAYS,
        server_prefix,
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(FamilyRow::family).transpose()
}

/// The family of a code that was redeemed before, by a request that would have been right and is no repetition.
pub(super) async fn replayed_code(
    tx: &mut TenantTx,
    agent: AgentId,
    redemption: &Redemption<'_>,
) -> Result<Option<AuthorizationId>, sqlx::Error> {
    let id = sqlx::query_scalar!(
        "SELECT authorizations.id FROM authorization_codes AS code
         JOIN authorizations ON authorizations.id = code.authorization_id
         JOIN tenants ON tenants.id = code.tenant_id
         WHERE code.digest = $1 AND code.consumed_at IS NOT NULL
           AND (tenants.strict_code_reuse OR code.consumed_at < now() - make_interval(secs => $2))
           AND code.code_challenge = $3
           AND ($4::text IS NULL OR code.redirect_uri = $4)
           AND authorizations.agent_id = $5 AND authorizations.revoked_at IS NULL",
        redemption.code.as_bytes(),
        REPETITION_S,
        redemption.challenge,
        redemption.redirect_uri,
        agent.uuid(),
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(id.map(AuthorizationId::from))
}

/// Uses a refresh token, for the first time or again within the grace, and stores its successor; answers whether there
/// is one. Nothing when the token is not good (any more), or the family or its user is not; then the
/// transaction must not be committed.
pub(super) async fn refresh(
    tx: &mut TenantTx,
    agent: AgentId,
    exchange: &Exchange<'_>,
    server_prefix: &str,
) -> Result<Option<(Family, bool)>, sqlx::Error> {
    let row = sqlx::query_as!(
        FamilyRow,
        r#"WITH used AS (
               UPDATE refresh_tokens AS token
               SET consumed_at = COALESCE(consumed_at, CASE WHEN $1 THEN now() END),
                   reuses = reuses + (consumed_at IS NOT NULL)::int,
                   expires_at = CASE WHEN $1 THEN expires_at ELSE now() + make_interval(days => $2) END
               WHERE digest = $3 AND authorization_id IN (SELECT id FROM authorizations WHERE agent_id = $4)
                 AND ((consumed_at IS NULL AND expires_at > now())
                      OR (consumed_at > now() - make_interval(hours => $5) AND reuses < $6
                          AND NOT EXISTS (SELECT FROM refresh_tokens AS child
                                          WHERE child.parent_digest = token.digest AND child.consumed_at IS NOT NULL)))
               RETURNING authorization_id, consumed_at IS NOT NULL AS rotated),
           family AS (
               UPDATE authorizations SET last_used_at = now() FROM used
               WHERE id = used.authorization_id AND revoked_at IS NULL AND expires_at > now()
               RETURNING authorizations.*, used.rotated),
           successor AS (
               INSERT INTO refresh_tokens (tenant_id, digest, authorization_id, parent_digest, expires_at)
               SELECT tenant_id, $7, id, $3, now() + make_interval(days => $2) FROM family WHERE rotated)
           SELECT family.id, family.user_id, family.authenticated_at, family.resources, family.scopes,
                  users.tokens_valid_from,
                  ARRAY(SELECT DISTINCT unnest(grants.scopes) FROM grants
                        WHERE role = users.role AND NOT deny
                          AND (grants.expires_at IS NULL OR grants.expires_at > now())) AS "role_allowed!",
                  ARRAY(SELECT DISTINCT unnest(grants.scopes) FROM grants
                        WHERE role = users.role AND deny AND conditions = '[]' AND networks = '{}'
                          AND (grants.expires_at IS NULL OR grants.expires_at > now())) AS "role_denied!",
                  ARRAY(SELECT name FROM servers WHERE $8 || name = ANY(family.resources)) AS "servers!",
                  family.rotated AS "rotated!"
           FROM family
           JOIN users ON users.id = family.user_id AND users.state = 'active'"#,
        exchange.rotates,
        IDLE_DAYS,
        exchange.used.as_bytes(),
        agent.uuid(),
        GRACE_HOURS,
        REUSES_MAX,
        exchange.successor.as_bytes(),
        server_prefix,
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(|row| {
        let rotated = row.rotated;
        Ok((row.family()?, rotated))
    })
    .transpose()
}

/// The family of a token that its client has used before and may not use again, unless it does so in a burst.
pub(super) async fn stolen(
    tx: &mut TenantTx,
    agent: AgentId,
    used: &Digest,
) -> Result<Option<AuthorizationId>, sqlx::Error> {
    let id = sqlx::query_scalar!(
        "SELECT authorizations.id FROM refresh_tokens AS token
         JOIN authorizations ON authorizations.id = token.authorization_id
         WHERE token.digest = $1 AND authorizations.agent_id = $2 AND authorizations.revoked_at IS NULL
           AND (EXISTS (SELECT FROM refresh_tokens AS child
                        WHERE child.parent_digest = token.digest AND child.consumed_at IS NOT NULL)
                OR (token.consumed_at <= now() - make_interval(secs => $3)
                    AND (token.reuses >= $4 OR token.consumed_at <= now() - make_interval(hours => $5))))",
        used.as_bytes(),
        agent.uuid(),
        BURST_S,
        REUSES_MAX,
        GRACE_HOURS,
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(id.map(AuthorizationId::from))
}

impl FamilyRow {
    fn family(self) -> Result<Family, sqlx::Error> {
        Ok(Family {
            id: self.id.into(),
            user: self.user_id.into(),
            authenticated_at: self.authenticated_at,
            resources: self.resources,
            consented: parsed(&self.scopes)?,
            servers: parsed(&self.servers)?,
            tokens_valid_from: self.tokens_valid_from,
            role_allowed: parsed(&self.role_allowed)?,
            role_denied: parsed(&self.role_denied)?,
        })
    }
}
