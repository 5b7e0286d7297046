//! The pages of one server's list.
//!
//! Invariant: what is asked of a server for one page of a merged list is bounded in pages and bytes, whatever the
//! server answers; what a server allows to be kept is asked for once.

use std::{collections::HashSet, sync::Arc, time::Duration};

use super::{
    super::{
        ask::{Ask, Fault},
        speech::{self, Speech, Tongue},
    },
    Listed, Missing, PAGE_ITEMS, Page, Place,
    walk::{Asking, METHOD_NOT_FOUND, ask_for, invalid, items, label, next_cursor},
};
use crate::{
    bridge::{to_legacy, to_modern},
    mcp::{
        json::{self, Kind, Raw},
        method::ListKind,
        version::Era,
    },
    policy::Server,
    refusal::Refusal,
    stage::{admit::Admitted, authorize::View, identify::Caller, route::Merge},
    upstream::offers::Question,
};

/// Pages of one server that one page of a merged list asks for at most: it comes out shorter then.
const PAGES_AT_ONCE: usize = 100;
/// Of all these pages together.
const BYTES_MAX: usize = 32 * 1024 * 1024;
/// JSON-RPC: what MCP servers answer to a cursor that they do not know.
const INVALID_PARAMS: i64 = -32602;

/// Reads one server's list.
pub struct Reader<'a> {
    pub ask: &'a Ask,
    pub caller: &'a Caller,
    pub admitted: &'a Admitted,
    pub view: &'a View,
    pub errand: &'a Merge,
    pub server: &'a Arc<Server>,
}

