//! What servers said of their offers and allowed to be kept: pages of lists, and `server/discover` (MCP 2026-07-28,
//! basic/utilities/caching).
//!
//! Only answers of the modern era say how long they may be kept, so all that is kept is of that era. It is kept as the
//! server gave it: what of it a caller may see is decided anew each time.
//!
//! Invariant: nothing is kept longer than the server allows, and what it did not call public is given to nobody but
//! the agent and user that it was asked for. Entries and bytes are bounded.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;
use tollgate_proto::{ServerId, TenantId};

use crate::{
    gateway::Gateway,
    mcp::{json::Raw, method::Method},
    policy::Server,
    store::{Announcement, ChangedList, Owner},
};

const ENTRIES_MAX: usize = 4_096;
const BYTES_MAX: usize = 64 * 1024 * 1024;
/// However long a server allows: a data plane that missed an announcement is not wrong for longer.
const KEPT_MAX: Duration = Duration::from_secs(60 * 60);
/// How long a server that took too long is not asked for the same again.
const REST: Duration = Duration::from_secs(5);

/// What was asked, of whom, for whom.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Question {
    tenant: TenantId,
    server: ServerId,
    /// Of how the server was registered when it was asked: whoever registers it anew has it asked anew.
    registered: u64,
    method: Method,
    cursor: Option<Box<str>>,
    /// `None`: for everybody.
    asked_for: Option<Owner>,
}

/// What servers said.
#[derive(Debug, Default)]
pub struct Offers {
    kept: Mutex<Kept>,
    /// Counts what was forgotten, so that an answer that was under way meanwhile is not kept.
    forgotten: AtomicU64,
    flights: Mutex<HashMap<Question, Weak<tokio::sync::Mutex<()>>>>,
    resting: Mutex<HashMap<(ServerId, Method), Instant>>,
}

#[derive(Debug, Default)]
struct Kept {
    answers: HashMap<Question, Answer>,
    bytes: usize,
}

#[derive(Debug)]
struct Answer {
    result: Raw,
    until: Instant,
}

/// A moment before something is asked.
#[derive(Debug, Clone, Copy)]
pub struct Moment(u64);

impl Question {
    /// This page of what the method lists, for this agent and user.
    #[must_use]
    pub fn new(owner: Owner, server: &Server, method: Method, cursor: Option<&str>) -> Self {
        let mut hasher = DefaultHasher::new();
        server.era.hash(&mut hasher);
        for instance in &server.instances {
            (instance.id, instance.url.to_string(), instance.transport).hash(&mut hasher);
        }
        Self {
            tenant: owner.tenant,
            server: server.id,
            registered: hasher.finish(),
            method,
            cursor: cursor.map(Into::into),
            asked_for: Some(owner),
        }
    }

    fn for_everybody(&self) -> Self {
        Self { asked_for: None, ..self.clone() }
    }
}

impl Offers {
    /// What the server said, and for how long that may be kept yet.
    #[must_use]
    pub fn get(&self, question: &Question) -> Option<(Raw, Duration)> {
        let (kept, now) = (self.kept(), Instant::now());
        let found = |question: &Question| kept.answers.get(question).filter(|answer| answer.until > now);
        let answer = found(question).or_else(|| found(&question.for_everybody()))?;
        Some((answer.result.clone(), answer.until - now))
    }

    /// To be taken before a server is asked for what will be kept.
    #[must_use]
    pub fn moment(&self) -> Moment {
        Moment(self.forgotten.load(Ordering::Acquire))
    }

    /// Keeps a whole answer for as long as it says itself; answers with how long that is.
    pub fn keep(&self, question: &Question, result: &Raw, asked: Moment) -> Duration {
        let (allowed, public) = hints(result);
        let size = result.as_bytes().len();
        if allowed.is_zero() || size > BYTES_MAX / 8 {
            return allowed;
        }
        let question = if public { question.for_everybody() } else { question.clone() };
        let now = Instant::now();
        let answer = Answer { result: result.clone(), until: now + allowed };
        let mut kept = self.kept();
        // Looked at under the lock that whoever forgets takes afterwards.
        if self.moment().0 == asked.0 {
            kept.make_room(size, now);
            kept.insert(question, answer);
        }
        allowed
    }

