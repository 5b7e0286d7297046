//! Stage 6, admit: one round trip to the store that loads the session and charges every limit and budget that applies.
//!
//! Invariant: a refused call is charged nowhere, and no server has seen it.

pub(crate) mod demand;
mod headers;
mod spending;

use std::time::Instant;

use tollgate_proto::{BudgetId, LimitId, policy::v1::DenyAs};

use crate::{
    call::Call,
    counters::{Judged, Request},
    gateway::Gateway,
    mcp::{
        era::EraError,
        header::{self, HeaderFault},
    },
    metering::Charged,
    policy::{Limit, Party},
    refusal::{Exhausted, Overspent, Refusal},
    stage::{
        authorize::Permit,
        currency::Current,
        identify::Caller,
        route::{Route, SessionRef},
    },
    store::{Class, Demand, Loaded, Meter, Owner, RingKey, Session, SessionId, SpendState, Store, Verdict},
};

use spending::Spending;

/// Evidence that every limit had room, with the session that the call belongs to.
#[derive(Debug)]
pub struct Admitted {
    owner: Owner,
    session: Option<(SessionId, Session)>,
}

impl Admitted {
    /// Whose session and counters they are.
    #[must_use]
    pub const fn owner(&self) -> Owner {
        self.owner
    }

    /// The session, for legacy messages other than `initialize`.
    #[must_use]
    pub const fn session(&self) -> Option<&(SessionId, Session)> {
        self.session.as_ref()
    }
}

/// Loads and charges.
///
/// # Errors
/// [`Refusal::LimitReached`], [`Refusal::BudgetExhausted`], [`Refusal::SessionUnknown`], and [`Refusal::StoreUnavailable`] when the store is away.
pub async fn admit(
    call: &mut Call,
    gateway: &Gateway,
    caller: &Caller,
    route: &Route,
    permit: &Permit,
    _current: &Current,
) -> Result<Admitted, Refusal> {
    let owner = owner(caller);
    let session_id = match route.session() {
        None => None,
        Some(SessionRef { id: Some(id), .. }) => Some(*id),
        Some(SessionRef { id: None, .. }) => return Err(Refusal::SessionUnknown),
    };
    if permit.deny_as() == DenyAs::ToolError && route.awaits_tool_result() {
        call.reads_limits_as_result();
    }
    let party = party(caller, route);
    let limits: Vec<&Limit> = route.class().map(|_| caller.tenant().limits.on(&party).collect()).unwrap_or_default();
    let spending = match call.expected_usage() {
        Some(expected) => Spending::of(&gateway.policies, caller.tenant(), &party, call.known(), expected),
        None => Spending::default(),
    };
    let request = Request {
        owner,
        session: session_id.as_ref(),
        limits: &limits,
        budgets: &spending.budgets,
        data_planes: gateway.policies.data_planes(),
        now: Instant::now(),
    };
    let demand = match route.class() {
        Some(class) => {
            Demand { spends: spending.spends.clone(), ..demand::of(&limits, class, call.id(), call.expected_tokens()) }
        }
        None => Demand::default(),
    };
    if session_id.is_none() && demand.is_empty() {
        return Ok(Admitted { owner, session: None });
    }
    let judged = gateway.counters.admit(&gateway.store, &gateway.metrics, request, demand).await?;
    call.limits(headers::of(&limits, &judged));
    if judged.admission.verdict == Verdict::Admitted {
        call.charged(Charged::new(judged.taken(request), &spending.budgets, caller.tenant().budgets.prices()));
    }
    let Judged { demand, admission, .. } = judged;
    let session = match (admission.session, session_id, route.session()) {
        (Loaded::NotAsked, ..) => None,
        (Loaded::Found(session), Some(id), Some(named)) => Some((id, belongs(*session, caller, named)?)),
        _ => return Err(Refusal::SessionUnknown),
    };
    if let Some((_, session)) = &session {
        call.protocol_version(&session.protocol_version);
    }
    let remaining = |ring| {
        let rings = demand.charges.iter().zip(&admission.rings);
        rings.into_iter().find(|(charge, _)| charge.key == ring).map_or(0, |(_, state)| state.remaining)
    };
    match admission.verdict {
        Verdict::Refused { by, full, over, retry_after_s } => Err(match over.first() {
            // Which is not over in a moment.
            Some(budget) => overspent(caller, &spending, *budget, &admission.spent),
            None => refused(caller, &limits, &by, &full, remaining, retry_after_s),
        }),
        Verdict::Admitted | Verdict::NotTested => Ok(Admitted { owner, session }),
    }
}

