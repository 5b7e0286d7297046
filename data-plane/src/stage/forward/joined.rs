//! One stream of what several servers have to say: a legacy session's GET stream and `subscriptions/listen`, at
//! endpoints that stand for more than one server.
//!
//! - `ear.rs`: a task for each server, which listens in that server's own way and begins anew when it was lost;
//! - `wanted.rs`: the part of a subscription that is one server's.
//!
//! What they hear is put together here. Events have no ids, since no single server could resume the stream.
//!
//! Invariant: no server holds up another one, and the agent hears of nothing that it may not use by the policy of now.

mod ear;
mod wanted;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};
use tokio_util::task::AbortOnDropHandle;
use tollgate_proto::ServerId;

use super::{
    Forwarded, Passing, Reply,
    ask::Ask,
    bridged,
    exchange::Exchange,
    news::{From, Pace, Voice, until},
    translation::{Same, Subject, Translation},
    watch::Watch,
};
use crate::{
    bridge::to_legacy::listen::Filter,
    mcp::{
        json,
        message::{Edit, Notification, Request},
        method::ListKind,
        uris,
        version::Era,
    },
    policy::Server,
    refusal::Refusal,
    stage::{
        admit::Admitted,
        authorize::{Sight, View},
        identify::{Caller, identify_again},
        relay::list::{LeftOut, write_left_out},
    },
    store::{Announcement, Announcements, ChangedList, SessionId},
};
use ear::{Ear, Said, To};

/// Messages that wait for an agent that reads slowly.
const QUEUED: usize = 64;
/// For how long servers may keep the others from being acknowledged.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(3);

/// Opens the stream of a legacy session.
///
/// # Errors
/// [`Refusal::SessionRequired`] without one.
pub async fn of_session(ask: &Ask, caller: &Caller, admitted: &Admitted) -> Result<Forwarded, Refusal> {
    let (session, _) = admitted.session().ok_or(Refusal::SessionRequired)?;
    let watch = Watch::take(Arc::clone(ask.shared()), admitted.owner(), *session).await;
    let heard = Joined::begin(ask, caller, Guest::Session(*session));
    let exchange = Exchange::of_many(ask, None, heard);
    let translation = Translation::Same(Same { era: Era::Legacy, subject: Subject::Stream, mapping: None });
    let passing = Passing { watch: Some(Box::new(watch)), ..Passing::new(exchange, None, translation) };
    Ok(Forwarded::plain(Reply::Passing(Box::new(passing))))
}

/// Answers `subscriptions/listen`.
///
/// # Errors
/// When the request says nothing to listen to.
pub fn of_request(ask: &Ask, caller: &Caller, request: Request) -> Result<Forwarded, Refusal> {
    let (id, filter) = (request.id.clone(), bridged::listen::filter_of(&request)?);
    let heard = Joined::begin(ask, caller, Guest::Subscription { request, filter });
    let exchange = Exchange::of_many(ask, Some(id.clone()), heard);
    Ok(Forwarded::plain(Reply::Passing(Box::new(Passing::new(exchange, Some(id), Translation::Done)))))
}

/// Who listens.
#[derive(Debug)]
enum Guest {
    /// A legacy session.
    Session(SessionId),
    /// A modern request, with what it asks for.
    Subscription { request: Request, filter: Filter },
}

/// What is heard of several servers, on its way to one agent.
struct Joined {
    ask: Ask,
    caller: Caller,
    guest: Guest,
    voice: Voice,
    pace: Pace,
    places: BTreeMap<ServerId, Place>,
    announcements: Announcements,
    /// Where ears say what they hear.
    tell: mpsc::Sender<(ServerId, Said)>,
    told: mpsc::Receiver<(ServerId, Said)>,
    /// What the agent is to hear next.
    out: VecDeque<Bytes>,
    say: mpsc::Sender<Bytes>,
}

/// One server of the endpoint.
struct Place {
    server: Arc<Server>,
    sight: Sight,
    to: Option<To>,
    _ear: Option<AbortOnDropHandle<()>>,
}

impl Joined {
    /// Begins to listen, for as long as anybody reads what is heard.
    fn begin(ask: &Ask, caller: &Caller, guest: Guest) -> mpsc::Receiver<Bytes> {
        let ((say, heard), (tell, told)) = (mpsc::channel(QUEUED), mpsc::channel(QUEUED));
        let voice = match &guest {
            Guest::Session(_) => Voice::Session,
            Guest::Subscription { request, .. } => Voice::of_request(request),
        };
        let joined = Self {
            announcements: ask.gateway().store.announcements(),
            ask: ask.clone(),
            caller: caller.clone(),
            guest,
            voice,
            pace: Pace::default(),
            places: BTreeMap::new(),
            tell,
            told,
            out: VecDeque::new(),
            say,
        };
        tokio::spawn(joined.run());
        heard
    }

