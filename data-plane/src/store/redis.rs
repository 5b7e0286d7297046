//! The store in Redis or Redis Cluster, shared by all data planes.
//!
//! Every operation of a call is one function in one round trip, and all keys of a tenant carry its hash tag, so that they
//! live in one slot of a cluster. Time is the Redis node's own.
//!
//! Invariant: no operation takes longer than its deadline, and while Redis is away nearly all are refused at once.

mod breaker;
mod bridge_leg;
mod expiry;
mod follow;
mod function;
mod link;
mod listing;
mod mail;
mod reading;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use ::redis::{Cmd, FromRedisValue};
use serde::{Deserialize, Serialize};
use tokio_util::sync::{CancellationToken, DropGuard};
use tollgate_proto::{LimitId, ServerId, TenantId};

use self::{breaker::Breakers, function::Functions, link::Links, mail::Heard};
use super::{
    NAME_IDLE_S, PLACE_S, SESSION_IDLE_S, SESSION_LIFE_S, SUBSCRIPTIONS_MAX, StoreError,
    admission::{
        Admission, Charge, ChargedAt, Class, Demand, Loaded, Meter, Place, RingKey, RingState, Settled, Settlement,
        Shown, Verdict,
    },
    listing::handle_of_session,
    ring::{Ring, Shape},
    session::{Leg, Owner, Session, SessionId, Subscribed, Subscription},
    spending::{BudgetKey, Fit, SpendState, require_known},
};

const HEAD_FIELD: &str = "head";
const LEG_PREFIX: &str = "leg:";
const LOG_LEVEL_FIELD: &str = "log_level";
const SUBSCRIPTION_PREFIX: &str = "sub:";
/// How many values `admit.lua` answers per ring.
const STATE_VALUES: usize = 4;
/// And per set of calls that run.
const PLACE_VALUES: usize = 2;
/// And per budget.
const SPEND_VALUES: usize = 2;

/// How patient the store is.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// An operation that takes longer is given up.
    pub deadline: Duration,
    /// So many failures in a row open the breaker.
    pub failures_max: u32,
    /// While the breaker is open, one operation in this time is let through to see whether Redis is back.
    pub probe_every: Duration,
}

/// A connection to Redis, kept up in the background, and the functions that run there.
#[derive(Debug)]
pub struct Store {
    links: Links,
    functions: Box<Functions>,
    breakers: Breakers,
    deadline: Duration,
    heard: Arc<Heard>,
    _following: DropGuard,
}

/// What `admit.lua` answers.
type Admitted = (bool, Vec<String>, Vec<u64>, Vec<u64>, Vec<u64>, Vec<u64>, Vec<Vec<u8>>);

/// What a session's hash holds beside its legs; the owner is in the key.
#[derive(Serialize, Deserialize)]
struct Head {
    endpoint: String,
    protocol_version: String,
    initialize_params: String,
    created_at_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { deadline: Duration::from_millis(50), failures_max: 3, probe_every: Duration::from_millis(500) }
    }
}

impl Store {
    /// A store for one server (one URL) or a cluster (several). Must be called in a Tokio runtime.
    ///
    /// # Errors
    /// [`StoreError::Address`] when a URL is not usable.
    pub fn open(urls: &[String], settings: Settings) -> Result<Self, StoreError> {
        Self::with_functions(urls, settings, Functions::new())
    }

    /// A store whose functions go by another clock: Lua that defines `now_exactly` and `now_s`.
    #[cfg(test)]
    pub(super) fn with_clock(urls: &[String], settings: Settings, clock: &str) -> Result<Self, StoreError> {
        Self::with_functions(urls, settings, Functions::with_clock(clock))
    }

    fn with_functions(urls: &[String], settings: Settings, functions: Functions) -> Result<Self, StoreError> {
        let Settings { deadline, failures_max, probe_every } = settings;
        let links = Links::open(urls)?;
        let (heard, stopped) = (Arc::new(Heard::default()), CancellationToken::new());
        tokio::spawn(follow::follow(follow::nodes(urls)?, Arc::clone(&heard), stopped.clone()));
        let breakers = Breakers::new(failures_max, probe_every);
        Ok(Self { links, functions: Box::new(functions), breakers, deadline, heard, _following: stopped.drop_guard() })
    }

