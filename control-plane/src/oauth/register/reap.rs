//! Removing agents that registered themselves and that nobody uses.
//!
//! Invariant: nothing goes that has a live refresh token, that somebody of the tenant granted something or suspended.

use serde_json::json;
use tollgate_proto::TenantId;

use super::sql;
use crate::{
    agents::AgentSpec,
    app::App,
    audit,
    error::ApiError,
    policy,
    resource::{Kind as _, Removable as _},
    tenants,
};

/// How many agents one transaction removes: it holds the tenant's row.
const BATCH: i64 = 200;

/// Removes the tenant's agents that registered themselves and were not allowed anything by anyone within the tenant's
/// `unconfirmed_ttl`, or were allowed something and have not been used for 90 days; answers how many went.
///
/// # Errors
/// When Postgres is away; what was removed before stays removed.
pub async fn reap(app: &App, tenant: TenantId) -> Result<usize, ApiError> {
    let mut removed = 0;
    loop {
        let mut tx = app.db.tenant(tenant).await?;
        let ttl_s = tenants::registration_policy(&mut tx).await?.unconfirmed_ttl_s;
        let any = !sql::idle(&mut tx, ttl_s, 1).await?.is_empty();
        tx.commit().await?;
        if !any {
            return Ok(removed);
        }
        let batch = reap_batch(app, tenant, ttl_s).await?;
        if batch == 0 {
            return Ok(removed);
        }
        removed += batch;
    }
}

async fn reap_batch(app: &App, tenant: TenantId, ttl_s: u32) -> Result<usize, ApiError> {
    let mut tx = app.db.tenant(tenant).await?;
    policy::bump(&mut tx).await?;
    let idle = sql::idle(&mut tx, ttl_s, BATCH).await?;
    for agent in &idle {
        AgentSpec::delete(&mut tx, agent.id, &agent.name).await?;
        let event = audit::Event {
            actor: "system",
            action: "agent.expire",
            object_kind: AgentSpec::NOUN,
            object_id: &agent.id.to_string(),
            object_name: &agent.name,
            detail: json!({ "confirmed": agent.confirmed }),
        };
        audit::record(&mut tx, event).await?;
    }
    tx.commit().await?;
    Ok(idle.len())
}
