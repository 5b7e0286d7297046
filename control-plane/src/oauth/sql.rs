//! Every query of the authorization server.

use std::{error::Error as StdError, str::FromStr};

use serde_json::Value;
use sqlx::PgConnection;
use tollgate_proto::{AgentId, CredentialId, Egress, Name, Scope, TenantId};
use uuid::Uuid;

use super::{
    access_token::Format,
    client::{Client, ClientId, Keys},
    client_auth::Record,
    redirect_uri::RedirectUri,
};
use crate::{
    agents::{AgentState, AgentType, AuthMethod, Introspection, Origin, SigningAlg},
    db::TenantTx,
    secret::Digest,
    tenants,
};

/// A client with all that decides about what it gets.
#[derive(Debug)]
pub(super) struct Standing {
    /// Who it is.
    pub(super) client: Client,
    /// The unexpired credential whose digest was asked for.
    pub(super) credential: Option<Credential>,
    /// Whether its last use is noted within the last hour.
    pub(super) use_noted: bool,
    /// What grants to it and to its team allow, now.
    pub(super) allowed: Vec<Scope>,
    /// What they deny, now, whatever the arguments are and wherever a request comes from.
    pub(super) denied: Vec<Scope>,
    /// Whether the server that was asked about exists.
    pub(super) server_exists: bool,
    /// What its tenant has set.
    pub(super) tenant: TenantRules,
}

impl Standing {
    /// Unix seconds: tokens of the client that were issued before are void.
    pub(super) fn tokens_valid_from(&self) -> i64 {
        self.client.tokens_valid_from.max(self.tenant.tokens_valid_from)
    }

    /// What decides whether a secret proves anything.
    pub(super) fn record(&self) -> Record<'_> {
        Record {
            state: self.client.state,
            auth_method: self.client.auth_method,
            credential: self.credential.as_ref(),
            use_noted: self.use_noted,
        }
    }
}

/// What a tenant has set about its clients and their tokens.
#[derive(Debug)]
pub(super) struct TenantRules {
    /// Life of its access tokens, in seconds.
    pub(super) access_token_ttl_s: u32,
    /// What they look like.
    pub(super) format: Format,
    /// The key that signs its tokens now; none before the first.
    pub(super) signing_kid: Option<String>,
    /// Unix seconds: tokens from before are void.
    pub(super) tokens_valid_from: i64,
    /// Unix milliseconds by the clock of the database, which is the one that revocations are stamped with.
    pub(super) now_ms: i64,
    /// Whether a client assertion is for the issuer, and not for the token endpoint's URL.
    pub(super) strict_assertion_audience: bool,
    /// Whether the refresh tokens of clients that sign rotate too.
    pub(super) always_rotates: bool,
    /// Where its clients' keys and documents may live.
    pub(super) egress: Egress,
}

/// A client secret, as far as it is kept.
#[derive(Debug)]
pub(super) struct Credential {
    /// Which one.
    pub(super) id: CredentialId,
    /// SHA-256 of the secret.
    pub(super) digest: Vec<u8>,
    /// Whether its last use is noted within the last minute.
    pub(super) use_noted: bool,
}

/// The tenant of that name.
pub(super) async fn tenant_named(connection: &mut PgConnection, name: &Name) -> Result<Option<TenantId>, sqlx::Error> {
    let id =
        sqlx::query_scalar!("SELECT id FROM tenants WHERE name = $1", name.as_str()).fetch_optional(connection).await?;
    Ok(id.map(TenantId::from))
}

/// The name of the transaction's tenant.
pub(super) async fn tenant_name(tx: &mut TenantTx) -> Result<Name, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let name = sqlx::query_scalar!("SELECT name FROM tenants WHERE id = $1", tenant).fetch_one(&mut **tx).await?;
    name.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// The agent of that name.
pub(super) async fn agent_named(tx: &mut TenantTx, name: &Name) -> Result<Option<AgentId>, sqlx::Error> {
    let id =
        sqlx::query_scalar!("SELECT id FROM agents WHERE name = $1", name.as_str()).fetch_optional(&mut **tx).await?;
    Ok(id.map(AgentId::from))
}