    async fn run(mut self) {
        let mut changes = self.ask.gateway().policies.changes();
        self.look();
        // Everything is new at first, and nothing of it news.
        self.pace = Pace::default();
        self.acknowledge().await;
        loop {
            let due = self.pace.due(Instant::now());
            self.out.extend(due.into_iter().filter_map(|list| self.voice.changed(list)));
            while let Some(message) = self.out.pop_front() {
                if self.say.send(message).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                () = self.say.closed() => return,
                Some((server, said)) = self.told.recv() => self.heard(server, said),
                announcement = self.announcements.next() => self.announced(&announcement),
                // The sender lives as long as the gateway, so waiting cannot fail.
                _ = changes.changed() => self.look_again(),
                () = until(self.pace.next()) => {}
            }
        }
    }

    /// Tells a modern agent what it will hear of: all that its servers honour. What says nothing in time, or fails, is
    /// left out and named; when it is heard later on, lists may have changed.
    async fn acknowledge(&mut self) {
        let Guest::Subscription { request, filter } = &self.guest else { return };
        let id = request.id.clone();
        let allowed = wanted::allowed(filter, &self.view(), &sights(&self.places));
        self.voice = Voice::Subscription { id: id.clone(), filter: allowed.clone() };
        let deadline = Instant::now() + ACKNOWLEDGED_WITHIN;
        let listening = self.places.iter().filter(|(_, place)| place.to.is_some());
        let mut awaited: BTreeSet<ServerId> = listening.map(|(server, _)| *server).collect();
        let (mut honoured, mut left_out) = (Vec::new(), Vec::<LeftOut>::new());
        while !awaited.is_empty() {
            let Ok(Some((server, said))) = timeout_at(deadline, self.told.recv()).await else { break };
            match said {
                Said::Listens(filter) => {
                    awaited.remove(&server);
                    let heard = self.places.get(&server).zip(filter);
                    honoured.extend(heard.map(|(place, filter)| wanted::at_endpoint(&place.server, filter)));
                }
                Said::Failed(reason) => {
                    if awaited.remove(&server) {
                        left_out.extend(self.places.get(&server).map(|place| (place.server.name.clone(), reason)));
                    }
                }
                said => self.heard(server, said),
            }
        }
        let late = awaited.iter().filter_map(|server| self.places.get(server));
        left_out.extend(late.map(|place| (place.server.name.clone(), "upstream_timeout")));
        self.ask.note_left_out(&left_out);
        let meta = json::object(|meta| write_left_out(meta, &left_out)).object().unwrap_or_default();
        self.out.push_front(wanted::honoured(&allowed, &honoured).acknowledged(&id, &meta));
    }

    /// Has an ear at every server that the caller deals with, and says which lists may differ from what they were.
    fn look(&mut self) {
        let now = self.ask.gateway().now();
        let view = View::new(&self.caller, now);
        let mut before = std::mem::take(&mut self.places);
        for server in self.caller.servers() {
            let Some(sight) = Sight::of(&view, server) else { continue };
            let old = before.remove(&server.id);
            for list in Sight::changed(old.as_ref().map(|place| &place.sight), Some(&sight)) {
                self.pace.heard(From::Policy, server.id, list, Instant::now());
            }
            let to = self.wanted_of(server, &sight, now);
            let place = match old.filter(|old| old.sight.is_registered_as(&sight) && old.to == to) {
                Some(old) => Place { server: Arc::clone(server), sight, ..old },
                None => {
                    Place { server: Arc::clone(server), sight, _ear: to.clone().map(|to| self.ear(server, to)), to }
                }
            };
            self.places.insert(server.id, place);
        }
        for (server, place) in before {
            for list in Sight::changed(Some(&place.sight), None) {
                self.pace.heard(From::Policy, server, list, Instant::now());
            }
        }
    }

