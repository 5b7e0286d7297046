//! Secrets of agents: at most two in force, so that one can be exchanged for another without a pause.
//!
//! Invariant: the text of a secret leaves once, in the answer that makes it.

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};
use serde_json::json;
use tollgate_proto::{AgentId, CredentialId};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::{Agent, AgentSpec};
use crate::{
    app::App,
    audit,
    caller::{Caller, Role},
    db::TenantTx,
    error::ApiError,
    page::Page,
    resource::{self, Kind},
    secret::{self, Digest, Purpose},
};

pub mod api;
mod sql;

const ACTIVE_MAX: i64 = 2;

/// A secret as it is shown afterwards.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Credential {
    /// Its id.
    #[schema(value_type = String)]
    pub id: CredentialId,
    /// The beginning of its digest, to tell secrets apart.
    #[schema(example = "sha256:ab12cd34")]
    pub fingerprint: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Who made it.
    pub created_by: String,
    /// When it ends; null for never.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was last used for a token; null for never.
    pub last_used_at: Option<DateTime<Utc>>,
}

/// The secrets of an agent.
pub type CredentialPage = Page<Credential>;

/// A secret that was just made.
#[derive(Serialize, ToSchema)]
pub struct NewCredential {
    /// Its id.
    #[schema(value_type = String)]
    pub id: CredentialId,
    /// The agent's OAuth `client_id`.
    #[schema(value_type = String)]
    pub client_id: AgentId,
    /// The secret, shown this once.
    #[serde(serialize_with = "shown_once")]
    #[schema(value_type = String)]
    pub client_secret: Zeroizing<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// The agent's secrets, the oldest first.
///
/// # Errors
/// [`ApiError::NotFound`], [`ApiError::Forbidden`]; or when Postgres is away.
pub async fn list(app: &App, caller: &Caller, agent: &str) -> Result<CredentialPage, ApiError> {
    caller.require(Role::Viewer)?;
    let mut tx = app.db.tenant(caller.tenant).await?;
    let agent: Agent = resource::existing(&mut tx, app, caller, agent).await?;
    Ok(Page { items: sql::list(&mut tx, agent.id).await?, next_cursor: None })
}

/// Makes a secret for the agent.
///
/// # Errors
/// [`ApiError::CredentialLimit`], [`ApiError::NotFound`], [`ApiError::Forbidden`]; or when Postgres is away.
pub async fn create(app: &App, caller: &Caller, agent: &str) -> Result<NewCredential, ApiError> {
    caller.require(AgentSpec::WRITER)?;
    let mut tx = app.db.tenant(caller.tenant).await?;
    let agent: Agent = resource::existing(&mut tx, app, caller, agent).await?;
    // Two callers at once would otherwise both count one.
    sql::lock_agent(&mut tx, agent.id).await?;
    if sql::count_active(&mut tx, agent.id).await? >= ACTIVE_MAX {
        return Err(ApiError::CredentialLimit);
    }
    let generated = secret::generate(Purpose::Client);
    let id = CredentialId::new();
    let created_at = sql::insert(&mut tx, id, agent.id, &generated.digest, &caller.actor).await?;
    record(&mut tx, caller, "agent.credential.create", &agent, id, generated.digest.as_bytes()).await?;
    tx.commit().await?;
    Ok(NewCredential { id, client_id: agent.id, client_secret: generated.text, created_at })
}

/// Stores the secret of an agent that was just made in the transaction.
///
/// # Errors
/// When Postgres is away.
pub(crate) async fn add(
    tx: &mut TenantTx,
    agent: AgentId,
    secret: &Digest,
    actor: &str,
) -> Result<CredentialId, sqlx::Error> {
    let id = CredentialId::new();
    sql::insert(tx, id, agent, secret, actor).await.map(|_| id)
}

/// Deletes a secret: it gets no token from then on.
///
/// # Errors
/// [`ApiError::NotFound`], [`ApiError::Forbidden`]; or when Postgres is away.
pub async fn remove(app: &App, caller: &Caller, agent: &str, id: &str) -> Result<(), ApiError> {
    caller.require(AgentSpec::WRITER)?;
    let not_found = || ApiError::NotFound { noun: "credential", key: id.to_owned() };
    let credential: CredentialId = id.parse().map_err(|_| not_found())?;
    let mut tx = app.db.tenant(caller.tenant).await?;
    let agent: Agent = resource::existing(&mut tx, app, caller, agent).await?;
    let digest = sql::delete(&mut tx, agent.id, credential).await?.ok_or_else(not_found)?;
    record(&mut tx, caller, "agent.credential.delete", &agent, credential, &digest).await?;
    tx.commit().await?;
    Ok(())
}

async fn record(
    tx: &mut TenantTx,
    caller: &Caller,
    action: &str,
    agent: &Agent,
    id: CredentialId,
    digest: &[u8],
) -> Result<(), sqlx::Error> {
    let event = audit::Event {
        actor: &caller.actor,
        action,
        object_kind: AgentSpec::NOUN,
        object_id: &agent.id.to_string(),
        object_name: &agent.name,
        detail: json!({ "credential": id, "fingerprint": Digest::fingerprint(digest) }),
    };
    audit::record(tx, event).await
}

fn shown_once<S: Serializer>(secret: &Zeroizing<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret)
}
