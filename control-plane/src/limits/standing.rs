//! How much of limits is used: asked of the data planes, in whose store it is counted, each time that somebody looks; and
//! how many calls they refused, which the ledger has.
//!
//! Data planes that share a store count together and say the same, so that one of them is heard; those of several stores
//! count apart, and are added up.
//!
//! Invariant: what a store counts is added once, however many data planes tell it, and what nobody told is not zero.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use serde::Serialize;
use tollgate_proto::{
    LimitId,
    policy::v1::{self as wire, InspectLimits, Reply, question::What},
};
use utoipa::ToSchema;

use super::{EffectiveLimit, Limit, LimitSpec};
use crate::{
    alerts::saturation,
    answers::{Answers, Unanswered},
    app::App,
    caller::{Caller, Role},
    error::ApiError,
    page::PageQuery,
    resource,
};

/// Limits in one question: as many as are on one page.
const ASKED_MAX: usize = 500;

/// How much of a limit is used at this moment, and how many calls it refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LimitUse {
    /// The limit's id.
    #[schema(value_type = String, example = "lim_01k5z7v9k3f0q8r2m4n6p8s0t2")]
    pub id: LimitId,
    /// The limit's name.
    #[schema(example = "ci-bot")]
    pub name: String,
    /// Requests within the window; absent where they are not limited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<RequestsUse>,
    /// Tokens within the window; absent where they are not limited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<TokensUse>,
    /// Calls that run; absent where they are not limited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<ConcurrencyUse>,
    /// How many stores said so. Where there are several they count apart, each up to the whole limit, and what is used is
    /// the sum.
    pub stores: usize,
    /// Calls that it refused.
    pub refused: Refusals,
}

/// Requests that count towards a limit. What is null nobody said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct RequestsUse {
    /// Calls. What data planes have taken in advance counts.
    pub used: Option<u64>,
    /// Lists and handshakes, which are counted apart, against the same number.
    pub lists: Option<u64>,
    /// How many may pass.
    pub count: i64,
    /// In how many seconds.
    pub window_s: u64,
}

/// Tokens that count towards a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct TokensUse {
    /// Those of calls that are over, and what is reserved for those that run; null: nobody said.
    pub used: Option<u64>,
    /// How many may pass.
    pub count: i64,
    /// In how many seconds.
    pub window_s: u64,
}

/// Calls that run under a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct ConcurrencyUse {
    /// How many; null: nobody said.
    pub used: Option<u64>,
    /// How many may run at once.
    pub count: i64,
}

/// Calls that a limit refused, by the hours of the clock (UTC) in which they arrived. A call counts at one limit, the one that
/// its record names, a few seconds after it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Refusals {
    /// When this hour began.
    pub hour: DateTime<Utc>,
    /// In this hour.
    pub this_hour: i64,
    /// In the hour before.
    pub hour_before: i64,
}

/// How much of limits is used, in the order of their names.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct LimitUsePage {
    /// One for each limit.
    pub items: Vec<LimitUse>,
    /// Asks for the next page; null at the end.
    pub next_cursor: Option<String>,
    /// Whether every data plane answered. When not, more may be used than is said.
    pub complete: bool,
    /// Those that did not answer, and why.
    pub unanswered: Vec<Unanswered>,
}

/// How much of one limit is used.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct OneLimitUse {
    /// What is known.
    #[serde(flatten)]
    pub limit: LimitUse,
    /// Whether every data plane answered. When not, more may be used than is said.
    pub complete: bool,
    /// Those that did not answer, and why.
    pub unanswered: Vec<Unanswered>,
}

/// What is known of some limits.
#[derive(Debug)]
pub(crate) struct Standing {
    /// In the order of the limits.
    pub(crate) uses: Vec<LimitUse>,
    pub(crate) unanswered: Vec<Unanswered>,
    /// Why nobody said what is used; what they refused is known all the same.
    pub(crate) silence: Option<String>,
}

/// What stores said of one limit, added up.
#[derive(Debug, Default)]
struct Sum {
    stores: usize,
    calls: Option<u64>,
    lists: Option<u64>,
    tokens: Option<u64>,
    running: Option<u64>,
}

/// How much of each limit is used, page by page.
///
/// # Errors
/// [`ApiError::DataPlanesSilent`] when no data plane answers; for a limit or cursor out of bounds; or when Postgres is away.
pub async fn uses(app: &App, caller: &Caller, query: &PageQuery) -> Result<LimitUsePage, ApiError> {
    let page = resource::list::<LimitSpec>(app, caller, query).await?;
    let (items, unanswered) = of(app, caller, &page.items).await?.known()?;
    Ok(LimitUsePage { items, next_cursor: page.next_cursor, complete: unanswered.is_empty(), unanswered })
}

