//! Queries about agents that registered themselves.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tollgate_proto::{AgentId, GrantId, Name, TeamId};

use super::{BY_RULE, Enrolment, Origin};
use crate::{
    agents::{self, AgentState, AuthMethod, SigningAlg},
    db::TenantTx,
    oauth::{client_document::DocumentUrl, client_metadata::ClientMetadata},
    secret::Digest,
};

/// An agent to be made.
pub(super) struct NewAgent<'a> {
    pub(super) id: AgentId,
    pub(super) name: &'a str,
    pub(super) team: TeamId,
    pub(super) spec: Value,
    pub(super) state: AgentState,
    pub(super) origin: Origin<'a>,
    pub(super) metadata: &'a ClientMetadata,
    /// Unix seconds: tokens that name it and were issued before are void.
    pub(super) tokens_valid_from: i64,
}

/// The agent that a document made once and that is gone, while tokens that name it may still be alive.
pub(super) struct Former {
    pub(super) agent: AgentId,
    /// Unix seconds: those that were issued before are void.
    pub(super) tokens_valid_from: i64,
}

/// An agent that registered itself, as far as a change of its registration needs it.
#[derive(Debug)]
pub(super) struct Registered {
    pub(super) agent: AgentId,
    pub(super) name: String,
    pub(super) state: AgentState,
    /// The name of its team.
    pub(super) team: String,
    /// What it calls itself; empty when it does not say.
    pub(super) client_name: String,
    pub(super) redirect_uris: Vec<String>,
    pub(super) auth_method: AuthMethod,
    pub(super) jwks: Option<Value>,
    pub(super) jwks_uri: Option<String>,
}

/// A grant that a rule wrote.
pub(super) struct RuleGrant {
    pub(super) id: GrantId,
    pub(super) name: String,
    pub(super) scopes: Vec<String>,
}

/// How many agents registered themselves, by either way.
pub(super) async fn count(tx: &mut TenantTx) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM agents WHERE origin <> 'admin'"#).fetch_one(&mut **tx).await
}

/// Names of agents that begin like this.
pub(super) async fn names_like(tx: &mut TenantTx, slug: &str) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!("SELECT name FROM agents WHERE starts_with(name, $1)", slug).fetch_all(&mut **tx).await
}

/// Names of grants that begin like this.
pub(super) async fn grant_names_like(tx: &mut TenantTx, slug: &str) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!("SELECT name FROM grants WHERE starts_with(name, $1)", slug).fetch_all(&mut **tx).await
}

pub(super) async fn insert(tx: &mut TenantTx, agent: &NewAgent<'_>) -> Result<DateTime<Utc>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let (document_url, fresh_s, token) = match agent.origin {
        Origin::Document { url, fresh_s, .. } => (Some(url.as_str()), Some(f64::from(fresh_s)), None),
        Origin::Registration { token } => (None, None, Some(token.as_bytes())),
    };
    let metadata = agent.metadata;
    let digest = metadata.digest();
    sqlx::query_scalar!(
        "INSERT INTO agents (tenant_id, id, name, display_name, team_id, spec, created_by, type, state, origin,
                             auth_method, document_url, redirect_uris, grant_types, jwks, jwks_uri, signing_alg,
                             metadata, metadata_digest, registration_token_digest, tokens_valid_from,
                             metadata_fetched_at, metadata_fresh_until)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 'interactive', $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19,
                 $21, CASE WHEN $20::float8 IS NULL THEN NULL ELSE now() END, now() + make_interval(secs => $20))
         RETURNING created_at",
        tenant,
        agent.id.uuid(),
        agent.name,
        metadata.client_name.as_deref().unwrap_or_default(),
        agent.team.uuid(),
        agent.spec,
        format!("agent:{}", agent.id),
        agent.state as AgentState,
        agent.origin.kind() as agents::Origin,
        metadata.auth_method as AuthMethod,
        document_url,
        &redirect_uris(metadata),
        &grant_types(metadata),
        metadata.jwks(),
        metadata.jwks_uri(),
        metadata.signing_alg as Option<SigningAlg>,
        json!(metadata.to_json()),
        digest.as_bytes(),
        token,
        fresh_s,
        agent.tokens_valid_from,
    )
    .fetch_one(&mut **tx)
    .await
}