    pub(super) async fn ping(&self) -> Result<(), StoreError> {
        let answer = tokio::time::timeout(self.deadline, async {
            self.links.get().await.query::<String>(&::redis::cmd("PING")).await
        });
        match answer.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(StoreError::Unavailable(error.to_string())),
            Err(_) => Err(too_slow(self.deadline)),
        }
    }

    pub(super) async fn create_session(&self, session: &Session) -> Result<SessionId, StoreError> {
        let id = SessionId::generate()?;
        let head = Head {
            endpoint: session.endpoint.clone(),
            protocol_version: session.protocol_version.clone(),
            initialize_params: String::from_utf8(session.initialize_params.clone()).map_err(unreadable)?,
            created_at_ms: session.created_at_ms,
        };
        let mut call = self.functions.create_session.call();
        call.key(session_key(session.owner, &id)).key(expiry::sessions_key(session.owner.tenant));
        call.key(listing::list_key(session.owner.tenant));
        call.arg(SESSION_IDLE_S)
            .arg(SESSION_LIFE_S)
            .arg(expiry::member(session.owner, &id))
            .arg(handle_of_session(&id, session).to_string())
            .arg(HEAD_FIELD)
            .arg(to_json(&head)?);
        for (server, leg) in &session.legs {
            call.arg(leg_field(*server)).arg(to_json(leg)?);
        }
        if let Some(level) = &session.log_level {
            call.arg(LOG_LEVEL_FIELD).arg(level);
        }
        for subscription in &session.subscriptions {
            call.arg(subscription_field(subscription)).arg("");
        }
        self.run(session.owner.tenant, async |link| call.run::<()>(link).await).await?;
        Ok(id)
    }

    pub(super) async fn put_leg(
        &self,
        owner: Owner,
        id: &SessionId,
        server: ServerId,
        leg: &Leg,
    ) -> Result<bool, StoreError> {
        self.put_field(owner, id, &leg_field(server), &to_json(leg)?).await
    }

    pub(super) async fn put_log_level(&self, owner: Owner, id: &SessionId, level: &str) -> Result<bool, StoreError> {
        self.put_field(owner, id, LOG_LEVEL_FIELD, level).await
    }

    async fn put_field(&self, owner: Owner, id: &SessionId, field: &str, value: &str) -> Result<bool, StoreError> {
        let mut call = self.functions.put_field.call();
        call.key(session_key(owner, id)).arg(field).arg(value);
        self.run(owner.tenant, async |link| call.run(link).await).await
    }

    pub(super) async fn subscribe(
        &self,
        owner: Owner,
        id: &SessionId,
        subscription: &Subscription,
    ) -> Result<Subscribed, StoreError> {
        let mut call = self.functions.subscribe.call();
        call.key(session_key(owner, id));
        call.arg(subscription_field(subscription)).arg(SUBSCRIPTION_PREFIX).arg(SUBSCRIPTIONS_MAX);
        let subscribed: i64 = self.run(owner.tenant, async |link| call.run(link).await).await?;
        Ok(match subscribed {
            1 => Subscribed::Kept,
            0 => Subscribed::Full,
            _ => Subscribed::NoSession,
        })
    }

    pub(super) async fn unsubscribe(
        &self,
        owner: Owner,
        id: &SessionId,
        subscription: &Subscription,
    ) -> Result<bool, StoreError> {
        let mut call = self.functions.unsubscribe.call();
        call.key(session_key(owner, id)).arg(subscription_field(subscription));
        self.run(owner.tenant, async |link| call.run(link).await).await
    }

    pub(super) async fn remove_session(&self, owner: Owner, id: &SessionId) -> Result<Option<Session>, StoreError> {
        let mut call = self.functions.remove_session.call();
        call.key(session_key(owner, id)).key(listing::list_key(owner.tenant)).arg(expiry::member(owner, id));
        let fields: Vec<String> = self.run(owner.tenant, async |link| call.run(link).await).await?;
        if fields.is_empty() { Ok(None) } else { read_session(owner, &fields).map(Some) }
    }

    pub(super) async fn admit(
        &self,
        owner: Owner,
        session: Option<&SessionId>,
        demand: &Demand,
    ) -> Result<Admission, StoreError> {
        let Demand { charges, places, spends } = demand;
        let mut call = match session {
            Some(id) => {
                let mut call = self.functions.admit_in_session.call();
                call.key(session_key(owner, id)).arg(SESSION_IDLE_S);
                call
            }
            None if demand.is_empty() => return Ok(Admission::of_nothing()),
            None => self.functions.admit_alone.call(),
        };
        call.arg(charges.len()).arg(places.len());
        for charge in charges {
            let shape = Shape::of(charge.window_s);
            call.key(ring_key(owner.tenant, charge.key));
            call.arg(charge.limit).arg(shape.slot_s).arg(shape.slots).arg(charge.cost);
        }
        for place in places {
            call.key(places_key(owner.tenant, place.limit));
            call.arg(place.call.to_string()).arg(PLACE_S).arg(place.places);
        }
        for spend in spends {
            call.key(budget_key(owner.tenant, spend.key));
            call.arg(spend.amount).arg(spend.known.map_or(-1, u64::cast_signed)).arg(spend.cost).arg(spend.lasts_s);
        }
        let (is_live, fields, states, running, spent, clock, shown): Admitted =
            self.run(owner.tenant, async |link| call.run(link).await).await?;
        if !is_live {
            return Ok(Admission::without_session());
        }
        let session = match session {
            None => Loaded::NotAsked,
            Some(_) => Loaded::Found(Box::new(read_session(owner, &fields)?)),
        };
        let rings: Vec<RingState> = states.chunks_exact(STATE_VALUES).map(read_state).collect();
        let running = running.chunks_exact(PLACE_VALUES);
        let full =
            places.iter().zip(running.clone()).filter(|(_, values)| values[1] == 1).map(|(place, _)| place.limit);
        let spent: Vec<SpendState> = spent.chunks_exact(SPEND_VALUES).map(read_spent).collect();
        require_known(&spent)?;
        let verdict = Verdict::of(demand, &rings, full.collect(), &spent);
        // No more than a limit.
        let running = running.map(|values| values[0] as u32).collect();
        let charged_at = match verdict {
            Verdict::Admitted => ChargedAt(states.chunks_exact(STATE_VALUES).map(|values| values[3]).collect()),
            Verdict::Refused { .. } | Verdict::NotTested => ChargedAt::default(),
        };
        let shown = read_shown(charges, &clock, &shown);
        Ok(Admission { session, verdict, rings, running, spent, charged_at, shown })
    }

    pub(super) async fn settle(
        &self,
        tenant: TenantId,
        Settled { charges, places, spends }: Settled<'_>,
    ) -> Result<(), StoreError> {
        let mut call = self.functions.settle.call();
        call.arg(charges.len()).arg(places.len());
        for Settlement { charge, slot, actual } in charges {
            let shape = Shape::of(charge.window_s);
            call.key(ring_key(tenant, charge.key));
            call.arg(slot).arg(shape.slot_s).arg(shape.slots).arg(charge.cost).arg(actual);
        }
        for place in places {
            call.key(places_key(tenant, place.limit));
            call.arg(place.call.to_string());
        }
        for spent in spends {
            call.key(budget_key(tenant, spent.key));
            call.arg(spent.difference());
        }
        self.run(tenant, async |link| call.run(link).await).await
    }

    pub(super) async fn keep_places(&self, tenant: TenantId, places: &[Place]) -> Result<(), StoreError> {
        let mut call = self.functions.keep_places.call();
        let Some(first) = places.first() else { return Ok(()) };
        call.arg(first.call.to_string()).arg(PLACE_S);
        for place in places {
            call.key(places_key(tenant, place.limit));
        }
        self.run(tenant, async |link| call.run(link).await).await
    }

    pub(super) async fn remember_name(
        &self,
        tenant: TenantId,
        federated: &str,
        server: ServerId,
        tool: &str,
    ) -> Result<(), StoreError> {
        let mut set = ::redis::cmd("SET");
        set.arg(name_key(tenant, federated)).arg(format!("{server} {tool}")).arg("EX").arg(NAME_IDLE_S);
        self.run(tenant, async |link| link.query(&set).await).await
    }

    pub(super) async fn recall_name(
        &self,
        tenant: TenantId,
        federated: &str,
    ) -> Result<Option<(ServerId, String)>, StoreError> {
        let mut get: Cmd = ::redis::cmd("GETEX");
        get.arg(name_key(tenant, federated)).arg("EX").arg(NAME_IDLE_S);
        let Some(value) = self.run(tenant, async |link| link.query::<Option<String>>(&get).await).await? else {
            return Ok(None);
        };
        let (server, tool) = value.split_once(' ').ok_or_else(|| unreadable("a name without a tool"))?;
        Ok(Some((server.parse().map_err(unreadable)?, tool.to_owned())))
    }

    /// Runs one operation within the deadline.
    async fn run<T: FromRedisValue>(
        &self,
        tenant: TenantId,
        operation: impl AsyncFnOnce(&mut link::Link) -> ::redis::RedisResult<T>,
    ) -> Result<T, StoreError> {
        self.run_within(self.deadline, tenant, operation).await
    }

    /// Runs one operation within this deadline and tells the tenant's breaker how it went.
    async fn run_within<T: FromRedisValue>(
        &self,
        deadline: Duration,
        tenant: TenantId,
        operation: impl AsyncFnOnce(&mut link::Link) -> ::redis::RedisResult<T>,
    ) -> Result<T, StoreError> {
        let breaker = self.breakers.of(tenant);
        if !breaker.lets_through() {
            return Err(StoreError::Unavailable("it failed a moment ago".to_owned()));
        }
        let answer = tokio::time::timeout(deadline, async {
            let mut link = self.links.get().await;
            operation(&mut link).await
        });
        let failure = match answer.await {
            Ok(Ok(value)) => {
                breaker.close();
                return Ok(value);
            }
            Ok(Err(error)) => StoreError::Unavailable(error.to_string()),
            Err(_) => too_slow(deadline),
        };
        if breaker.fail() {
            tracing::warn!(error = %failure, "the store does not answer");
            self.links.renew();
        }
        Err(failure)
    }
}