/// How much of the limit with this id or name is used.
///
/// # Errors
/// [`ApiError::NotFound`], also for another tenant's; [`ApiError::DataPlanesSilent`] when no data plane answers; or when
/// Postgres is away.
pub async fn use_of(app: &App, caller: &Caller, key: &str) -> Result<OneLimitUse, ApiError> {
    let limit: Limit = resource::get(app, caller, key).await?;
    let (uses, unanswered) = of(app, caller, &[limit]).await?.known()?;
    let limit = uses.into_iter().next().ok_or_else(|| ApiError::NotFound { noun: "limit", key: key.to_owned() })?;
    Ok(OneLimitUse { limit, complete: unanswered.is_empty(), unanswered })
}

/// What is known of these limits. Nobody is asked where there are none, and of those beyond [`ASKED_MAX`] nothing.
///
/// # Errors
/// [`ApiError::Forbidden`]; or when Postgres is away.
pub(crate) async fn of(app: &App, caller: &Caller, limits: &[Limit]) -> Result<Standing, ApiError> {
    caller.require(Role::Viewer)?;
    if limits.is_empty() {
        return Ok(Standing { uses: Vec::new(), unanswered: Vec::new(), silence: None });
    }
    let ids: Vec<LimitId> = limits.iter().map(|limit| limit.id).collect();
    let refused = saturation::refused(&mut app.db.tenant(caller.tenant).await?, &ids, Utc::now()).await?;
    let asked = ids.iter().take(ASKED_MAX).map(ToString::to_string).collect();
    let what = What::InspectLimits(InspectLimits { ids: asked });
    let (sums, unanswered, silence) = match Answers::to(app, caller, "counters", &what, None).await {
        Ok(Answers { replies, unanswered, .. }) => (merge(&replies), unanswered, None),
        Err(ApiError::DataPlanesSilent(why)) => (HashMap::new(), Vec::new(), Some(why)),
        Err(error) => return Err(error),
    };
    let used = |limit: &Limit| {
        let (hour, [this_hour, hour_before]) = (refused.hour, refused.of(limit.id));
        let refused = Refusals { hour, this_hour, hour_before };
        LimitUse::of(limit, sums.get(&limit.id).unwrap_or(&Sum::default()), refused)
    };
    Ok(Standing { uses: limits.iter().map(used).collect(), unanswered, silence })
}

impl Standing {
    fn known(self) -> Result<(Vec<LimitUse>, Vec<Unanswered>), ApiError> {
        match self.silence {
            Some(why) => Err(ApiError::DataPlanesSilent(why)),
            None => Ok((self.uses, self.unanswered)),
        }
    }
}

impl LimitUse {
    fn of(limit: &Limit, sum: &Sum, refused: Refusals) -> Self {
        let EffectiveLimit { requests, tokens, concurrency, .. } = limit.status.effective;
        Self {
            id: limit.id,
            name: limit.name.clone(),
            requests: requests.map(|rate| {
                let (count, window_s) = (rate.count, rate.window_s);
                RequestsUse { used: sum.calls, lists: sum.lists, count, window_s }
            }),
            tokens: tokens.map(|rate| TokensUse { used: sum.tokens, count: rate.count, window_s: rate.window_s }),
            concurrency: concurrency.map(|count| ConcurrencyUse { used: sum.running, count }),
            stores: sum.stores,
            refused,
        }
    }
}

impl Sum {
    fn add(&mut self, said: &wire::LimitUse) {
        self.stores += 1;
        let running = said.running.map(u64::from);
        for (sum, said) in [
            (&mut self.calls, said.calls),
            (&mut self.lists, said.lists),
            (&mut self.tokens, said.tokens),
            (&mut self.running, running),
        ] {
            *sum = said.map(|said| sum.unwrap_or(0).saturating_add(said)).or(*sum);
        }
    }
}

/// Of each limit what every store said of it, once.
fn merge(replies: &[Reply]) -> HashMap<LimitId, Sum> {
    let (mut heard, mut sums) = (HashSet::new(), HashMap::<LimitId, Sum>::new());
    for said in replies.iter().filter_map(|reply| reply.limit_uses.as_ref()) {
        for of_one in &said.uses {
            let Ok(limit) = of_one.limit_id.parse() else { continue };
            if heard.insert((&said.store, limit)) {
                sums.entry(limit).or_default().add(of_one);
            }
        }
    }
    sums
}
