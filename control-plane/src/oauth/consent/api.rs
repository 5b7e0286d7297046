//! What users allowed over REST, for who looks after them.

use std::sync::Arc;

use axum::extract::State;
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tollgate_proto::{AgentId, AuthorizationId};
use utoipa::{IntoParams, ToSchema};

use crate::{
    app::App,
    caller::{Caller, Role},
    error::{ApiError, ReadProblems, WriteProblems},
    page::Page,
    request::Path,
    users::{api::OfUser, directory},
};

/// A live grant family: everything that an agent holds by one approval of a user.
#[derive(Debug, Serialize, ToSchema)]
pub struct Authorization {
    /// Its id, the `gid` of its tokens.
    #[schema(value_type = String, example = "aut_01k5z7v9k3f0q8r2m4n6p8s0t2")]
    pub id: AuthorizationId,
    /// The agent's id.
    #[schema(value_type = String, example = "agt_01k5z7v9k3f0q8r2m4n6p8s0t2")]
    pub agent_id: AgentId,
    /// The agent's name.
    #[schema(example = "editor")]
    pub agent: String,
    /// The endpoints it is good for.
    pub resources: Vec<String>,
    /// What the user allowed.
    #[schema(example = json!(["demo:echo"]))]
    pub scopes: Vec<String>,
    /// When the user allowed it.
    pub created_at: DateTime<Utc>,
    /// When the agent last got a token of it.
    pub last_used_at: Option<DateTime<Utc>>,
    /// When it ends by itself.
    pub expires_at: DateTime<Utc>,
}

/// All live grant families of a user.
pub type AuthorizationPage = Page<Authorization>;

/// Parameters of a path to a grant family.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct OfAuthorization {
    /// Name or id of the tenant.
    #[param(example = "default")]
    pub tenant: String,
    /// E-mail address or id of the user.
    #[param(example = "ada@example.com")]
    pub email: String,
    /// Id of the grant family.
    #[param(example = "aut_01k5z7v9k3f0q8r2m4n6p8s0t2")]
    pub id: String,
}

/// Lists what a user allows agents
///
/// The newest first, all on one page.
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}/users/{email}/authorizations", tag = "users",
    operation_id = "users.authorizations.list", params(OfUser),
    responses((status = 200, description = "What is allowed now", body = AuthorizationPage), ReadProblems,
        (status = 403, description = "The caller's role may not", body = crate::error::Problem,
            content_type = "application/problem+json")))]
pub async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<OfUser>,
) -> Result<AuthorizationPage, ApiError> {
    let user = directory::get(&app, &caller, &at.email).await?;
    caller.require(Role::Admin)?;
    let families = super::authorizations(&mut app.db.tenant(caller.tenant).await?, user.id).await?;
    let items = families.into_iter().map(|family| Authorization {
        id: family.id,
        agent_id: family.agent,
        agent: family.agent_name,
        resources: family.resources,
        scopes: family.scopes,
        created_at: family.created_at,
        last_used_at: family.last_used_at,
        expires_at: family.expires_at,
    });
    Ok(Page { items: items.collect(), next_cursor: None })
}

/// Takes back what a user allowed an agent
///
/// Its tokens are refused from then on, and the agent has to ask the user again.
#[utoipa::path(delete, path = "/api/v1/tenants/{tenant}/users/{email}/authorizations/{id}", tag = "users",
    operation_id = "users.authorizations.remove", params(OfAuthorization),
    responses((status = 204, description = "Taken back"), WriteProblems))]
pub async fn remove(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(at): Path<OfAuthorization>,
) -> Result<StatusCode, ApiError> {
    caller.require(Role::Admin)?;
    let user = directory::get(&app, &caller, &at.email).await?;
    let unknown = || ApiError::NotFound { noun: "authorization", key: at.id.clone() };
    let id = at.id.parse().map_err(|_| unknown())?;
    let tx = app.db.tenant(caller.tenant).await?;
    if super::revoke(&app, tx, &caller.actor, user.id, id).await? { Ok(StatusCode::NO_CONTENT) } else { Err(unknown()) }
}
