//! Access checks: whether an agent could use something, and why, without trying.
//!
//! Invariant: the answer is that of the evaluator which data planes ask, on the policy that they were last sent.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::task::spawn_blocking;
use tollgate_proto::{
    Name, Scope, TenantId,
    access::{Arguments, Asker, Attempt, Book, Item, Kind},
    policy::v1::TenantPolicy,
};
use utoipa::ToSchema;

use crate::{
    app::App,
    caller::{Caller, Role},
    error::{ApiError, Faults},
    policy,
};

pub mod api;
mod explanation;
pub(crate) mod matrix;
mod standing;
#[cfg(test)]
mod tests;

use standing::Standing;

/// What is asked.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccessCheck {
    /// Name or id of the agent.
    #[schema(example = "ci-bot")]
    pub agent: String,
    /// E-mail address or id of the user that it acts for; without, it acts for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Name of the server.
    #[schema(value_type = String, example = "demo")]
    pub server: Name,
    /// A tool, as the server names it. Exactly one of `tool`, `prompt` and `resource`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "echo")]
    pub tool: Option<String>,
    /// A prompt, as the server names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The URI of a resource, as the server names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The arguments; without, it is asked whether any could be allowed, as when tools are listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub arguments: Option<Map<String, Value>>,
    /// What the token carries; without, all that it could.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// The address that the request comes from; without, it is asked whether any could be allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "10.20.0.7")]
    pub from: Option<IpAddr>,
    /// When; now unless told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<DateTime<Utc>>,
}

/// What would come of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AccessAnswer {
    /// Whether it would be let through.
    pub decision: AccessDecision,
    /// Why not: the `reason` that the agent would be told. None where it would be let through.
    #[schema(example = "tool_not_granted")]
    pub reason: Option<&'static str>,
    /// The name of the grant that decides, where one does.
    pub grant: Option<String>,
    /// The scope of that grant that speaks of it; where no grant decides, the scope that would be needed.
    #[schema(example = "demo:echo")]
    pub scope: String,
    /// The policy revision that was asked.
    pub revision: u64,
    /// The same in a sentence.
    pub explanation: String,
}

/// Whether something would be let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AccessDecision {
    /// It would.
    Allowed,
    /// It would not.
    Refused,
}

/// The indexed policies that were asked lately, one for each tenant: reading one costs more than asking it. However many
/// ask at once, one of them reads it.
#[derive(Debug, Default)]
pub struct Books(Mutex<HashMap<TenantId, Kept>>);

/// Locked while the tenant's policy is read.
type Kept = Arc<tokio::sync::Mutex<Option<Arc<Edition>>>>;

/// A policy and what it says of access.
#[derive(Debug)]
pub(crate) struct Edition {
    pub(crate) policy: Arc<TenantPolicy>,
    pub(crate) book: Book,
}

/// Answers whether something could be used.
///
/// # Errors
/// [`ApiError::Forbidden`], [`ApiError::NotFound`] for an agent or user that is not there, [`ApiError::Invalid`]; or when
/// there is no policy yet and Postgres is away.
pub async fn check(app: &App, caller: &Caller, asked: &AccessCheck) -> Result<AccessAnswer, ApiError> {
    caller.require(Role::Viewer)?;
    let (item, token) = read(asked)?;
    let edition = edition(app, caller).await?;
    let standing = Standing::of(&edition.policy, &asked.agent, asked.user.as_deref())?;
    let arguments = asked.arguments.as_ref().map(|arguments| Value::from(arguments.clone()).to_string());
    let attempt = Attempt {
        asker: Asker {
            agent: standing.agent,
            role: standing.role,
            token: &token,
            peer: asked.from,
            now: asked.at.unwrap_or_else(Utc::now).timestamp(),
        },
        server: &asked.server,
        item,
        arguments: arguments.as_deref().map_or(Arguments::Unknown, |given| Arguments::Given(given.as_bytes())),
        observed: None,
    };
    Ok(explanation::answer(&edition, &standing, &attempt))
}

/// The policy that data planes were last sent, or that they are about to be.
pub(crate) async fn edition(app: &App, caller: &Caller) -> Result<Arc<Edition>, ApiError> {
    let kept = app.access_books.of(caller.tenant);
    let mut kept = kept.lock().await;
    let policy = newest(app, caller, kept.as_deref()).await?;
    if let Some(known) = kept.as_ref().filter(|known| known.policy.digest == policy.digest) {
        return Ok(Arc::clone(known));
    }
    // A large one takes longer than a thread of others' requests should be held for.
    let read = spawn_blocking(move || Book::read(&policy).map(|book| Edition { policy, book }));
    let edition = Arc::new(read.await.map_err(ApiError::internal)?.map_err(ApiError::internal)?);
    *kept = Some(Arc::clone(&edition));
    Ok(edition)
}

/// What was published, or else what will be: compiled only where `kept` is not that.
async fn newest(app: &App, caller: &Caller, kept: Option<&Edition>) -> Result<Arc<TenantPolicy>, ApiError> {
    let tenant = caller.tenant;
    if let Some(published) = app.policy_changes.subscribe().borrow().policy(tenant) {
        return Ok(Arc::clone(published));
    }
    if let Some(kept) = kept
        && policy::is_newest(app, tenant, &kept.policy).await?
    {
        return Ok(Arc::clone(&kept.policy));
    }
    let compiled = policy::compile(app, tenant).await.map_err(ApiError::internal)?;
    let gone = || ApiError::NotFound { noun: "tenant", key: caller.tenant_name.clone() };
    Ok(Arc::new(compiled.ok_or_else(gone)?))
}

/// What is asked for and the scopes of the token, if they can be read.
fn read(asked: &AccessCheck) -> Result<(Item<'_>, Vec<Scope>), ApiError> {
    let mut faults = Faults::default();
    let items = [(Kind::Tool, &asked.tool), (Kind::Prompt, &asked.prompt), (Kind::Resource, &asked.resource)];
    let mut named = items.into_iter().filter_map(|(kind, name)| Some(Item { kind, name: name.as_deref()? }));
    let item = named.next().filter(|_| named.next().is_none());
    if item.is_none() {
        faults.add("", "exactly_one", "name exactly one of `tool`, `prompt` and `resource`");
    }
    let mut token = Vec::new();
    match &asked.scopes {
        None => token.push(Scope::Server { server: asked.server.clone() }),
        Some(scopes) => {
            for (index, text) in scopes.iter().enumerate() {
                match text.parse() {
                    Ok(scope) => token.push(scope),
                    Err(error) => faults.add(format!("/scopes/{index}"), "scope", format!("{error}")),
                }
            }
        }
    }
    item.filter(|_| faults.is_empty()).map(|item| (item, token)).ok_or(ApiError::Invalid(faults))
}

impl Books {
    fn of(&self, tenant: TenantId) -> Kept {
        Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(tenant).or_default())
    }
}
