//! The pages of one server's list.
//!
//! Invariant: what is asked of a server for one page of a merged list is bounded in pages and bytes, whatever the
//! server answers; what a server allows to be kept is asked for once.

use std::{collections::HashSet, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    super::{
        ask::{Ask, Fault, Outgoing},
        speech::{self, Speech, Tongue},
    },
    Exchange, Listed, Missing, PAGE_ITEMS, Page, Place, Trail,
};
use crate::{
    bridge::{to_legacy, to_modern},
    mcp::{
        json::{self, Kind, Object, ObjectWriter, Raw},
        message::{MetaValue, RequestId, write_request},
        method::{ListKind, Method},
        version::{Era, ProtocolVersion},
    },
    policy::Server,
    refusal::Refusal,
    stage::{admit::Admitted, authorize::View, identify::Caller, route::Merge},
    upstream::{answer::AnswerFault, offers::Question},
};

/// Pages of one server that one page of a merged list asks for at most: it comes out shorter then.
const PAGES_AT_ONCE: usize = 100;
/// Of all these pages together.
const BYTES_MAX: usize = 32 * 1024 * 1024;
/// A server's cursor travels within ours.
const CURSOR_BYTES_MAX: usize = 4 * 1024;
/// JSON-RPC: what MCP servers answer to a cursor that they do not know.
const INVALID_PARAMS: i64 = -32602;
/// JSON-RPC: the method is not there.
const METHOD_NOT_FOUND: i64 = -32601;

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
            shown += new.filter(|item| self.view.shows(kind, &self.server.name, &label(kind, item))).count();
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

/// What came of a request of our own, when it was no result.
enum Asking {
    /// An error, with its code.
    Answered(Option<i64>),
    /// Nothing that can be used.
    Fault(Fault),
}

impl From<Fault> for Asking {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// The tools of all pages, for whoever has to know them all.
///
/// # Errors
/// How the server failed; a list that has no end or grows beyond measure is a failure too.
pub async fn pages(ask: &Ask, speech: &Speech) -> Result<Vec<Raw>, Fault> {
    let (mut tools, mut bytes, mut cursor) = (Vec::new(), 0, None::<String>);
    let (mut trail, mut walked) = (Trail::default(), HashSet::new());
    loop {
        let asked = ask_for(ask, speech, Method::ToolsList, cursor.as_deref()).await;
        let result = asked.map_err(|asking| match asking {
            Asking::Fault(fault) => fault,
            Asking::Answered(_) => invalid("an error instead of its list"),
        })?;
        let members = result.object().ok_or_else(|| invalid("a result that is no object"))?;
        tools.extend(items(ListKind::Tools, &members)?);
        bytes += result.as_bytes().len();
        if bytes > BYTES_MAX {
            return Err(invalid("a list that is too large"));
        }
        let Some(next) = next_cursor(&members)? else { return Ok(tools) };
        let stepped = trail.step(&next).ok().filter(|_| walked.insert(next.clone()));
        trail = stepped.ok_or_else(|| invalid("a list without end"))?;
        cursor = Some(next);
    }
}

/// What an item of a list is known by at its server. One that has none is known to no grant.
#[must_use]
pub fn label(kind: ListKind, item: &Raw) -> String {
    let member = match kind {
        ListKind::Tools | ListKind::Prompts => "name",
        ListKind::Resources | ListKind::Skills => "uri",
        ListKind::ResourceTemplates => "uriTemplate",
    };
    let members = item.object().unwrap_or_default();
    members.get(member).and_then(|label| label.as_str().map(String::from)).unwrap_or_default()
}

/// A request of Tollgate's own; `fill` writes what params have beside `_meta`.
fn server_request(
    id: &RequestId,
    method: Method,
    is_modern: bool,
    meta: &[(&str, MetaValue<'_>)],
    fill: impl FnOnce(&mut ObjectWriter<'_>),
) -> Bytes {
    write_request(id, method.as_str(), |params| {
        fill(params);
        params.object("_meta", |entries| {
            if is_modern {
                introduce(entries);
            }
            for (key, value) in meta {
                if let MetaValue::Text(text) = value {
                    entries.text(key, text);
                }
            }
        });
    })
}

async fn ask_for(ask: &Ask, speech: &Speech, method: Method, cursor: Option<&str>) -> Result<Raw, Asking> {
    let id = RequestId::Text(uuid::Uuid::new_v4().to_string().into());
    let is_modern = matches!(speech.tongue, Tongue::Modern);
    let write = |meta: &[(&str, MetaValue<'_>)]| {
        server_request(&id, method, is_modern, meta, |params| {
            if let Some(cursor) = cursor {
                params.text("cursor", cursor);
            }
        })
    };
    let name = method.as_str();
    let outgoing = Outgoing { headers: speech.plain_headers(name), method: name, tool: "", write: &write };
    let answered = Exchange::open(ask, speech, id.clone(), outgoing).await?.answer().await.map_err(Fault::from)?;
    let code = answered.error_code();
    answered.outcome.map_err(|_| Asking::Answered(code))
}

fn items(kind: ListKind, members: &Object) -> Result<Vec<Raw>, Fault> {
    let items = members.get(kind.member()).and_then(Raw::array);
    items.ok_or_else(|| invalid(&format!("a result without `{}`", kind.member())))
}

/// An empty text is a cursor too: only its absence ends the list.
fn next_cursor(members: &Object) -> Result<Option<String>, Fault> {
    let next = members.get("nextCursor").and_then(|next| next.as_str().map(String::from));
    match next {
        Some(next) if next.len() > CURSOR_BYTES_MAX => Err(invalid("a cursor that is too long")),
        next => Ok(next),
    }
}

/// What a modern request says of its client: here Tollgate itself, which can be asked nothing.
fn introduce(entries: &mut ObjectWriter<'_>) {
    entries.text("io.modelcontextprotocol/protocolVersion", ProtocolVersion::NEWEST_MODERN.as_str());
    entries.object("io.modelcontextprotocol/clientCapabilities", |_| {});
    entries.object("io.modelcontextprotocol/clientInfo", |info| {
        info.text("name", "tollgate");
        info.text("version", env!("CARGO_PKG_VERSION"));
    });
}

fn invalid(what: &str) -> Fault {
    AnswerFault::Invalid(what.to_owned()).into()
}
