//! Limits: how much an agent may ask for.
//!
//! Invariant: a limit counts requests of one agent in this version; whatever else the contract knows is refused.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tollgate_proto::{AgentId, LimitId, Name};
use utoipa::ToSchema;

use crate::{
    agents,
    app::App,
    caller::{Caller, Role},
    db::TenantTx,
    duration,
    error::{ApiError, Faults},
    page::Page,
    resource::{Content, Draft, Kind, Object, Removable, Row, Version, Which},
};

pub mod api;
mod sql;
#[cfg(test)]
mod tests;

const COUNT_MAX: i64 = 1_000_000;
const WINDOW_S_MAX: u64 = 86_400;

/// A limit as the API shows it.
pub type Limit = Object<LimitSpec>;
/// One page of limits.
pub type LimitPage = Page<Limit>;
/// The body that creates a limit.
pub type NewLimit = Draft<LimitSpec>;
/// The body that replaces a limit.
pub type LimitContent = Content<LimitSpec>;

/// The limits of an agent, in the order of their names.
///
/// # Errors
/// [`ApiError::Forbidden`]; or when Postgres is away.
pub(crate) async fn of_agent(app: &App, caller: &Caller, agent: AgentId) -> Result<Vec<Limit>, ApiError> {
    caller.require(Role::Viewer)?;
    let rows = sql::of_agent(&mut app.db.tenant(caller.tenant).await?, agent).await?;
    rows.into_iter().map(|row| Limit::of(row, app, caller)).collect()
}

/// What a client says about a limit.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitSpec {
    /// Whom it limits.
    pub to: LimitTarget,
    /// How many requests; required in this version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<Rate>,
    /// How many tokens; not in this version.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub tokens: Option<Value>,
    /// How many requests at once; not in this version.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>)]
    pub concurrency: Option<Value>,
    /// What happens while counters cannot be reached; not in this version.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub on_store_outage: Option<Value>,
}

/// Whom a limit limits: an agent, in this version.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct LimitTarget {
    /// The name of an agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub agent: Option<Name>,
    /// `team`, `tenant`, `server`, `tool` or `user`; not in this version.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub others: Map<String, Value>,
}

/// So many in any window of such a length.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// How many.
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub count: i64,
    /// The window's length, from `1s` to `1d`.
    #[schema(example = "1m", pattern = "^[1-9][0-9]*[smhd]$")]
    pub per: String,
}

/// What the server says about a limit.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct LimitStatus {
    /// What the data planes apply.
    pub effective: EffectiveLimit,
}

/// What the data planes apply.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct EffectiveLimit {
    /// At most so many requests …
    pub requests: i64,
    /// … in any so many seconds.
    pub window_s: u64,
}

/// What a limit's spec means.
#[derive(Debug)]
pub struct Meaning {
    agent: AgentId,
    requests: i32,
    window_s: i32,
}

impl Kind for LimitSpec {
    const TITLE: &'static str = "Limit";
    const NOUN: &'static str = "limit";
    const COLLECTION: &'static str = "limits";

    type Id = LimitId;
    type Status = LimitStatus;
    type Meaning = Meaning;

    async fn select(tx: &mut TenantTx, which: Which<'_>) -> Result<Vec<Row>, sqlx::Error> {
        sql::select(tx, which).await
    }

    async fn interpret(
        &self,
        _: &Name,
        _: Option<&Self>,
        tx: &mut TenantTx,
        faults: &mut Faults,
    ) -> Result<Option<Meaning>, sqlx::Error> {
        refuse_unavailable(self, faults);
        let agent = match &self.to.agent {
            Some(agent) => agents::look_up(tx, agent, "/spec/to/agent", faults).await?,
            None => None,
        };
        let rate = rate(self, faults);
        Ok(agent.zip(rate).map(|(agent, (requests, window_s))| Meaning { agent, requests, window_s }))
    }

    async fn save(tx: &mut TenantTx, version: &Version<'_>, meaning: Meaning) -> Result<(), sqlx::Error> {
        sql::save(tx, version, &meaning).await
    }

    fn status(&self, _: &Row, _: &App, _: &Caller) -> Result<LimitStatus, ApiError> {
        let rate = self.requests.as_ref().ok_or_else(|| ApiError::internal("a stored limit without a rate"))?;
        let window_s = duration::seconds(&rate.per).map_err(ApiError::internal)?;
        Ok(LimitStatus { effective: EffectiveLimit { requests: rate.count, window_s } })
    }
}

impl Removable for LimitSpec {
    async fn delete(tx: &mut TenantTx, id: LimitId, _: &str) -> Result<(), ApiError> {
        Ok(sql::delete(tx, id).await?)
    }
}

fn refuse_unavailable(spec: &LimitSpec, faults: &mut Faults) {
    for target in spec.to.others.keys() {
        match target.as_str() {
            "team" | "tenant" | "server" | "tool" | "user" => {
                faults.not_available(format!("/spec/to/{target}"), "limits on anything but an agent");
            }
            _ => faults.add("/spec/to", "shape", "name an `agent`"),
        }
    }
    if spec.to.agent.is_none() && spec.to.others.is_empty() {
        faults.add("/spec/to", "exactly_one", "name an `agent`");
    }
    let others =
        [("tokens", &spec.tokens), ("concurrency", &spec.concurrency), ("on_store_outage", &spec.on_store_outage)];
    for (field, _) in others.into_iter().filter(|(_, given)| given.is_some()) {
        faults.not_available(format!("/spec/{field}"), "limits on anything but requests");
    }
}

/// The count and the window in seconds.
fn rate(spec: &LimitSpec, faults: &mut Faults) -> Option<(i32, i32)> {
    let Some(rate) = &spec.requests else {
        faults.add("/spec/requests", "required", "say how many requests");
        return None;
    };
    if !(1..=COUNT_MAX).contains(&rate.count) {
        faults.add("/spec/requests/count", "out_of_range", format!("from 1 to {COUNT_MAX}"));
    }
    let window_s = match duration::seconds(&rate.per) {
        Ok(window_s) if window_s > WINDOW_S_MAX => {
            faults.add("/spec/requests/per", "out_of_range", "from `1s` to `1d`");
            None
        }
        Ok(window_s) => Some(window_s),
        Err(error) => {
            faults.add("/spec/requests/per", "duration", error.to_string());
            None
        }
    };
    Some((i32::try_from(rate.count).ok()?, i32::try_from(window_s?).ok()?))
}
