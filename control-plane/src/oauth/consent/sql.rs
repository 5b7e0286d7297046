//! Every query about what users allowed.

use tollgate_proto::{AgentId, AuthorizationId, Scope, UserId};

use super::{AllowedApp, Authorization, Parties};
use crate::{db::TenantTx, oauth::sql::parsed};

pub(super) async fn remembered(
    tx: &mut TenantTx,
    parties: Parties<'_>,
    resource: &str,
) -> Result<Vec<Scope>, sqlx::Error> {
    let texts = sqlx::query_scalar!(
        "SELECT scopes FROM consents
         WHERE tenant_id = $1 AND user_id = $2 AND agent_id = $3 AND resource = $4 AND client_digest = $5",
        tx.tenant().uuid(),
        parties.user.uuid(),
        parties.agent.uuid(),
        resource,
        parties.client_digest
    )
    .fetch_optional(&mut **tx)
    .await?;
    parsed(&texts.unwrap_or_default())
}

pub(super) async fn remember(
    tx: &mut TenantTx,
    parties: Parties<'_>,
    resource: &str,
    allowed: &[Scope],
) -> Result<(), sqlx::Error> {
    let allowed: Vec<String> = allowed.iter().map(Scope::to_string).collect();
    sqlx::query!(
        "INSERT INTO consents (tenant_id, user_id, agent_id, resource, scopes, client_digest)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (tenant_id, user_id, agent_id, resource)
         DO UPDATE SET scopes = EXCLUDED.scopes, client_digest = EXCLUDED.client_digest, updated_at = now()",
        tx.tenant().uuid(),
        parties.user.uuid(),
        parties.agent.uuid(),
        resource,
        &allowed,
        parties.client_digest
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// Deletes what is remembered; whether there was anything.
pub(super) async fn forget(
    tx: &mut TenantTx,
    user: UserId,
    agent: AgentId,
    resources: &[String],
) -> Result<bool, sqlx::Error> {
    sqlx::query!(
        "DELETE FROM consents WHERE tenant_id = $1 AND user_id = $2 AND agent_id = $3 AND resource = ANY($4)",
        tx.tenant().uuid(),
        user.uuid(),
        agent.uuid(),
        resources
    )
    .execute(&mut **tx)
    .await
    .map(|done| done.rows_affected() > 0)
}

/// One row for each resource of each live family and for each consent; those of one app and resource follow each
/// other.
pub(super) async fn allowed(tx: &mut TenantTx, user: UserId) -> Result<Vec<AllowedApp>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT agents.id AS "agent!", agents.name AS "agent_name!", agents.display_name AS "display_name!",
                  agents.document_url, allowed.resource AS "resource!", allowed.scopes AS "scopes!",
                  allowed.at AS "allowed_at!", allowed.last_used_at
           FROM (SELECT agent_id, unnest(resources) AS resource, scopes, created_at AS at, last_used_at
                 FROM authorizations
                 WHERE tenant_id = $1 AND user_id = $2 AND revoked_at IS NULL AND expires_at > now()
                 UNION ALL
                 SELECT agent_id, resource, scopes, granted_at, NULL FROM consents
                 WHERE tenant_id = $1 AND user_id = $2) AS allowed
           JOIN agents ON agents.tenant_id = $1 AND agents.id = allowed.agent_id
           ORDER BY agents.name, allowed.resource, allowed.at"#,
        tx.tenant().uuid(),
        user.uuid()
    )
    .fetch_all(&mut **tx)
    .await?;
    let read = rows.into_iter().map(|row| {
        Ok(AllowedApp {
            agent: row.agent.into(),
            agent_name: row.agent_name,
            display_name: row.display_name,
            document_url: row.document_url,
            resource: row.resource,
            scopes: parsed(&row.scopes)?,
            allowed_at: row.allowed_at,
            last_used_at: row.last_used_at,
        })
    });
    read.collect()
}

pub(super) async fn authorizations(tx: &mut TenantTx, user: UserId) -> Result<Vec<Authorization>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT a.id, a.agent_id, agents.name, a.resources, a.scopes, a.created_at, a.last_used_at, a.expires_at
         FROM authorizations a JOIN agents ON agents.tenant_id = a.tenant_id AND agents.id = a.agent_id
         WHERE a.tenant_id = $1 AND a.user_id = $2 AND a.revoked_at IS NULL AND a.expires_at > now()
         ORDER BY a.created_at DESC, a.id",
        tx.tenant().uuid(),
        user.uuid()
    )
    .fetch_all(&mut **tx)
    .await?;
    let read = rows.into_iter().map(|row| Authorization {
        id: row.id.into(),
        agent: row.agent_id.into(),
        agent_name: row.name,
        resources: row.resources,
        scopes: row.scopes,
        created_at: row.created_at,
        last_used_at: row.last_used_at,
        expires_at: row.expires_at,
    });
    Ok(read.collect())
}

/// The live families of an agent that reach a resource.
pub(super) async fn families_at(
    tx: &mut TenantTx,
    user: UserId,
    agent: AgentId,
    resource: &str,
) -> Result<Vec<AuthorizationId>, sqlx::Error> {
    let ids = sqlx::query_scalar!(
        "SELECT id FROM authorizations
         WHERE tenant_id = $1 AND user_id = $2 AND agent_id = $3 AND $4 = ANY(resources) AND revoked_at IS NULL
           AND expires_at > now()",
        tx.tenant().uuid(),
        user.uuid(),
        agent.uuid(),
        resource
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(ids.into_iter().map(AuthorizationId::from).collect())
}

pub(super) async fn agent_name(tx: &mut TenantTx, agent: AgentId) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar!("SELECT name FROM agents WHERE tenant_id = $1 AND id = $2", tx.tenant().uuid(), agent.uuid())
        .fetch_optional(&mut **tx)
        .await
}