    /// The policy has changed. Whoever may hear nothing any more is cut off by whoever passes this on.
    fn look_again(&mut self) {
        let policies = &self.ask.gateway().policies;
        let Ok(caller) = identify_again(&self.caller, &policies.load(), policies) else { return };
        self.ask = self.ask.by(caller.tenant());
        self.caller = caller;
        self.look();
        if let (Guest::Subscription { filter: asked, .. }, Voice::Subscription { filter, .. }) =
            (&self.guest, &mut self.voice)
        {
            let view = View::new(&self.caller, self.ask.gateway().now());
            *filter = wanted::allowed(asked, &view, &sights(&self.places));
        }
    }

    /// What is listened to at a server; `None`: nothing.
    fn wanted_of(&self, server: &Server, sight: &Sight, now: i64) -> Option<To> {
        match &self.guest {
            Guest::Session(session) => Some(To::Session(*session)),
            Guest::Subscription { request, filter } => {
                let filter = wanted::of_server(filter, &self.caller, server, sight, now);
                let own = filter.to_raw();
                let request = request.edited(&Edit { notifications: Some(&own), ..Edit::default() });
                request.filter(|_| !filter.is_empty()).map(|request| To::Subscription(Box::new(request)))
            }
        }
    }

    fn ear(&self, server: &Arc<Server>, to: To) -> AbortOnDropHandle<()> {
        let (ask, caller, server) = (self.ask.clone(), self.caller.clone(), Arc::clone(server));
        let ear = Ear { ask, caller, server, to, say: self.tell.clone() };
        AbortOnDropHandle::new(tokio::spawn(ear.listen()))
    }

    fn heard(&mut self, server: ServerId, said: Said) {
        let Some(place) = self.places.get(&server) else { return };
        match said {
            Said::Changed(list) if place.sight.has(list) => {
                self.pace.heard(From::Server, server, list, Instant::now());
            }
            Said::Updated(notification) if self.may_use(place, &notification) => {
                let uri = notification.params.uri().map(|uri| uris::wrapped(&place.server.name, uri));
                let edited = notification.edited(&Edit { uri: uri.as_deref(), ..Edit::default() });
                self.out.extend(edited.and_then(|notification| self.updated(&notification)));
            }
            Said::Missed => {
                for list in ChangedList::ALL.into_iter().filter(|list| place.sight.has(*list)) {
                    self.pace.heard(From::Policy, server, list, Instant::now());
                }
                self.out.extend(self.voice_of_missed(place));
            }
            Said::Message(data) => self.out.push_back(data),
            Said::Changed(_) | Said::Updated(_) | Said::Listens(_) | Said::Failed(_) => {}
        }
    }

    fn view(&self) -> View {
        View::new(&self.caller, self.ask.gateway().now())
    }

    /// Whether the resource may be used that has changed.
    fn may_use(&self, place: &Place, updated: &Notification) -> bool {
        let uri = updated.params.uri();
        uri.is_some_and(|uri| self.view().shows(ListKind::Resources, &place.server.name, uri))
    }

    /// A resource has changed, under the URI that it has here.
    fn updated(&self, notification: &Notification) -> Option<Bytes> {
        match &self.voice {
            Voice::Session => Some(notification.write(&Edit::default())),
            Voice::Subscription { id, filter } => filter.passed(notification, id),
        }
    }

    /// The resources of a server, of whose changes nobody heard for a while.
    fn voice_of_missed(&self, place: &Place) -> Vec<Bytes> {
        let Voice::Subscription { id, filter } = &self.voice else { return Vec::new() };
        let of_server = |uri: &str| uris::unwrapped(uri).is_some_and(|(server, _)| server == place.server.name);
        let uris = filter.uris.iter().filter(|uri| of_server(uri)).cloned().collect();
        Filter { uris, ..Filter::default() }.may_have_changed(id)
    }

    fn announced(&mut self, announcement: &Announcement) {
        let lists: Vec<(ServerId, ChangedList)> = match announcement {
            Announcement::ListChanged { server, list, told, .. } if told.as_deref() != Some(self.ask.hearer()) => {
                vec![(*server, *list)]
            }
            Announcement::Missed => {
                let all = |server: &ServerId| ChangedList::ALL.map(|list| (*server, list));
                self.places.keys().flat_map(all).collect()
            }
            _ => return,
        };
        for (server, list) in lists {
            if self.places.get(&server).is_some_and(|place| place.sight.has(list)) {
                self.pace.heard(From::Elsewhere, server, list, Instant::now());
            }
        }
    }
}

/// What the caller may use of each server.
fn sights(places: &BTreeMap<ServerId, Place>) -> Vec<&Sight> {
    places.values().map(|place| &place.sight).collect()
}
