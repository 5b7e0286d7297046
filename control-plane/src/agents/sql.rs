//! Queries about agents.

use tollgate_proto::{AgentId, Name, TeamId};

use super::{AgentState, AgentType, AuthMethod, Meaning, Origin, SigningAlg, client_profile::ClientProfile};
use crate::{
    db::TenantTx,
    resource::{Row, Version, Which},
};

pub(super) async fn select(tx: &mut TenantTx, which: Which<'_>) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"SELECT id, name, labels, spec, created_at, updated_at, created_by, revision,
                  jsonb_build_object(
                      'state', state, 'origin', origin, 'document_url', document_url,
                      'display_name', display_name, 'redirect_uris', redirect_uris,
                      'granted', EXISTS(SELECT FROM grants g
                                        WHERE (g.agent_id = a.id OR g.team_id = a.team_id
                                               OR (g.role IS NOT NULL AND a.type = 'interactive')) AND NOT g.deny
                                          AND (g.expires_at IS NULL OR g.expires_at > now())),
                      'credentials', (SELECT count(*) FROM agent_credentials c
                                      WHERE c.agent_id = a.id AND (c.expires_at IS NULL OR c.expires_at > now()))
                  ) AS "facts!"
           FROM agents a
           WHERE ($1::uuid IS NULL OR id = $1) AND ($2::text IS NULL OR name = $2) AND ($3::text IS NULL OR name > $3)
           ORDER BY name LIMIT $4"#,
        which.id,
        which.name,
        which.after,
        which.limit,
    )
    .fetch_all(&mut **tx)
    .await
}

/// Agents that registered themselves and wait for approval, or are active without any grant that lets them act.
pub(super) async fn awaiting_decision(tx: &mut TenantTx) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"SELECT id, name, labels, spec, created_at, updated_at, created_by, revision,
                  jsonb_build_object(
                      'state', state, 'origin', origin, 'document_url', document_url,
                      'display_name', display_name, 'redirect_uris', redirect_uris,
                      'granted', granted, 'credentials', 0) AS "facts!"
           FROM agents a,
                LATERAL (SELECT EXISTS(SELECT FROM grants g
                                       WHERE (g.agent_id = a.id OR g.team_id = a.team_id
                                              OR (g.role IS NOT NULL AND a.type = 'interactive')) AND NOT g.deny
                                         AND (g.expires_at IS NULL OR g.expires_at > now())) AS granted) AS standing
           WHERE origin <> 'admin' AND (state = 'waiting' OR (state = 'active' AND NOT granted))
           ORDER BY id DESC"#,
    )
    .fetch_all(&mut **tx)
    .await
}

pub(super) async fn count_awaiting_decision(tx: &mut TenantTx) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM agents a
           WHERE origin <> 'admin'
             AND (state = 'waiting'
                  OR (state = 'active'
                      AND NOT EXISTS (SELECT FROM grants g
                                      WHERE (g.agent_id = a.id OR g.team_id = a.team_id
                                             OR (g.role IS NOT NULL AND a.type = 'interactive')) AND NOT g.deny
                                        AND (g.expires_at IS NULL OR g.expires_at > now()))))"#,
    )
    .fetch_one(&mut **tx)
    .await
}

pub(super) async fn id(tx: &mut TenantTx, name: &Name) -> Result<Option<AgentId>, sqlx::Error> {
    let id =
        sqlx::query_scalar!("SELECT id FROM agents WHERE name = $1", name.as_str()).fetch_optional(&mut **tx).await?;
    Ok(id.map(AgentId::from))
}

pub(super) async fn origin(tx: &mut TenantTx, name: &Name) -> Result<Option<Origin>, sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT origin AS "origin: Origin" FROM agents WHERE name = $1"#, name.as_str())
        .fetch_optional(&mut **tx)
        .await
}

/// Leaves the state as it is, and what an agent that registered itself says about itself.
pub(super) async fn save(tx: &mut TenantTx, version: &Version<'_>, meaning: &Meaning) -> Result<(), sqlx::Error> {
    match &meaning.client {
        Some(client) => save_whole(tx, version, meaning.team, client).await,
        None => save_place(tx, version, meaning.team).await,
    }
}

async fn save_whole(
    tx: &mut TenantTx,
    version: &Version<'_>,
    team: TeamId,
    client: &ClientProfile,
) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO agents (tenant_id, id, name, labels, spec, revision, created_by, team_id, type, display_name,
                             auth_method, redirect_uris, grant_types, jwks, jwks_uri, signing_alg, metadata_digest)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
         ON CONFLICT (id) DO UPDATE SET labels = $4, spec = $5, revision = $6, updated_at = now(), team_id = $8,
             type = $9, display_name = $10, auth_method = $11, redirect_uris = $12, grant_types = $13, jwks = $14,
             jwks_uri = $15, signing_alg = $16, metadata_digest = $17",
        tenant,
        version.id,
        version.name,
        version.labels,
        version.spec,
        version.revision,
        version.actor,
        team.uuid(),
        client.agent_type as AgentType,
        client.display_name,
        client.auth_method as AuthMethod,
        &client.redirect_uris,
        &client.grant_types,
        client.jwks,
        client.jwks_uri,
        client.signing_alg as Option<SigningAlg>,
        client.digest(),
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

async fn save_place(tx: &mut TenantTx, version: &Version<'_>, team: TeamId) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE agents SET labels = $2, spec = $3, revision = $4, updated_at = now(), team_id = $5 WHERE id = $1",
        version.id,
        version.labels,
        version.spec,
        version.revision,
        team.uuid(),
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

pub(super) async fn set_state(tx: &mut TenantTx, id: AgentId, state: AgentState) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE agents SET state = $2, revision = revision + 1, updated_at = now() WHERE id = $1",
        id.uuid(),
        state as AgentState,
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// Whether the agent may ever have been given a token. One that registered itself has to be allowed something by a user
/// first, or be one that may act for itself.
pub(super) async fn may_have_tokens(tx: &mut TenantTx, id: AgentId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS(
               SELECT FROM agents
               WHERE id = $1
                 AND (origin = 'admin' OR confirmed_at IS NOT NULL OR 'client_credentials' = ANY(grant_types)
                      OR (origin = 'client_document' AND last_used_at IS NOT NULL)
                      OR EXISTS(SELECT FROM authorizations WHERE agent_id = agents.id))) AS "may!""#,
        id.uuid()
    )
    .fetch_one(&mut **tx)
    .await
}

pub(super) async fn delete(tx: &mut TenantTx, id: AgentId) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM agents WHERE id = $1", id.uuid()).execute(&mut **tx).await.map(drop)
}