/// Whose sessions this caller uses, and in which tenant its counters are.
#[must_use]
pub fn owner(caller: &Caller) -> Owner {
    Owner { tenant: caller.tenant().id, agent: caller.agent().id, user: caller.user() }
}

/// The session, if it is one that this caller uses here. Nothing is charged.
///
/// # Errors
/// [`Refusal::SessionUnknown`], and [`Refusal::StoreUnavailable`] when the store is away.
pub async fn used_by(store: &Store, owner: Owner, caller: &Caller, named: &SessionRef) -> Result<Session, Refusal> {
    let id = named.id.ok_or(Refusal::SessionUnknown)?;
    let session = store.own_session(owner, &id).await?.ok_or(Refusal::SessionUnknown)?;
    belongs(session, caller, named)
}

/// Whose limits and budgets the call has to pass.
fn party<'a>(caller: &Caller, route: &'a Route) -> Party<'a> {
    Party {
        agent: caller.agent().id,
        user: caller.user(),
        team: caller.team().id,
        server: route.server().map(|server| server.id),
        tool: route.tool().map(|(_, tool)| tool),
    }
}

/// A session is used where it was opened, in the revision that it negotiated.
fn belongs(session: Session, caller: &Caller, named: &SessionRef) -> Result<Session, Refusal> {
    if session.endpoint != caller.resource() {
        return Err(Refusal::SessionUnknown);
    }
    match named.header_version {
        Some(version) if version.as_str() != session.protocol_version => {
            Err(EraError::from(HeaderFault::Mismatch(header::PROTOCOL_VERSION)).into())
        }
        _ => Ok(session),
    }
}

/// Names the limit that is closest to the caller of those that refuse; where a place is not free, that only where no
/// ring refuses: for a ring it can be said how long it takes.
fn refused(
    caller: &Caller,
    limits: &[&Limit],
    by: &[RingKey],
    full: &[LimitId],
    remaining: impl Fn(RingKey) -> u32,
    retry_after_s: u32,
) -> Refusal {
    let of = |id: LimitId| limits.iter().find(|limit| limit.id == id);
    let rings = by.iter().filter_map(|ring| {
        let limit = of(ring.limit)?;
        let what = match ring.meter {
            Meter::Requests(Class::Executing | Class::Discovery) => Exhausted::Requests(limit.requests?),
            Meter::Tokens => Exhausted::Tokens(limit.tokens?),
        };
        Some((limit, what, remaining(*ring)))
    });
    let places =
        full.iter().filter_map(|id| of(*id).and_then(|limit| Some((limit, Exhausted::Places(limit.concurrency?), 0))));
    let all: Vec<_> = rings.chain(places).collect();
    let violated = all.iter().map(|(limit, what, _)| headers::policy_name(&limit.name, what.unit())).collect();
    let Some((limit, what, remaining)) = all.into_iter().next() else { unreachable!("something refuses") };
    Refusal::LimitReached {
        id: limit.id,
        limit: limit.name.clone(),
        on: limit.on,
        agent: caller.agent().name.clone(),
        what,
        remaining,
        violated,
        retry_after_s,
    }
}

/// Names the budget that is closest to the caller of those that refuse.
fn overspent(caller: &Caller, spending: &Spending, over: BudgetId, spent: &[SpendState]) -> Refusal {
    let about = spending.about(over).and_then(|(budget, index, cost)| Some((budget, spent.get(index)?, cost)));
    let Some((budget, state, cost)) = about else { unreachable!("what refuses was asked") };
    Refusal::BudgetExhausted(Box::new(Overspent {
        budget: budget.name.clone(),
        on: budget.on,
        agent: caller.agent().name.clone(),
        currency: budget.currency,
        amount: budget.amount,
        spent: budget.money(state.spent),
        expected_cost: cost,
        reset_at: budget.period(spending.at()).end,
    }))
}