/// A client with all that decides about what it gets, in one query: the credential with this digest, the grants in
/// force, the tenant's settings, and whether `server` exists. Where a digest is asked for and is none of the client's, its
/// grants are not read: then the answer to a wrong secret takes as long whatever the client may do.
pub(super) async fn standing(
    tx: &mut TenantTx,
    id: &ClientId,
    digest: Option<&Digest>,
    server: Option<&Name>,
) -> Result<Option<Standing>, sqlx::Error> {
    let (agent, document) = match id {
        ClientId::Agent(agent) => (Some(agent.uuid()), None),
        ClientId::Document(url) => (None, Some(url.as_str())),
        // One that does not exist, so that it takes as long.
        ClientId::Nobody => (Some(Uuid::nil()), None),
    };
    let row = sqlx::query_as!(
        StandingRow,
        r#"SELECT agents.id, agents.name, agents.display_name, agents.team_id, agents.document_url,
                  agents.origin AS "origin: Origin", agents.type AS "agent_type: AgentType",
                  agents.state AS "state: AgentState", agents.auth_method AS "auth_method: AuthMethod",
                  agents.signing_alg AS "signing_alg: SigningAlg", agents.jwks, agents.jwks_uri,
                  agents.redirect_uris, agents.grant_types, agents.tokens_valid_from, agents.metadata_digest,
                  agents.spec->'introspect' AS introspects,
                  COALESCE(agents.last_used_at > now() - interval '1 hour', false) AS "use_noted!",
                  tenants.access_token_ttl_s, tenants.access_token_format = 'opaque' AS "opaque_access_tokens!",
                  (SELECT kid FROM signing_keys WHERE state = 'active') AS signing_kid,
                  tenants.tokens_valid_from AS tenant_tokens_valid_from, tenants.strict_assertion_audience,
                  (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS "now_ms!",
                  tenants.egress_allow, tenants.always_rotate_refresh_tokens,
                  credential.id AS "credential_id?", credential.digest AS "credential_digest?",
                  COALESCE(credential.last_used_at > now() - interval '1 minute', false) AS "credential_use_noted!",
                  ARRAY(SELECT DISTINCT unnest(scopes) FROM grants
                        WHERE ($3::bytea IS NULL OR credential.id IS NOT NULL)
                          AND (agent_id = agents.id OR team_id = agents.team_id) AND NOT deny
                          AND (expires_at IS NULL OR expires_at > now())) AS "allowed!",
                  ARRAY(SELECT DISTINCT unnest(scopes) FROM grants
                        WHERE ($3::bytea IS NULL OR credential.id IS NOT NULL)
                          AND (agent_id = agents.id OR team_id = agents.team_id) AND deny
                          AND conditions = '[]' AND networks = '{}'
                          AND (expires_at IS NULL OR expires_at > now())) AS "denied!",
                  EXISTS(SELECT FROM servers WHERE name = $4) AS "server_exists!"
           FROM agents
           JOIN tenants ON tenants.id = agents.tenant_id
           LEFT JOIN agent_credentials AS credential
                  ON credential.agent_id = agents.id AND credential.digest = $3
                 AND (credential.expires_at IS NULL OR credential.expires_at > now())
           WHERE agents.id = $1 OR agents.document_url = $2"#,
        agent,
        document,
        digest.map(Digest::as_bytes),
        server.map(Name::as_str),
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(StandingRow::read).transpose()
}

/// Notes that a client proved who it is, and with which secret, if with one. Someone who notes the same at this moment
/// is not waited for.
pub(super) async fn note_use(
    tx: &mut TenantTx,
    agent: AgentId,
    credential: Option<CredentialId>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "WITH secret AS (
             UPDATE agent_credentials SET last_used_at = now()
             WHERE id = (SELECT id FROM agent_credentials WHERE id = $2 FOR NO KEY UPDATE SKIP LOCKED))
         UPDATE agents SET last_used_at = now()
         WHERE id = (SELECT id FROM agents WHERE id = $1 FOR NO KEY UPDATE SKIP LOCKED)",
        agent.uuid(),
        credential.map(CredentialId::uuid),
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// Notes that an assertion was used, until it has expired anyway (Unix seconds); false when it was before.
pub(super) async fn use_assertion(tx: &mut TenantTx, digest: &[u8], expires_at: i64) -> Result<bool, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let inserted = sqlx::query!(
        "INSERT INTO used_assertions (tenant_id, digest, expires_at) VALUES ($1, $2, to_timestamp($3::bigint))
         ON CONFLICT DO NOTHING",
        tenant,
        digest,
        expires_at,
    )
    .execute(&mut **tx)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Holds off everyone else who would change the tenant's row, until the transaction ends.
pub(super) async fn lock_tenant(tx: &mut TenantTx) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!("SELECT id FROM tenants WHERE id = $1 FOR NO KEY UPDATE", tenant)
        .fetch_one(&mut **tx)
        .await
        .map(drop)
}

/// What [`standing`] reads.
struct StandingRow {
    id: Uuid,
    name: String,
    display_name: String,
    team_id: Uuid,
    document_url: Option<String>,
    origin: Origin,
    agent_type: AgentType,
    state: AgentState,
    auth_method: AuthMethod,
    signing_alg: Option<SigningAlg>,
    jwks: Option<Value>,
    jwks_uri: Option<String>,
    redirect_uris: Vec<String>,
    grant_types: Vec<String>,
    tokens_valid_from: i64,
    metadata_digest: Option<Vec<u8>>,
    introspects: Option<Value>,
    use_noted: bool,
    access_token_ttl_s: i32,
    opaque_access_tokens: bool,
    signing_kid: Option<String>,
    tenant_tokens_valid_from: i64,
    now_ms: i64,
    strict_assertion_audience: bool,
    always_rotate_refresh_tokens: bool,
    egress_allow: Vec<String>,
    credential_id: Option<Uuid>,
    credential_digest: Option<Vec<u8>>,
    credential_use_noted: bool,
    allowed: Vec<String>,
    denied: Vec<String>,
    server_exists: bool,
}

impl StandingRow {
    fn read(self) -> Result<Standing, sqlx::Error> {
        let agent = AgentId::from(self.id);
        let credential = self.credential_id.zip(self.credential_digest).map(|(id, digest)| Credential {
            id: id.into(),
            digest,
            use_noted: self.credential_use_noted,
        });
        let keys = match (self.jwks, self.jwks_uri) {
            (Some(set), _) => Keys::Inline(set),
            (None, Some(url)) => Keys::At(url),
            (None, None) => Keys::None,
        };
        let client = Client {
            agent,
            client_id: self.document_url.unwrap_or_else(|| agent.to_string()),
            name: self.name,
            display_name: self.display_name,
            team: self.team_id.into(),
            origin: self.origin,
            agent_type: self.agent_type,
            state: self.state,
            auth_method: self.auth_method,
            signing_alg: self.signing_alg,
            keys,
            redirect_uris: self.redirect_uris.into_iter().map(RedirectUri::accepted).collect(),
            grant_types: self.grant_types,
            introspects: introspection(self.introspects)?,
            tokens_valid_from: self.tokens_valid_from,
            metadata_digest: self.metadata_digest.unwrap_or_default(),
        };
        let tenant = TenantRules {
            access_token_ttl_s: self.access_token_ttl_s.unsigned_abs(),
            format: Format::of(self.opaque_access_tokens),
            signing_kid: self.signing_kid,
            tokens_valid_from: self.tenant_tokens_valid_from,
            now_ms: self.now_ms,
            strict_assertion_audience: self.strict_assertion_audience,
            always_rotates: self.always_rotate_refresh_tokens,
            egress: tenants::egress_of(&self.egress_allow)?,
        };
        Ok(Standing {
            client,
            credential,
            use_noted: self.use_noted,
            allowed: parsed(&self.allowed)?,
            denied: parsed(&self.denied)?,
            server_exists: self.server_exists,
            tenant,
        })
    }
}

/// What is stored of an agent's `introspect`.
pub(super) fn introspection(stored: Option<Value>) -> Result<Introspection, sqlx::Error> {
    let read = stored.map(serde_json::from_value).transpose();
    Ok(read.map_err(|error| sqlx::Error::Decode(Box::new(error)))?.unwrap_or_default())
}

/// What was stored of a scope or a name. One that no longer parses is a fault, never skipped: it could be a denial.
pub(super) fn parsed<T: FromStr<Err: StdError + Send + Sync + 'static>>(
    texts: &[String],
) -> Result<Vec<T>, sqlx::Error> {
    texts
        .iter()
        .map(|text| text.parse())
        .collect::<Result<_, _>>()
        .map_err(|error| sqlx::Error::Decode(Box::new(error)))
}
