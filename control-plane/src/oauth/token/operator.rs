//! Tokens that an operator takes out in an agent's name.
//!
//! Invariant: every one is audited, lives for minutes only, and can do no more than the agent could.

use serde::Deserialize;
use serde_json::json;
use tollgate_proto::{AgentId, Name, TenantId};
use utoipa::ToSchema;

use super::{Answer, IssueError, Issued, client_credentials};
use crate::{
    app::App,
    audit,
    oauth::{client::ClientId, issuer::Issuer, sql, target::Target},
};

/// An operator's token is for one look, not for work.
const TTL_S_MAX: u32 = 300;

/// What an operator says about the token.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = AgentTokenRequest)]
#[serde(deny_unknown_fields)]
pub struct OperatorRequest {
    /// The endpoint that it is for; the tenant's federated endpoint when absent.
    #[schema(example = "https://mcp.example.com/t/default/mcp/demo")]
    pub resource: Option<String>,
}

/// A token for an operator who wants to call a tool as an agent would: everything that is granted for `resource`
/// (absent: the federated endpoint), for at most five minutes. `agent` is an id or a name. Audited as
/// `agent.token.issue`.
///
/// # Errors
/// [`IssueError`]; the caller has checked that `actor` may do this.
pub async fn issue_for_operator(
    app: &App,
    tenant: TenantId,
    agent: &str,
    resource: Option<&str>,
    actor: &str,
) -> Result<Issued, IssueError> {
    let mut tx = app.db.tenant(tenant).await?;
    let name = sql::tenant_name(&mut tx).await?;
    let issuer = Issuer { tenant, url: app.urls.issuer(name.as_str()), name };
    let target = resource.map_or(Ok(Target::Federated), |url| Target::parse(url, &app.urls, &issuer.name))?;
    let id = match (agent.parse::<AgentId>(), agent.parse::<Name>()) {
        (Ok(id), _) => id,
        (Err(_), Ok(name)) => sql::agent_named(&mut tx, &name).await?.ok_or(IssueError::UnknownAgent)?,
        (Err(_), Err(_)) => return Err(IssueError::UnknownAgent),
    };
    let found = sql::standing(&mut tx, &ClientId::Agent(id), None, target.server()).await?;
    let standing = found.ok_or(IssueError::UnknownAgent)?;
    if !standing.client.is_active() {
        return Err(IssueError::Suspended);
    }
    let ttl_s = standing.tenant.access_token_ttl_s.min(TTL_S_MAX);
    let issuing = client_credentials::begin(&mut tx, app, &issuer, &standing, &target, None, ttl_s).await?;
    let event = audit::Event {
        actor,
        action: "agent.token.issue",
        object_kind: "agent",
        object_id: &id.to_string(),
        object_name: &standing.client.name,
        detail: json!({ "resource": issuing.resource, "scope": issuing.scope, "expires_in": issuing.expires_in }),
    };
    audit::record(&mut tx, event).await?;
    tx.commit().await?;
    let resource = issuing.resource.clone();
    let Answer { access_token, token_type, expires_in, scope, .. } = issuing.answer(app, &issuer, None).await?;
    Ok(Issued { access_token, token_type, expires_in, scope, resource })
}
