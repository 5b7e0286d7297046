//! Every query of the authorization server.

use serde_json::Value;
use sqlx::PgConnection;
use tollgate_proto::{AgentId, CredentialId, Name, Scope, TenantId};

use super::access_token::Format;
use crate::{db::TenantTx, secret::Digest};

/// An agent as the token endpoint needs it.
#[derive(Debug)]
pub(super) struct Agent {
    /// The id.
    pub(super) id: AgentId,
    /// Its name now.
    pub(super) name: String,
    /// Whether it may act at all.
    pub(super) active: bool,
    /// The unexpired credential whose digest was asked for.
    pub(super) credential: Option<Credential>,
    /// What grants to it and to its team allow, now.
    pub(super) allowed: Vec<Scope>,
    /// What they deny, now.
    pub(super) denied: Vec<Scope>,
    /// Its `client_id`: the id, or the URL of its metadata document.
    pub(super) client_id: String,
    /// Life of the tenant's tokens, in seconds.
    pub(super) access_token_ttl_s: u32,
    /// What they look like.
    pub(super) format: Format,
    /// Unix seconds: tokens of the agent that were issued before are void.
    pub(super) tokens_valid_from: i64,
    /// Whether the server that was asked about exists.
    pub(super) server_exists: bool,
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

/// A key as it is stored.
#[derive(Debug)]
pub(super) struct StoredKey {
    /// RFC 7638 thumbprint.
    pub(super) kid: String,
    /// PKCS#8, sealed.
    pub(super) private_sealed: Vec<u8>,
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

/// An agent with all that decides about a token, in one query: the credential with this digest, the grants in force,
/// the tenant's settings, and whether `server` exists.
pub(super) async fn agent(
    tx: &mut TenantTx,
    id: AgentId,
    digest: Option<&Digest>,
    server: Option<&Name>,
) -> Result<Option<Agent>, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT agents.name, agents.state = 'active' AS "active!", agents.document_url,
                  tenants.access_token_ttl_s, tenants.access_token_format = 'opaque' AS "opaque!",
                  GREATEST(tenants.tokens_valid_from, agents.tokens_valid_from) AS "tokens_valid_from!",
                  credential.id AS "credential_id?", credential.digest AS "digest?",
                  COALESCE(credential.last_used_at > now() - interval '1 minute', false) AS "use_noted!",
                  ARRAY(SELECT DISTINCT unnest(scopes) FROM grants
                        WHERE (agent_id = agents.id OR team_id = agents.team_id) AND NOT deny
                          AND (expires_at IS NULL OR expires_at > now())) AS "allowed!",
                  ARRAY(SELECT DISTINCT unnest(scopes) FROM grants
                        WHERE (agent_id = agents.id OR team_id = agents.team_id) AND deny
                          AND (expires_at IS NULL OR expires_at > now())) AS "denied!",
                  EXISTS(SELECT FROM servers WHERE name = $3) AS "server_exists!"
           FROM agents
           JOIN tenants ON tenants.id = agents.tenant_id
           LEFT JOIN agent_credentials AS credential
                  ON credential.agent_id = agents.id AND credential.digest = $2
                 AND (credential.expires_at IS NULL OR credential.expires_at > now())
           WHERE agents.id = $1"#,
        id.uuid(),
        digest.map(Digest::as_bytes),
        server.map(Name::as_str),
    )
    .fetch_optional(&mut **tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let credential = row.credential_id.zip(row.digest).map(|(id, digest)| Credential {
        id: id.into(),
        digest,
        use_noted: row.use_noted,
    });
    Ok(Some(Agent {
        id,
        name: row.name,
        active: row.active,
        credential,
        allowed: scopes(&row.allowed)?,
        denied: scopes(&row.denied)?,
        client_id: row.document_url.unwrap_or_else(|| id.to_string()),
        access_token_ttl_s: row.access_token_ttl_s.unsigned_abs(),
        format: Format::of(row.opaque),
        tokens_valid_from: row.tokens_valid_from,
        server_exists: row.server_exists,
    }))
}

/// Notes that a credential was used. Someone who notes the same one at this moment is not waited for.
pub(super) async fn note_use(tx: &mut TenantTx, credential: CredentialId) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE agent_credentials SET last_used_at = now()
         WHERE id = (SELECT id FROM agent_credentials WHERE id = $1 FOR NO KEY UPDATE SKIP LOCKED)",
        credential.uuid()
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// Whether the tenant has a key at all.
pub(super) async fn has_signing_key(tx: &mut TenantTx) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT EXISTS(SELECT FROM signing_keys) AS "exists!""#).fetch_one(&mut **tx).await
}

/// Holds off everyone else who would change the tenant's row, until the transaction ends.
pub(super) async fn lock_tenant(tx: &mut TenantTx) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!("SELECT id FROM tenants WHERE id = $1 FOR NO KEY UPDATE", tenant)
        .fetch_one(&mut **tx)
        .await
        .map(drop)
}

/// Stores a new key.
pub(super) async fn insert_signing_key(
    tx: &mut TenantTx,
    kid: &str,
    public_jwk: &Value,
    private_sealed: &[u8],
) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO signing_keys (tenant_id, kid, public_jwk, private_sealed) VALUES ($1, $2, $3, $4)",
        tenant,
        kid,
        public_jwk,
        private_sealed
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// The key that signs now.
pub(super) async fn newest_signing_key(tx: &mut TenantTx) -> Result<StoredKey, sqlx::Error> {
    sqlx::query_as!(StoredKey, "SELECT kid, private_sealed FROM signing_keys ORDER BY created_at DESC, kid LIMIT 1")
        .fetch_one(&mut **tx)
        .await
}

/// The public halves of all keys, in a stable order.
pub(super) async fn public_keys(tx: &mut TenantTx) -> Result<Vec<Value>, sqlx::Error> {
    sqlx::query_scalar!("SELECT public_jwk FROM signing_keys ORDER BY created_at, kid").fetch_all(&mut **tx).await
}

/// A stored scope that no longer parses is a fault, never skipped: it could be a denial.
fn scopes(texts: &[String]) -> Result<Vec<Scope>, sqlx::Error> {
    texts
        .iter()
        .map(|text| text.parse())
        .collect::<Result<_, _>>()
        .map_err(|error| sqlx::Error::Decode(Box::new(error)))
}