fn too_slow(deadline: Duration) -> StoreError {
    StoreError::Unavailable(format!("no answer within {} ms", deadline.as_millis()))
}

fn session_key(Owner { tenant, agent, user }: Owner, id: &SessionId) -> String {
    match user {
        None => format!("tg:{{{tenant}}}:sess:{agent}:{id}"),
        Some(user) => format!("tg:{{{tenant}}}:sess:{agent}:{user}:{id}"),
    }
}

fn ring_key(tenant: TenantId, RingKey { limit, meter }: RingKey) -> String {
    let meter = match meter {
        Meter::Requests(Class::Executing) => "executing",
        Meter::Requests(Class::Discovery) => "discovery",
        Meter::Tokens => "tokens",
    };
    format!("tg:{{{tenant}}}:ring:{limit}:{meter}")
}

fn places_key(tenant: TenantId, limit: LimitId) -> String {
    format!("tg:{{{tenant}}}:running:{limit}")
}

fn budget_key(tenant: TenantId, BudgetKey { budget, period_start, decimals }: BudgetKey) -> String {
    format!("tg:{{{tenant}}}:budget:{budget}:{period_start}:{decimals}")
}

fn name_key(tenant: TenantId, federated: &str) -> String {
    format!("tg:{{{tenant}}}:name:{federated}")
}