    /// Forgets what an announcement says has changed.
    pub fn heard(&self, announcement: &Announcement) {
        match announcement {
            Announcement::ListChanged { server, list, .. } => {
                self.changed(*server, *list);
            }
            Announcement::Missed => self.forget(|_| true),
            Announcement::OfferChanged { .. } | Announcement::SessionChanged { .. } | Announcement::Heard { .. } => {}
        }
    }

    /// Forgets a list that has changed.
    pub fn changed(&self, server: ServerId, list: ChangedList) {
        self.forget(|question| question.server == server && lists(list).contains(&question.method));
    }

    /// What only one caller at a time asks: whoever finds it locked waits, and may find the answer kept.
    #[must_use]
    pub fn flight(&self, question: &Question) -> Arc<tokio::sync::Mutex<()>> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(question).and_then(Weak::upgrade) {
            return flight;
        }
        flights.retain(|_, flight| flight.strong_count() > 0);
        let flight = Arc::default();
        flights.insert(question.clone(), Arc::downgrade(&flight));
        flight
    }

    /// The server took too long: it is not asked for this again for a moment.
    pub fn rest(&self, server: ServerId, method: Method) {
        let now = Instant::now();
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        resting.retain(|_, until| *until > now);
        resting.insert((server, method), now + REST);
    }

    /// Whether it took too long just before.
    #[must_use]
    pub fn rests(&self, server: ServerId, method: Method) -> bool {
        let resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        resting.get(&(server, method)).is_some_and(|until| *until > Instant::now())
    }

    fn forget(&self, forgotten: impl Fn(&Question) -> bool) {
        let mut kept = self.kept();
        self.forgotten.fetch_add(1, Ordering::Release);
        kept.retain(|question, _| !forgotten(question));
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // A panic elsewhere leaves the count of bytes wrong by one answer at most.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn insert(&mut self, question: Question, answer: Answer) {
        self.bytes += answer.result.as_bytes().len();
        if let Some(old) = self.answers.insert(question, answer) {
            self.bytes -= old.result.as_bytes().len();
        }
    }

    /// What has expired goes first, then what would expire next.
    fn make_room(&mut self, size: usize, now: Instant) {
        if self.answers.len() < ENTRIES_MAX && self.bytes + size <= BYTES_MAX {
            return;
        }
        self.retain(|_, answer| answer.until > now);
        while self.answers.len() >= ENTRIES_MAX || self.bytes + size > BYTES_MAX {
            let next = self.answers.iter().min_by_key(|(_, answer)| answer.until).map(|(question, _)| question.clone());
            let Some(answer) = next.and_then(|question| self.answers.remove(&question)) else { return };
            self.bytes -= answer.result.as_bytes().len();
        }
    }

    fn retain(&mut self, stays: impl Fn(&Question, &Answer) -> bool) {
        let bytes = &mut self.bytes;
        self.answers.retain(|question, answer| {
            let stays = stays(question, answer);
            if !stays {
                *bytes -= answer.result.as_bytes().len();
            }
            stays
        });
    }
}

/// Forgets what changes anywhere, until `stopped`.
pub async fn follow(gateway: Arc<Gateway>, stopped: CancellationToken) {
    let mut announcements = gateway.store.announcements();
    loop {
        let announcement = tokio::select! {
            announcement = announcements.next() => announcement,
            () = stopped.cancelled() => return,
        };
        gateway.upstreams.offers().heard(&announcement);
        if let Announcement::ListChanged { server, list: ChangedList::Tools, .. } = announcement {
            gateway.upstreams.schemas().forget(server);
        }
    }
}

/// How long a result may be kept, and whether for everybody. Without hints: not at all.
fn hints(result: &Raw) -> (Duration, bool) {
    let members = result.object().unwrap_or_default();
    let is_whole = members.get("resultType").and_then(Raw::as_str).is_none_or(|kind| kind == "complete");
    let ttl = members.get("ttlMs").and_then(Raw::as_u64).filter(|_| is_whole).unwrap_or_default();
    let public = members.get("cacheScope").and_then(Raw::as_str).as_deref() == Some("public");
    (Duration::from_millis(ttl).min(KEPT_MAX), public)
}

const fn lists(changed: ChangedList) -> &'static [Method] {
    match changed {
        ChangedList::Tools => &[Method::ToolsList],
        ChangedList::Prompts => &[Method::PromptsList],
        ChangedList::Resources => &[Method::ResourcesList, Method::ResourceTemplatesList],
    }
}

#[cfg(test)]
mod tests;
