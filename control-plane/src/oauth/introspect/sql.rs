//! The query that tells whether a token is alive. The rule stands here once; what differs is where a token's facts are.

use serde_json::Value;
use tollgate_proto::{AgentId, AuthorizationId, UserId};
use uuid::Uuid;

use super::liveness::{Asker, Shown};
use crate::{
    agents::{AgentState, AuthMethod},
    db::TenantTx,
    oauth::{access_token::Known, client::ClientId},
    secret::Digest,
};

/// What is found: always one row, without an `agent` when the token is not alive, without a state when there is no such
/// caller.
pub(super) struct Row {
    pub(super) caller_state: Option<AgentState>,
    pub(super) caller_auth_method: Option<AuthMethod>,
    pub(super) caller_introspects: Option<Value>,
    pub(super) caller_use_noted: bool,
    pub(super) credential_id: Option<Uuid>,
    pub(super) credential_digest: Option<Vec<u8>>,
    pub(super) credential_use_noted: bool,
    pub(super) agent: Option<Uuid>,
    pub(super) document_url: Option<String>,
    pub(super) user: Option<Uuid>,
    pub(super) family: Option<Uuid>,
    pub(super) jti: Option<Uuid>,
    pub(super) resource: Option<String>,
    pub(super) scope: Option<String>,
    /// Unix seconds.
    pub(super) issued_at: Option<i64>,
    /// Unix seconds.
    pub(super) expires_at: Option<i64>,
}

/// `alive!(tx, asker, token, parameters…)`: who asks, and the token of the query `token`, whose parameters are `$3` and on.
///
/// A refresh token has no `jti`: whatever revokes many tokens ends their families one by one. A revocation of one token or
/// key is a row of its own; of an agent, a user or the tenant it is the moment from which on tokens are valid.
macro_rules! alive {
    ($tx:expr, $asker:expr, $token:literal $(, $parameter:expr)*) => {
        sqlx::query_as!(
            Row,
            r#"SELECT caller.state AS "caller_state?: AgentState", caller.auth_method AS "caller_auth_method?: AuthMethod",
                      caller.spec->'introspect' AS "caller_introspects?",
                      COALESCE(caller.last_used_at > now() - interval '1 hour', false) AS "caller_use_noted!",
                      credential.id AS "credential_id?", credential.digest AS "credential_digest?",
                      COALESCE(credential.last_used_at > now() - interval '1 minute', false) AS "credential_use_noted!",
                      alive.agent AS "agent?", alive.document_url AS "document_url?", alive.user_id AS "user?",
                      alive.family_id AS "family?", alive.jti AS "jti?", alive.resource AS "resource?",
                      alive.scope AS "scope?", alive.issued_at AS "issued_at?", alive.expires_at AS "expires_at?"
               FROM (SELECT) AS request
               LEFT JOIN agents AS caller ON caller.id = $1
               LEFT JOIN agent_credentials AS credential
                      ON credential.agent_id = caller.id AND credential.digest = $2
                     AND (credential.expires_at IS NULL OR credential.expires_at > now())
               LEFT JOIN (
                   SELECT agents.id AS agent, agents.document_url, token.user_id, token.family_id, token.jti, token.resource,
                          token.scope, extract(epoch FROM token.issued_at)::bigint AS issued_at,
                          extract(epoch FROM token.expires_at)::bigint AS expires_at
                   FROM ("# + $token + r#") AS token
                   JOIN agents ON agents.id = token.agent_id OR agents.document_url = token.document_url
                   JOIN tenants ON tenants.id = agents.tenant_id
                   LEFT JOIN users ON users.id = token.user_id
                   LEFT JOIN authorizations AS family ON family.id = token.family_id AND family.agent_id = agents.id
                   WHERE token.expires_at > now() AND agents.state = 'active'
                     AND (token.user_id IS NULL OR users.state = 'active')
                     AND (token.family_id IS NULL OR (family.id IS NOT NULL AND family.revoked_at IS NULL))
                     AND (token.kid IS NULL
                          OR EXISTS(SELECT FROM signing_keys WHERE kid = token.kid AND state <> 'revoked'))
                     AND (token.jti IS NULL
                          OR GREATEST(agents.tokens_valid_from, tenants.tokens_valid_from, users.tokens_valid_from)
                             <= extract(epoch FROM token.issued_at))
                     AND NOT EXISTS(SELECT FROM revocations WHERE kind = 'token' AND subject = token.jti::text)
                     AND NOT EXISTS(SELECT FROM revocations WHERE kind = 'key' AND subject = token.kid)
               ) AS alive ON true"#,
            $asker.map(|asker: Asker| asker.agent.uuid()),
            $asker.as_ref().map(|asker| asker.secret.as_bytes())
            $(, $parameter)*
        )
        .fetch_one(&mut **$tx)
        .await
    };
}