/// Stores what the client says now; team, state and name stay.
pub(super) async fn update(tx: &mut TenantTx, agent: AgentId, enrolment: &Enrolment<'_>) -> Result<(), sqlx::Error> {
    let metadata = enrolment.metadata;
    let keys = match (metadata.jwks(), metadata.jwks_uri()) {
        (Some(jwks), _) => json!({ "jwks": jwks }),
        (None, Some(url)) => json!({ "jwks_uri": url }),
        (None, None) => json!({}),
    };
    let redirect_uris = redirect_uris(metadata);
    let digest = metadata.digest();
    sqlx::query!(
        "UPDATE agents SET display_name = $2, auth_method = $3, redirect_uris = $4, grant_types = $5, jwks = $6,
             jwks_uri = $7, signing_alg = $8, metadata = $9, metadata_digest = $10,
             spec = (spec - '{jwks,jwks_uri}'::text[]) || $11 || $12, revision = revision + 1, updated_at = now()
         WHERE id = $1",
        agent.uuid(),
        metadata.client_name.as_deref().unwrap_or_default(),
        metadata.auth_method as AuthMethod,
        &redirect_uris,
        &grant_types(metadata),
        metadata.jwks(),
        metadata.jwks_uri(),
        metadata.signing_alg as Option<SigningAlg>,
        json!(metadata.to_json()),
        digest.as_bytes(),
        json!({ "redirect_uris": redirect_uris, "auth_method": metadata.auth_method }),
        keys,
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// Notes that the document of this URL is what it was; false when it is not, or is not known.
pub(super) async fn still_is(
    tx: &mut TenantTx,
    url: &DocumentUrl,
    digest: &Digest,
    fresh_s: u32,
) -> Result<bool, sqlx::Error> {
    let same = sqlx::query!(
        "UPDATE agents SET metadata_fetched_at = now(), metadata_fresh_until = now() + make_interval(secs => $3)
         WHERE document_url = $1 AND metadata_digest = $2",
        url.as_str(),
        digest.as_bytes(),
        f64::from(fresh_s),
    )
    .execute(&mut **tx)
    .await?;
    Ok(same.rows_affected() > 0)
}

/// Notes that the agent's document was fetched now.
pub(super) async fn fetched(tx: &mut TenantTx, agent: AgentId, fresh_s: u32) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE agents SET metadata_fetched_at = now(), metadata_fresh_until = now() + make_interval(secs => $2)
         WHERE id = $1",
        agent.uuid(),
        f64::from(fresh_s),
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

pub(super) async fn of_document(tx: &mut TenantTx, url: &DocumentUrl) -> Result<Option<AgentId>, sqlx::Error> {
    let id = sqlx::query_scalar!("SELECT id FROM agents WHERE document_url = $1", url.as_str());
    Ok(id.fetch_optional(&mut **tx).await?.map(AgentId::from))
}

/// The agent that was known by this document and whose tokens were revoked, as long as that revocation lives.
pub(super) async fn former(tx: &mut TenantTx, url: &DocumentUrl) -> Result<Option<Former>, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT subject, issued_before AS "issued_before!" FROM revocations
           WHERE tenant_id = $1 AND document_url = $2 AND expires_at > now() ORDER BY revision DESC LIMIT 1"#,
        tx.tenant().uuid(),
        url.as_str()
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(|row| {
        let agent = row.subject.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
        Ok(Former { agent, tokens_valid_from: row.issued_before })
    })
    .transpose()
}

pub(super) async fn registered(tx: &mut TenantTx, agent: AgentId) -> Result<Registered, sqlx::Error> {
    sqlx::query_as!(
        Registered,
        r#"SELECT agents.id AS agent, agents.name, agents.state AS "state: AgentState", teams.name AS team,
                  agents.display_name AS client_name, agents.redirect_uris,
                  agents.auth_method AS "auth_method: AuthMethod", agents.jwks, agents.jwks_uri
           FROM agents JOIN teams ON teams.id = agents.team_id WHERE agents.id = $1"#,
        agent.uuid()
    )
    .fetch_one(&mut **tx)
    .await
}

/// What rules granted the agent.
pub(super) async fn grants_by_rule(tx: &mut TenantTx, agent: AgentId) -> Result<Vec<RuleGrant>, sqlx::Error> {
    sqlx::query_as!(
        RuleGrant,
        "SELECT id, name, scopes FROM grants WHERE agent_id = $1 AND created_by = $2 AND NOT deny",
        agent.uuid(),
        BY_RULE
    )
    .fetch_all(&mut **tx)
    .await
}

/// Whether somebody of the tenant granted the agent something.
pub(super) async fn is_granted_by_hand(tx: &mut TenantTx, agent: AgentId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS(SELECT FROM grants WHERE agent_id = $1 AND created_by <> $2 AND NOT deny) AS "any!""#,
        agent.uuid(),
        BY_RULE
    )
    .fetch_one(&mut **tx)
    .await
}

/// Puts the agent into another team.
pub(super) async fn set_team(tx: &mut TenantTx, agent: AgentId, team: TeamId, name: &Name) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE agents SET team_id = $2, spec = spec || $3 WHERE id = $1",
        agent.uuid(),
        team.uuid(),
        json!({ "team": name }),
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// Has the agent wait for approval.
pub(super) async fn set_waiting(tx: &mut TenantTx, agent: AgentId) -> Result<(), sqlx::Error> {
    sqlx::query!("UPDATE agents SET state = 'waiting' WHERE id = $1", agent.uuid()).execute(&mut **tx).await.map(drop)
}

fn redirect_uris(metadata: &ClientMetadata) -> Vec<String> {
    metadata.redirect_uris.iter().map(|uri| uri.as_str().to_owned()).collect()
}

fn grant_types(metadata: &ClientMetadata) -> Vec<String> {
    metadata.grant_types.iter().map(|&grant_type| grant_type.to_owned()).collect()
}
