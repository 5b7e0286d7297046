//! The store in this process, for `tollgate dev` and for a single data plane.
//!
//! Invariant: one mutex, never held across an await, and what has expired is swept, so that memory is bounded by
//! what is alive.

mod bridge_leg;
mod listing;
mod mail;
mod reading;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use tokio::time::Instant;
use tollgate_proto::{CallId, LimitId, ServerId, TenantId};
use uuid::Uuid;

use super::{
    MailboxId, NAME_IDLE_S, PLACE_S, SESSION_GRACE_S, SESSION_IDLE_S, SESSION_LIFE_S, SUBSCRIPTIONS_MAX, StoreError,
    admission::{
        Admission, Charge, ChargedAt, Demand, Loaded, Place, RingKey, RingState, Settled, Settlement, Verdict,
    },
    announcement::Announcer,
    bell::Bells,
    ring::{Ring, Shape},
    session::{Leg, Owner, Session, SessionId, Subscribed, Subscription},
    spending::{BudgetKey, SPENT_MAX, Spend, SpendState, require_known},
};

const SWEEP_EVERY_S: u64 = 30;
/// An agent that opens more loses the one it has not used for the longest time.
const SESSIONS_PER_OWNER_MAX: usize = 1_000;
/// Beyond this, the quarter that was not used for the longest time is forgotten.
const NAMES_MAX: usize = 20_000;

/// Seconds since the Unix epoch; must not go back.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Clock {
    /// A clock that asks `seconds`.
    pub fn new(seconds: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(seconds))
    }

    /// The system's time at this moment, carried on by the monotonic clock.
    #[must_use]
    pub fn system() -> Self {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let origin = Instant::now();
        Self::new(move || (started + origin.elapsed()).as_secs())
    }

    fn now_s(&self) -> u64 {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({} s)", self.now_s())
    }
}

/// Sessions, rings, names and mailboxes of this process.
#[derive(Debug)]
pub struct Store {
    id: Uuid,
    clock: Clock,
    state: Mutex<State>,
    bells: Bells,
    announcer: Announcer,
}

#[derive(Debug, Default)]
struct State {
    sessions: HashMap<Owner, HashMap<SessionId, Held>>,
    rings: HashMap<(TenantId, RingKey), Ring>,
    /// The calls that run under each limit, by when they are taken for lost.
    running: HashMap<(TenantId, LimitId), HashMap<CallId, u64>>,
    /// What is spent of each budget, and until when anybody asks.
    spent: HashMap<(TenantId, BudgetKey), (u64, u64)>,
    names: HashMap<TenantId, HashMap<Box<str>, Name>>,
    names_count: usize,
    mailboxes: HashMap<(Owner, MailboxId), mail::Mailbox>,
    bridge_legs: HashMap<bridge_leg::BridgeKey, bridge_leg::Held>,
    /// Who has each lease, and until when.
    leases: HashMap<(Owner, MailboxId), (Uuid, u64)>,
    /// Until when each mark stands.
    marks: HashMap<bridge_leg::MarkKey, u64>,
    next_sweep_s: u64,
}

#[derive(Debug)]
struct Held {
    session: Session,
    idle_until_s: u64,
    ends_s: u64,
}

#[derive(Debug)]
struct Name {
    server: ServerId,
    tool: String,
    idle_until_s: u64,
}

impl Default for Store {
    fn default() -> Self {
        Self::with_clock(Clock::system())
    }
}

impl Store {
    /// An empty store that lives by another clock.
    #[must_use]
    pub fn with_clock(clock: Clock) -> Self {
        let (id, state) = (Uuid::new_v4(), Mutex::default());
        Self { id, clock, state, bells: Bells::default(), announcer: Announcer::default() }
    }

    pub(super) fn create_session(&self, session: &Session) -> Result<SessionId, StoreError> {
        let id = SessionId::generate()?;
        let (mut state, now_s) = self.lock();
        let held =
            Held { session: session.clone(), idle_until_s: now_s + SESSION_IDLE_S, ends_s: now_s + SESSION_LIFE_S };
        let sessions = state.sessions.entry(session.owner).or_default();
        if sessions.len() >= SESSIONS_PER_OWNER_MAX {
            let idlest = sessions.iter().min_by_key(|(_, held)| held.idle_until_s).map(|(id, _)| *id);
            idlest.and_then(|id| sessions.remove(&id));
        }
        sessions.insert(id, held);
        Ok(id)
    }

    pub(super) fn put_leg(&self, owner: Owner, id: &SessionId, server: ServerId, leg: &Leg) -> bool {
        self.edit(owner, id, |session| session.legs.insert(server, leg.clone())).is_some()
    }

    pub(super) fn put_log_level(&self, owner: Owner, id: &SessionId, level: &str) -> bool {
        self.edit(owner, id, |session| session.log_level = Some(level.to_owned())).is_some()
    }

