//! Limits: how much may be asked for, by an agent, a user or a team, or of a server, a tool or all of a tenant.
//!
//! Invariant: a limit is on one thing that exists when it is written, and limits something.

use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use tollgate_proto::{AgentId, LimitId, Name, TenantId};
use utoipa::ToSchema;

use crate::{
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
pub(crate) mod standing;
mod target;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use standing::{ConcurrencyUse, LimitUse, LimitUsePage, OneLimitUse, Refusals, RequestsUse, TokensUse};
pub use target::LimitTarget;

use target::Target;

const REQUESTS_MAX: i64 = 1_000_000;
/// Data planes count in 32 bits.
const TOKENS_MAX: i64 = 4_000_000_000;
const CONCURRENCY_MAX: i64 = 100_000;
const WINDOW_S_MAX: u64 = 86_400;

/// A limit as the API shows it.
pub type Limit = Object<LimitSpec>;
/// One page of limits.
pub type LimitPage = Page<Limit>;
/// The body that creates a limit.
pub type NewLimit = Draft<LimitSpec>;
/// The body that replaces a limit.
pub type LimitContent = Content<LimitSpec>;

/// The limits on an agent alone, in the order of their names.
///
/// # Errors
/// [`ApiError::Forbidden`]; or when Postgres is away.
pub(crate) async fn of_agent(app: &App, caller: &Caller, agent: AgentId) -> Result<Vec<Limit>, ApiError> {
    caller.require(Role::Viewer)?;
    let rows = sql::of_agent(&mut app.db.tenant(caller.tenant).await?, agent).await?;
    rows.into_iter().map(|row| Limit::of(row, app, caller)).collect()
}

/// What a limit of the tenant that the transaction has entered is called, and what it is on; nothing when there is none.
///
/// # Errors
/// When Postgres is away, or the row is damaged.
pub(crate) async fn named(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: LimitId,
) -> Result<Option<(String, LimitTarget)>, sqlx::Error> {
    let Some((name, spec)) = sql::spec(connection, tenant, id).await? else { return Ok(None) };
    let spec = LimitSpec::deserialize(&spec).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    Ok(Some((name, spec.to)))
}

/// What a client says about a limit. Of `requests`, `tokens` and `concurrency` one at least; each holds by itself.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitSpec {
    /// What it is on.
    pub to: LimitTarget,
    /// How many requests, up to 1,000,000 in a window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<Rate>,
    /// How many tokens of what goes to servers and comes back, up to 4,000,000,000 in a window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Rate>,
    /// How many calls at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100_000)]
    pub concurrency: Option<i64>,
    /// What happens while data planes cannot reach their counters; `local` where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_store_outage: Option<OnStoreOutage>,
    /// How it is counted; `strict` where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
}

/// What a limit does while data planes cannot reach their counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnStoreOutage {
    /// Each data plane keeps it for itself, to its share: nine tenths of it, divided by their number.
    Local,
    /// Calls that it is on are refused with 503.
    Deny,
    /// It lets everything pass.
    Open,
}

/// How a limit is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Each call asks the counters that all data planes share.
    Strict,
    /// Data planes take some of it in advance, and give back what they did not use.
    Leased,
}

impl OnStoreOutage {
    /// `local`, `deny` or `open`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Deny => "deny",
            Self::Open => "open",
        }
    }
}

impl Mode {
    /// `strict` or `leased`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Leased => "leased",
        }
    }
}

/// So many in any window of such a length.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// How many.
    #[schema(minimum = 1)]
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
    /// Requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<EffectiveRate>,
    /// Tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<EffectiveRate>,
    /// Calls at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<i64>,
    /// While counters cannot be reached.
    pub on_store_outage: OnStoreOutage,
    /// How it is counted.
    pub mode: Mode,
}

/// At most `count` in any `window_s` seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct EffectiveRate {
    /// How many.
    pub count: i64,
    /// In how many seconds.
    pub window_s: u64,
}

/// What a limit's spec means.
#[derive(Debug)]
pub struct Meaning {
    target: Target,
    requests: Option<EffectiveRate>,
    tokens: Option<EffectiveRate>,
    concurrency: Option<i64>,
    on_store_outage: OnStoreOutage,
    mode: Mode,
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
        if self.requests.is_none() && self.tokens.is_none() && self.concurrency.is_none() {
            faults.add("/spec", "required", "say how many `requests` or `tokens`, or how much `concurrency`");
        }
        let requests = effective(self.requests.as_ref(), "/spec/requests", REQUESTS_MAX, faults);
        let tokens = effective(self.tokens.as_ref(), "/spec/tokens", TOKENS_MAX, faults);
        if self.concurrency.is_some_and(|calls| !(1..=CONCURRENCY_MAX).contains(&calls)) {
            faults.add("/spec/concurrency", "out_of_range", format!("from 1 to {CONCURRENCY_MAX}"));
        }
        let target = self.to.look_up(tx, faults).await?;
        let (concurrency, on_store_outage, mode) = (self.concurrency, self.on_store_outage(), self.mode());
        Ok(target.map(|target| Meaning { target, requests, tokens, concurrency, on_store_outage, mode }))
    }

    async fn save(tx: &mut TenantTx, version: &Version<'_>, meaning: Meaning) -> Result<(), sqlx::Error> {
        sql::save(tx, version, &meaning).await
    }

    fn status(&self, _: &Row, _: &App, _: &Caller) -> Result<LimitStatus, ApiError> {
        let effective = |rate: &Option<Rate>| {
            let read = |rate: &Rate| {
                let window_s = duration::seconds(&rate.per);
                window_s.map(|window_s| EffectiveRate { count: rate.count, window_s })
            };
            rate.as_ref().map(read).transpose().map_err(ApiError::internal)
        };
        let (requests, tokens) = (effective(&self.requests)?, effective(&self.tokens)?);
        let (concurrency, on_store_outage, mode) = (self.concurrency, self.on_store_outage(), self.mode());
        Ok(LimitStatus { effective: EffectiveLimit { requests, tokens, concurrency, on_store_outage, mode } })
    }
}

impl LimitSpec {
    fn on_store_outage(&self) -> OnStoreOutage {
        self.on_store_outage.unwrap_or(OnStoreOutage::Local)
    }

    fn mode(&self) -> Mode {
        self.mode.unwrap_or(Mode::Strict)
    }
}

impl Removable for LimitSpec {
    async fn delete(tx: &mut TenantTx, id: LimitId, _: &str) -> Result<(), ApiError> {
        Ok(sql::delete(tx, id).await?)
    }
}

/// What a rate means; none where it is wrong.
fn effective(rate: Option<&Rate>, at: &str, count_max: i64, faults: &mut Faults) -> Option<EffectiveRate> {
    let rate = rate?;
    if !(1..=count_max).contains(&rate.count) {
        faults.add(format!("{at}/count"), "out_of_range", format!("from 1 to {count_max}"));
    }
    let window_s = match duration::seconds(&rate.per) {
        Ok(window_s) if window_s > WINDOW_S_MAX => {
            faults.add(format!("{at}/per"), "out_of_range", "from `1s` to `1d`");
            None
        }
        Ok(window_s) => Some(window_s),
        Err(error) => {
            faults.add(format!("{at}/per"), "duration", error.to_string());
            None
        }
    };
    Some(EffectiveRate { count: rate.count, window_s: window_s? })
}