fn leg_field(server: ServerId) -> String {
    format!("{LEG_PREFIX}{server}")
}

fn subscription_field(Subscription { server, uri }: &Subscription) -> String {
    format!("{SUBSCRIPTION_PREFIX}{server}:{uri}")
}

fn read_state(values: &[u64]) -> RingState {
    // The function counts in u32: no value is larger than a limit or a ring.
    let [remaining, reset_s, retry_after_s] = [values[0] as u32, values[1] as u32, values[2] as u32];
    RingState { remaining, reset_s, retry_after_s }
}

fn read_spent(values: &[u64]) -> SpendState {
    let fit = match values[1] {
        0 => Fit::Fits,
        1 => Fit::Over,
        _ => Fit::Unknown,
    };
    SpendState { spent: values[0], fit }
}

/// None where nothing is shown.
fn read_shown(charges: &[Charge], clock: &[u64], rings: &[Vec<u8>]) -> Option<Shown> {
    let [seconds, micros] = *clock else { return None };
    let rings = charges.iter().zip(rings).map(|(charge, ring)| Ring::shown(charge.window_s, ring));
    let rings: Vec<Ring> = rings.collect::<Option<_>>()?;
    (rings.len() == charges.len()).then_some(Shown { at_us: seconds * 1_000_000 + micros, rings })
}

fn read_session(owner: Owner, fields: &[String]) -> Result<Session, StoreError> {
    let mut head = None;
    let mut legs = BTreeMap::new();
    let mut log_level = None;
    let mut subscriptions = BTreeSet::new();
    for pair in fields.chunks_exact(2) {
        if pair[0] == HEAD_FIELD {
            head = Some(from_json::<Head>(&pair[1])?);
        } else if let Some(server) = pair[0].strip_prefix(LEG_PREFIX) {
            legs.insert(server.parse().map_err(unreadable)?, from_json::<Leg>(&pair[1])?);
        } else if pair[0] == LOG_LEVEL_FIELD {
            log_level = Some(pair[1].clone());
        } else if let Some(subscription) = pair[0].strip_prefix(SUBSCRIPTION_PREFIX) {
            let (server, uri) = subscription.split_once(':').ok_or_else(|| unreadable("a subscription to nothing"))?;
            subscriptions.insert(Subscription { server: server.parse().map_err(unreadable)?, uri: uri.to_owned() });
        }
    }
    let head = head.ok_or_else(|| unreadable("a session without a head"))?;
    Ok(Session {
        owner,
        endpoint: head.endpoint,
        protocol_version: head.protocol_version,
        initialize_params: head.initialize_params.into_bytes(),
        legs,
        log_level,
        subscriptions,
        created_at_ms: head.created_at_ms,
    })
}

fn to_json(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(unreadable)
}

fn from_json<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(unreadable)
}

#[allow(clippy::needless_pass_by_value, reason = "an argument of map_err")]
fn unreadable(error: impl ToString) -> StoreError {
    StoreError::Value(error.to_string())
}
