//! The queries of the authorization endpoint.

use std::collections::BTreeMap;

use tollgate_proto::{AgentId, Name, Scope, UserId};

use crate::{db::TenantTx, oauth::sql::parsed};

/// What grants to an agent, to its team and to the role of the user that it acts for allow and deny now. What is denied
/// under conditions only is not denied yet.
pub(super) async fn grants(
    tx: &mut TenantTx,
    agent: AgentId,
    user: UserId,
) -> Result<(Vec<Scope>, Vec<Scope>), sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT ARRAY(SELECT DISTINCT unnest(scopes) FROM grants
                        WHERE (agent_id = agents.id OR team_id = agents.team_id OR role = users.role) AND NOT deny
                          AND (expires_at IS NULL OR expires_at > now())) AS "allowed!",
                  ARRAY(SELECT DISTINCT unnest(scopes) FROM grants
                        WHERE (agent_id = agents.id OR team_id = agents.team_id OR role = users.role) AND deny
                          AND conditions = '[]' AND networks = '{}'
                          AND (expires_at IS NULL OR expires_at > now())) AS "denied!"
           FROM agents JOIN users ON users.tenant_id = agents.tenant_id AND users.id = $3
           WHERE agents.tenant_id = $1 AND agents.id = $2"#,
        tx.tenant().uuid(),
        agent.uuid(),
        user.uuid()
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok((parsed(&row.allowed)?, parsed(&row.denied)?))
}

/// The display names of those of the named servers that exist.
pub(super) async fn server_titles(tx: &mut TenantTx, names: &[String]) -> Result<BTreeMap<Name, String>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT name, display_name FROM servers WHERE tenant_id = $1 AND name = ANY($2)",
        tx.tenant().uuid(),
        names
    )
    .fetch_all(&mut **tx)
    .await?;
    let read = rows.into_iter().map(|row| {
        let name = row.name.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
        Ok((name, row.display_name))
    });
    read.collect()
}

/// Notes that a user allowed an agent something, if nobody did before.
pub(super) async fn confirm(tx: &mut TenantTx, agent: AgentId) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE agents SET confirmed_at = now() WHERE tenant_id = $1 AND id = $2 AND confirmed_at IS NULL",
        tx.tenant().uuid(),
        agent.uuid()
    )
    .execute(&mut **tx)
    .await
    .map(drop)
}