    pub(super) fn subscribe(&self, owner: Owner, id: &SessionId, subscription: &Subscription) -> Subscribed {
        let subscribed = self.edit(owner, id, |session| {
            let subscriptions = &mut session.subscriptions;
            if subscriptions.len() == SUBSCRIPTIONS_MAX && !subscriptions.contains(subscription) {
                return Subscribed::Full;
            }
            subscriptions.insert(subscription.clone());
            Subscribed::Kept
        });
        subscribed.unwrap_or(Subscribed::NoSession)
    }

    pub(super) fn unsubscribe(&self, owner: Owner, id: &SessionId, subscription: &Subscription) -> bool {
        self.edit(owner, id, |session| session.subscriptions.remove(subscription)).is_some()
    }

    /// Changes a session that lives; `None`: there is none.
    fn edit<T>(&self, owner: Owner, id: &SessionId, change: impl FnOnce(&mut Session) -> T) -> Option<T> {
        let (mut state, now_s) = self.lock();
        state.live_session(owner, id, now_s).map(|held| change(&mut held.session))
    }

    pub(super) fn remove_session(&self, owner: Owner, id: &SessionId) -> Option<Session> {
        let (mut state, now_s) = self.lock();
        state.live_session(owner, id, now_s)?;
        let sessions = state.sessions.get_mut(&owner)?;
        let removed = sessions.remove(id);
        if sessions.is_empty() {
            state.sessions.remove(&owner);
        }
        removed.map(|held| held.session)
    }

    pub(super) fn expired_sessions(&self, tenant: TenantId, count_max: usize) -> Vec<(SessionId, Session)> {
        let (mut state, now_s) = self.lock();
        let mut expired = Vec::new();
        for (_, sessions) in state.sessions.iter_mut().filter(|(owner, _)| owner.tenant == tenant) {
            let over = sessions.iter().filter(|(_, held)| !held.is_live(now_s)).map(|(id, _)| *id);
            let over: Vec<_> = over.take(count_max - expired.len()).collect();
            expired.extend(over.into_iter().filter_map(|id| Some((id, sessions.remove(&id)?.session))));
        }
        state.sessions.retain(|_, sessions| !sessions.is_empty());
        expired
    }

    pub(crate) fn admit(
        &self,
        owner: Owner,
        session: Option<&SessionId>,
        demand: &Demand,
    ) -> Result<Admission, StoreError> {
        let Demand { charges, places, spends } = demand;
        let (mut state, now_s) = self.lock();
        let session = match session {
            None => Loaded::NotAsked,
            Some(id) => match state.live_session(owner, id, now_s) {
                None => return Ok(Admission::without_session()),
                Some(held) => {
                    held.idle_until_s = now_s + SESSION_IDLE_S;
                    Loaded::Found(Box::new(held.session.clone()))
                }
            },
        };
        let mut rings: Vec<RingState> =
            charges.iter().map(|charge| state.ring(owner.tenant, charge, now_s).state(charge, now_s)).collect();
        let mut running: Vec<u32> =
            places.iter().map(|place| state.running(owner.tenant, place.limit, now_s).len() as u32).collect();
        let full = places.iter().zip(&running).filter(|(place, running)| **running >= place.places);
        let full = full.map(|(place, _)| place.limit).collect();
        let counted = |spend: &Spend| state.spent.get(&(owner.tenant, spend.key)).map(|(spent, _)| *spent);
        let mut spent: Vec<SpendState> = spends.iter().map(|spend| spend.judge(counted(spend))).collect();
        require_known(&spent)?;
        let verdict = Verdict::of(demand, &rings, full, &spent);
        let mut charged_at = ChargedAt::default();
        if verdict == Verdict::Admitted {
            for (place, running) in places.iter().zip(&mut running) {
                state.running(owner.tenant, place.limit, now_s).insert(place.call, now_s + PLACE_S);
                *running += 1;
            }
            for (charge, after) in charges.iter().zip(&mut rings) {
                let ring = state.ring(owner.tenant, charge, now_s);
                charged_at.0.push(ring.charge(charge.cost));
                *after = RingState { retry_after_s: 0, ..ring.state(charge, now_s) };
            }
            for (spend, after) in spends.iter().zip(&mut spent) {
                after.spent += spend.cost;
                state.spent.insert((owner.tenant, spend.key), (after.spent, now_s + spend.lasts_s));
            }
        }
        Ok(Admission { session, verdict, rings, running, spent, charged_at, shown: None })
    }

    /// Whether anything is counted.
    pub(crate) fn has_rings(&self) -> bool {
        !self.lock().0.rings.is_empty()
    }

    /// What every ring counts now, as one charge each; they are empty after it.
    pub(crate) fn take_rings(&self) -> HashMap<TenantId, Vec<Charge>> {
        let (mut state, now_s) = self.lock();
        let mut tenants: HashMap<_, Vec<_>> = HashMap::new();
        for ((tenant, key), mut ring) in state.rings.drain() {
            ring.roll(now_s);
            let counted = ring.counted(key);
            if counted.cost > 0 {
                tenants.entry(tenant).or_default().push(counted);
            }
        }
        tenants
    }

