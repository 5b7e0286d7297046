//! Stage 6, admit: one round trip to the store that loads the session and charges every limit that applies.
//!
//! Invariant: a refused call is charged nowhere, and no server has seen it.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    call::{Call, Charged},
    mcp::{
        era::EraError,
        header::{self, HeaderFault},
    },
    policy::Limit,
    refusal::Refusal,
    stage::{
        authorize::Permit,
        currency::Current,
        identify::Caller,
        route::{Route, SessionRef},
    },
    store::{Charge, Class, Loaded, Owner, RingKey, RingState, Session, SessionId, Store, Verdict},
};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

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
/// [`Refusal::RateLimited`], [`Refusal::SessionUnknown`], and [`Refusal::StoreUnavailable`] when the store is away.
pub async fn admit(
    call: &mut Call,
    store: &Store,
    caller: &Caller,
    route: &Route,
    _permit: &Permit,
    _current: &Current,
) -> Result<Admitted, Refusal> {
    let owner = owner(caller);
    let session_id = match route.session() {
        None => None,
        Some(SessionRef { id: Some(id), .. }) => Some(*id),
        Some(SessionRef { id: None, .. }) => return Err(Refusal::SessionUnknown),
    };
    let limits = &caller.agent().limits;
    let charges = route.class().map(|class| charges(limits, class)).unwrap_or_default();
    if session_id.is_none() && charges.is_empty() {
        return Ok(Admitted { owner, session: None });
    }
    let admission = store.admit(owner, session_id.as_ref(), &charges).await?;
    call.limits(rate_headers(limits, &admission.rings));
    if admission.verdict == Verdict::Admitted {
        call.charged(Charged { owner, charges, charged_at: admission.charged_at });
    }
    let session = match (admission.session, session_id, route.session()) {
        (Loaded::NotAsked, ..) => None,
        (Loaded::Found(session), Some(id), Some(named)) => Some((id, belongs(*session, caller, named)?)),
        _ => return Err(Refusal::SessionUnknown),
    };
    if let Some((_, session)) = &session {
        call.protocol_version(&session.protocol_version);
    }
    match admission.verdict {
        Verdict::Refused { by, retry_after_s } => Err(refused(caller, &by, retry_after_s)),
        Verdict::Admitted | Verdict::NotTested => Ok(Admitted { owner, session }),
    }
}

/// Whose sessions and counters this caller uses.
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
    match store.admit(owner, Some(&id), &[]).await?.session {
        Loaded::Found(session) => belongs(*session, caller, named),
        _ => Err(Refusal::SessionUnknown),
    }
}

fn charges(limits: &[Limit], class: Class) -> Vec<Charge> {
    let charge = |limit: &Limit| Charge {
        key: RingKey { limit: limit.id, class },
        limit: limit.requests,
        window_s: limit.window_s,
        cost: 1,
    };
    limits.iter().map(charge).collect()
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

fn refused(caller: &Caller, by: &[RingKey], retry_after_s: u32) -> Refusal {
    let agent = caller.agent();
    let limit = agent.limits.iter().find(|limit| by.iter().any(|ring| ring.limit == limit.id));
    Refusal::RateLimited {
        agent: agent.name.clone(),
        limit: limit.map(|limit| limit.name.clone()).unwrap_or_default(),
        requests: limit.map_or(0, |limit| limit.requests),
        window_s: limit.map_or(0, |limit| limit.window_s),
        retry_after_s,
    }
}

/// `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10).
fn rate_headers(limits: &[Limit], rings: &[RingState]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if rings.is_empty() {
        return headers;
    }
    let policy = |limit: &Limit| format!("\"{}\";q={};w={}", limit.name, limit.requests, limit.window_s);
    let state = |(limit, ring): (&Limit, &RingState)| {
        let until = ring.retry_after_s.max(ring.reset_s);
        format!("\"{}\";r={};t={until}", limit.name, ring.remaining)
    };
    let policies: Vec<String> = limits.iter().map(policy).collect();
    let states: Vec<String> = limits.iter().zip(rings).map(state).collect();
    // A limit's name is a label of RFC 1123: nothing in it needs escaping.
    for (name, value) in [(RATE_LIMIT_POLICY, policies.join(", ")), (RATE_LIMIT, states.join(", "))] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    headers
}