impl Reader<'_> {
    /// As much as one page of a merged list can need, from this place on.
    pub(super) async fn listed(&self, from: Place) -> Result<Listed, Missing> {
        let kind = self.errand.kind;
        let counter = self.view.at(kind, &self.server.name);
        let mut walked: HashSet<String> = from.cursor.iter().cloned().collect();
        let (mut place, mut speech) = (from, None);
        let (mut pages, mut shown, mut bytes, mut ttl) = (Vec::new(), 0, 0, Duration::MAX);
        loop {
            let Answered { result, ttl: page_ttl, is_modern } = self.page(&mut speech, &place).await?;
            let members = result.object().unwrap_or_default();
            let items = items(kind, &members).map_err(|fault| self.failed(&fault))?;
            bytes += result.as_bytes().len();
            if bytes > BYTES_MAX {
                return Err(self.failed(&invalid("a list that is too large")));
            }
            let new = items.iter().skip(place.skip);
            shown += new.filter(|item| counter.shows(&label(kind, item))).count();
            ttl = ttl.min(page_ttl);
            let next = next_cursor(&members).map_err(|fault| self.failed(&fault))?;
            let trail = place.trail;
            let server = place.server.clone();
            let is_same = (self.errand.era, is_modern) == (Era::Legacy, false);
            let items = if kind == ListKind::Tools && !is_same {
                // Tools whose annotations break a rule are shown to nobody; what the others' headers mirror is learnt.
                let is_whole = place.cursor.is_none() && next.is_none();
                let usable = self.ask.gateway().upstreams.schemas().of(self.server.id).learn(items, is_whole);
                match self.errand.era {
                    Era::Legacy => usable.into_iter().map(to_modern::outcome::tool).collect(),
                    Era::Modern if is_modern => usable,
                    Era::Modern => usable.iter().filter_map(to_legacy::outcome::tool).collect(),
                }
            } else {
                items
            };
            pages.push(Page { at: place, items });
            let Some(cursor) = next else { return Ok(Listed { pages, rest: None, ttl }) };
            let trail = trail.step(&cursor).ok().filter(|_| walked.insert(cursor.clone()));
            let trail = trail.ok_or_else(|| self.failed(&invalid("a list without end")))?;
            place = Place { server, cursor: Some(cursor), skip: 0, trail };
            if shown >= PAGE_ITEMS || pages.len() >= PAGES_AT_ONCE {
                return Ok(Listed { pages, rest: Some(place), ttl });
            }
        }
    }

    /// One page, as it was kept or as the server gives it, and for how long it may be kept.
    async fn page(&self, speech: &mut Option<Speech>, place: &Place) -> Result<Answered, Missing> {
        let Self { ask, caller, admitted, server, errand, .. } = *self;
        let (offers, method) = (ask.gateway().upstreams.offers(), errand.kind.method());
        let question = Question::new(admitted.owner(), server, method, place.cursor.as_deref());
        let kept = || offers.get(&question).map(|(result, ttl)| Answered { result, ttl, is_modern: true });
        if let Some(kept) = kept() {
            return Ok(kept);
        }
        let chosen = match speech {
            Some(speech) => speech.clone(),
            None => {
                speech.insert(speech::choose(ask, caller, admitted, errand.era, &errand.request, server).await?).clone()
            }
        };
        if let Tongue::Legacy(_) = chosen.tongue {
            let result = self.asked_in_session(speech, chosen, place).await?;
            return Ok(Answered { result, ttl: Duration::ZERO, is_modern: false });
        }
        let flight = offers.flight(&question);
        let flying = if let Ok(first) = flight.try_lock() {
            Some(first)
        } else {
            // What another call was answered may serve this one too; else nobody waits for anybody.
            drop(flight.lock().await);
            if let Some(kept) = kept() {
                return Ok(kept);
            }
            None
        };
        let moment = offers.moment();
        let result = self.read(ask_for(ask, &chosen, method, place.cursor.as_deref()).await, place)?;
        let members = result.object().unwrap_or_default();
        items(errand.kind, &members).map_err(|fault| self.failed(&fault))?;
        let ttl = offers.keep(&question, &result, moment);
        drop(flying);
        Ok(Answered { result, ttl, is_modern: true })
    }

    /// One page of a legacy server. A session that it has forgotten is opened anew.
    async fn asked_in_session(
        &self,
        speech: &mut Option<Speech>,
        chosen: Speech,
        place: &Place,
    ) -> Result<Raw, Missing> {
        let Self { ask, caller, admitted, errand, .. } = *self;
        let (method, cursor) = (errand.kind.method(), place.cursor.as_deref());
        let mut asked = ask_for(ask, &chosen, method, cursor).await;
        if matches!(&asked, Err(Asking::Fault(fault)) if chosen.is_lost(fault)) {
            let renewed = speech::renew(ask, caller, admitted, &errand.request, &chosen).await?;
            asked = ask_for(ask, speech.insert(renewed), method, cursor).await;
        }
        self.read(asked, place)
    }

    /// The result, where there is one. A server that has no such list has an empty one.
    fn read(&self, asked: Result<Raw, Asking>, place: &Place) -> Result<Raw, Missing> {
        match asked {
            Ok(result) if result.kind() == Kind::Object => Ok(result),
            Ok(_) => Err(self.failed(&invalid("a result that is no object"))),
            Err(Asking::Answered(Some(METHOD_NOT_FOUND))) if place.cursor.is_none() => {
                Ok(json::object(|result| result.array(self.errand.kind.member(), |_| {})))
            }
            Err(Asking::Answered(Some(INVALID_PARAMS))) if place.cursor.is_some() => Err(Missing::Stale),
            Err(Asking::Answered(_)) => Err(self.failed(&invalid("an error instead of its list"))),
            Err(Asking::Fault(fault)) => Err(self.failed(&fault)),
        }
    }

    fn failed(&self, fault: &Fault) -> Missing {
        let refusal = self.ask.refusal(self.server, fault);
        match refusal {
            // A session that is lost as soon as it was opened: to the agent that is the server's failure.
            Refusal::SessionUnknown => {
                let detail = "it forgets the session that it has just opened".to_owned();
                Missing::Failed(Refusal::UpstreamInvalid { server: self.server.name.to_string(), detail })
            }
            refusal => Missing::Failed(refusal),
        }
    }
}

/// A page as the server gave it.
struct Answered {
    result: Raw,
    /// For how long it may be kept.
    ttl: Duration,
    /// Whether the server is of the modern era.
    is_modern: bool,
}