    pub(crate) fn settle(&self, tenant: TenantId, Settled { charges, places, spends }: Settled<'_>) {
        let (mut state, now_s) = self.lock();
        for Settlement { charge, slot, actual } in charges {
            state.ring(tenant, charge, now_s).settle(*slot, charge.cost, *actual);
        }
        for place in places {
            state.running(tenant, place.limit, now_s).remove(&place.call);
        }
        for settled in spends {
            // What is not counted here any more the ledger has, or will have.
            if let Some((spent, _)) = state.spent.get_mut(&(tenant, settled.key)) {
                *spent = spent.saturating_add_signed(settled.difference()).min(2 * SPENT_MAX);
            }
        }
    }

    pub(super) fn keep_places(&self, tenant: TenantId, places: &[Place]) {
        let (mut state, now_s) = self.lock();
        for place in places {
            state.running(tenant, place.limit, now_s).insert(place.call, now_s + PLACE_S);
        }
    }

    pub(super) fn remember_name(&self, tenant: TenantId, federated: &str, server: ServerId, tool: &str) {
        let (mut state, now_s) = self.lock();
        if state.names_count >= NAMES_MAX {
            state.forget_idlest_names();
        }
        let name = Name { server, tool: tool.to_owned(), idle_until_s: now_s + NAME_IDLE_S };
        if state.names.entry(tenant).or_default().insert(federated.into(), name).is_none() {
            state.names_count += 1;
        }
    }

    pub(super) fn recall_name(&self, tenant: TenantId, federated: &str) -> Option<(ServerId, String)> {
        let (mut state, now_s) = self.lock();
        let name = state.names.get_mut(&tenant)?.get_mut(federated).filter(|name| name.idle_until_s > now_s)?;
        name.idle_until_s = now_s + NAME_IDLE_S;
        Some((name.server, name.tool.clone()))
    }

    pub(super) const fn bells(&self) -> &Bells {
        &self.bells
    }

    pub(super) const fn announcer(&self) -> &Announcer {
        &self.announcer
    }

    /// The state, swept when it is time, and the current second.
    fn lock(&self) -> (MutexGuard<'_, State>, u64) {
        let now_s = self.clock.now_s();
        // Every change of the state is complete before anything could panic, so a poisoned lock is usable.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if now_s >= state.next_sweep_s {
            state.sweep(now_s);
        }
        (state, now_s)
    }
}

impl State {
    fn live_session(&mut self, owner: Owner, id: &SessionId, now_s: u64) -> Option<&mut Held> {
        self.sessions.get_mut(&owner)?.get_mut(id).filter(|held| held.is_live(now_s))
    }

    /// The charge's ring, rolled to now; a new one when there is none or the window has other slots.
    fn ring(&mut self, tenant: TenantId, charge: &Charge, now_s: u64) -> &mut Ring {
        let shape = Shape::of(charge.window_s);
        let ring = self.rings.entry((tenant, charge.key)).or_insert_with(|| Ring::new(charge.window_s, now_s));
        if ring.shape() != shape {
            *ring = Ring::new(charge.window_s, now_s);
        }
        ring.roll(now_s);
        ring
    }

    /// The calls that run under a limit, without those that are lost.
    fn running(&mut self, tenant: TenantId, limit: LimitId, now_s: u64) -> &mut HashMap<CallId, u64> {
        let running = self.running.entry((tenant, limit)).or_default();
        running.retain(|_, until_s| now_s < *until_s);
        running
    }

    fn sweep(&mut self, now_s: u64) {
        self.next_sweep_s = now_s + SWEEP_EVERY_S;
        self.sessions.retain(|_, sessions| {
            sessions.retain(|_, held| held.is_live(now_s.saturating_sub(SESSION_GRACE_S)));
            !sessions.is_empty()
        });
        self.rings.retain(|_, ring| !ring.is_over(now_s));
        self.running.retain(|_, running| running.values().any(|until_s| now_s < *until_s));
        self.spent.retain(|_, (_, until_s)| now_s < *until_s);
        self.retain_names(|name| name.idle_until_s > now_s);
        self.mailboxes.retain(|_, mailbox| mailbox.is_live(now_s));
        self.bridge_legs.retain(|_, held| held.is_kept(now_s));
        self.leases.retain(|_, (_, until_s)| now_s < *until_s);
        self.marks.retain(|_, until_s| now_s < *until_s);
    }

    fn forget_idlest_names(&mut self) {
        let mut ends: Vec<u64> = self.names.values().flat_map(HashMap::values).map(|name| name.idle_until_s).collect();
        let quarter = ends.len() / 4;
        let (_, &mut bound, _) = ends.select_nth_unstable(quarter);
        // Names of the same second as the bound go until the quarter is full.
        let mut surplus = quarter + 1;
        self.retain_names(|name| {
            let goes = name.idle_until_s <= bound && surplus > 0;
            surplus -= usize::from(goes);
            !goes
        });
    }

    fn retain_names(&mut self, mut stays: impl FnMut(&Name) -> bool) {
        self.names.retain(|_, names| {
            names.retain(|_, name| stays(name));
            !names.is_empty()
        });
        self.names_count = self.names.values().map(HashMap::len).sum();
    }
}

impl Held {
    const fn is_live(&self, now_s: u64) -> bool {
        now_s < self.idle_until_s && now_s < self.ends_s
    }
}