/// One query, whatever is shown.
pub(super) async fn look_up(tx: &mut TenantTx, asker: Option<Asker>, shown: Shown<'_>) -> Result<Row, sqlx::Error> {
    match shown {
        Shown::Opaque(digest) => opaque(tx, asker, &digest).await,
        Shown::Refresh(digest) => refresh(tx, asker, &digest).await,
        Shown::Signed(known) => signed(tx, asker, known).await,
        Shown::Nothing => nothing(tx, asker).await,
    }
}

async fn opaque(tx: &mut TenantTx, asker: Option<Asker>, digest: &Digest) -> Result<Row, sqlx::Error> {
    alive!(
        tx,
        asker,
        "SELECT agent_id, NULL AS document_url, user_id, authorization_id AS family_id, jti, NULL AS kid, resource, scope,
                issued_at, expires_at
         FROM access_tokens WHERE digest = $3",
        digest.as_bytes()
    )
}

async fn refresh(tx: &mut TenantTx, asker: Option<Asker>, digest: &Digest) -> Result<Row, sqlx::Error> {
    alive!(
        tx,
        asker,
        "SELECT approval.agent_id, NULL AS document_url, approval.user_id, approval.id AS family_id, NULL::uuid AS jti,
                NULL AS kid, NULL AS resource, array_to_string(approval.scopes, ' ') AS scope,
                refresh.created_at AS issued_at, LEAST(refresh.expires_at, approval.expires_at) AS expires_at
         FROM refresh_tokens AS refresh JOIN authorizations AS approval ON approval.id = refresh.authorization_id
         WHERE refresh.digest = $3 AND refresh.consumed_at IS NULL",
        digest.as_bytes()
    )
}

async fn signed(tx: &mut TenantTx, asker: Option<Asker>, known: &Known) -> Result<Row, sqlx::Error> {
    let (agent, document) = match ClientId::of(&known.client_id) {
        ClientId::Agent(agent) => (Some(agent), None),
        ClientId::Document(url) => (None, Some(url)),
        ClientId::Nobody => (None, None),
    };
    alive!(
        tx,
        asker,
        "SELECT $3::uuid AS agent_id, $4::text AS document_url, $5::uuid AS user_id, $6::uuid AS family_id, $7::uuid AS jti,
                $8::text AS kid, NULL AS resource, NULL AS scope, to_timestamp($9::bigint) AS issued_at,
                to_timestamp($10::bigint) AS expires_at",
        agent.map(AgentId::uuid),
        document,
        known.user.map(UserId::uuid),
        known.authorization.map(AuthorizationId::uuid),
        known.jti,
        known.kid.as_deref(),
        known.issued_at,
        known.expires_at
    )
}

/// Only who asks.
async fn nothing(tx: &mut TenantTx, asker: Option<Asker>) -> Result<Row, sqlx::Error> {
    alive!(
        tx,
        asker,
        "SELECT NULL::uuid AS agent_id, NULL AS document_url, NULL::uuid AS user_id, NULL::uuid AS family_id,
                NULL::uuid AS jti, NULL AS kid, NULL AS resource, NULL AS scope, now() AS issued_at, now() AS expires_at
         WHERE false"
    )
}
