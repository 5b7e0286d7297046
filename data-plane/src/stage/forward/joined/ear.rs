//! One server, listened to in its own way: the GET stream of a session's upstream session, or a subscription.
//!
//! Invariant: a server that is not heard is asked again, later each time; when it is heard again, that something may
//! have been missed is said first. A server that has nothing to say is left in peace.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use tokio::sync::mpsc;
use tollgate_proto::ServerId;

use super::super::{
    ask::{Ask, Fault, Outgoing},
    backoff::Backoff,
    bridged, era,
    exchange::{Exchange, FromServer, declined},
    federated::Mapping,
    news::changed_list,
    sessionless::{self, Listening, discovered},
    speech::{self, Speech, Tongue},
    streams,
    tasks::{self, TaskIds},
    wrapping::Wrapping,
};
use crate::{
    bridge::{to_legacy::listen::Filter, to_modern},
    mcp::{
        message::{Edit, Message, MetaValue, Notification, Request},
        method::{Method, ServerNotice},
        version::Era,
    },
    policy::Server,
    refusal::Refusal,
    stage::identify::Caller,
    store::{Announcement, Announcements, ChangedList, Leg, Session, SessionChange, SessionId},
    upstream::answer::{self, AnswerFault},
};

/// JSON-RPC: the method is not there.
const METHOD_NOT_FOUND: i64 = -32601;

/// What is heard of a server.
#[derive(Debug)]
pub(super) enum Said {
    /// It is heard from now on, to this much of a subscription, in its own names; `None`: it has nothing to say.
    Listens(Option<Filter>),
    /// It cannot be heard for the moment, for this reason.
    Failed(&'static str),
    /// It may have said something that nobody heard.
    Missed,
    /// One of its lists has changed.
    Changed(ChangedList),
    /// One of its resources has changed, under its own URI.
    Updated(Notification),
    /// Anything else, as the agent is to hear it.
    Message(Bytes),
}

/// On behalf of whom it is listened to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum To {
    /// A legacy session.
    Session(SessionId),
    /// A modern request, which asks for nothing but what this server has.
    Subscription(Box<Request>),
}

/// Who listens to one server.
#[derive(Debug)]
pub(super) struct Ear {
    pub(super) ask: Ask,
    pub(super) caller: Caller,
    pub(super) server: Arc<Server>,
    pub(super) to: To,
    pub(super) say: mpsc::Sender<(ServerId, Said)>,
}

/// How a server is heard.
enum Line {
    /// By the GET stream of an upstream session.
    Leg(Box<LegLine>),
    /// By the subscription of a legacy session.
    Listening(Box<Listening>),
    /// By a subscription.
    Subscription(Box<Exchange>, Wrapping),
    /// By a subscription that the gateway makes out of a legacy session.
    Bridge(mpsc::Receiver<Bytes>),
}

/// The GET stream of an upstream session.
struct LegLine {
    ask: Ask,
    session: SessionId,
    leg: Leg,
    exchange: Exchange,
    mapping: Mapping,
    announcements: Announcements,
}

/// Where a stream that broke off goes on.
struct Resumption {
    leg: Leg,
    last_event_id: HeaderValue,
}

/// A line that is open.
struct Opened {
    line: Line,
    honoured: Option<Filter>,
    /// Whether it goes on where the one before ended.
    is_resumed: bool,
}

impl Ear {
    /// Listens until nobody wants to hear it, or the server has nothing to say.
    pub(super) async fn listen(self) {
        let (mut backoff, mut resumption, mut was_lost) = (Backoff::default(), None, false);
        loop {
            match self.open(resumption.take()).await {
                Ok(Some(Opened { mut line, honoured, is_resumed })) => {
                    backoff.holds();
                    self.say(Said::Listens(honoured)).await;
                    if was_lost && !is_resumed {
                        self.say(Said::Missed).await;
                    }
                    while let Some(said) = line.next().await {
                        self.say(said).await;
                    }
                    resumption = line.resumption();
                }
                Ok(None) => return self.say(Said::Listens(None)).await,
                Err(refusal) => self.say(Said::Failed(refusal.facts().reason)).await,
            }
            was_lost = true;
            tokio::time::sleep(backoff.pause()).await;
        }
    }

    /// Whoever hears it ends this task when it goes.
    async fn say(&self, said: Said) {
        let _gone = self.say.send((self.server.id, said)).await;
    }

    /// Opens the line; `None`: the server has nothing to say.
    async fn open(&self, resumption: Option<Resumption>) -> Result<Option<Opened>, Refusal> {
        match &self.to {
            To::Session(session) => self.in_session(session, resumption).await,
            To::Subscription(request) => self.subscribed(request).await,
        }
    }

    async fn in_session(&self, id: &SessionId, resumption: Option<Resumption>) -> Result<Option<Opened>, Refusal> {
        let Self { ask, server, .. } = self;
        let announcements = ask.gateway().store.announcements();
        // A session that is gone ends its stream by itself.
        let Some(session) = session_of(ask, id).await? else { return Ok(None) };
        let speech = match session.legs.get(&server.id).and_then(|leg| Speech::of_leg(server, leg)) {
            Some(speech) => speech,
            None => {
                let instance = ask.gateway().upstreams.pick(server);
                if era::of(ask, server, instance).await? == Era::Modern {
                    return self.listening(*id, &session, Speech::modern(server, instance), announcements).await;
                }
                speech::open_leg(ask, id, &session, server).await?
            }
        };
        let last_event_id = resumption.filter(|it| speech.is_in(&it.leg)).map(|it| it.last_event_id);
        let is_resumed = last_event_id.is_some();
        let (speech, taken) = match streams::take(ask, &speech, last_event_id).await {
            Err(fault) if speech.is_lost(&fault) => {
                let speech = speech::open_leg(ask, id, &session, server).await?;
                let taken = streams::take(ask, &speech, None).await;
                (speech, taken)
            }
            taken => (speech, taken),
        };
        let mut exchange = match taken {
            Ok(exchange) => exchange,
            Err(Fault::Answered(AnswerFault::NotOffered)) => return Ok(None),
            Err(fault) => return Err(ask.refusal(server, &fault)),
        };
        let Tongue::Legacy(leg) = speech.tongue else { return Ok(None) };
        exchange.be_heard();
        exchange.be_patient();
        let mapping = Mapping::of_stream(&self.caller, id, server.id);
        let line = LegLine { ask: ask.clone(), session: *id, leg, exchange, mapping, announcements };
        Ok(Some(Opened { line: Line::Leg(Box::new(line)), honoured: None, is_resumed }))
    }

    /// At a modern server: the subscription looks after itself from then on.
    async fn listening(
        &self,
        id: SessionId,
        session: &Session,
        speech: Speech,
        announcements: Announcements,
    ) -> Result<Option<Opened>, Refusal> {
        let (discovered, _) = discovered::of(&self.ask, &speech).await?;
        if to_modern::listen::Filter::new(&discovered, Default::default()).is_none() {
            return Ok(None);
        }
        let listening = sessionless::listening(&self.ask, id, session, speech, discovered, announcements).await?;
        Ok(Some(Opened { line: Line::Listening(Box::new(listening)), honoured: None, is_resumed: false }))
    }

    async fn subscribed(&self, request: &Request) -> Result<Option<Opened>, Refusal> {
        let Self { ask, server, .. } = self;
        let instance = ask.gateway().upstreams.pick(server);
        let opened = |line, honoured| Some(Opened { line, honoured, is_resumed: false });
        if era::of(ask, server, instance).await? == Era::Legacy {
            let filter = bridged::listen::filter_of(request)?;
            let (_, mut heard) = bridged::listen::listen(ask, server, request.clone(), filter).await?;
            let acknowledged = heard.recv().await.as_ref().and_then(notification);
            let honoured = acknowledged.and_then(|said| Filter::read(&said.params));
            return Ok(opened(Line::Bridge(heard), honoured));
        }
        let speech = Speech::modern(server, instance);
        let mut exchange = self.ask_for(request, &speech).await.map_err(|fault| ask.refusal(server, &fault))?;
        if exchange.error_code() == Some(METHOD_NOT_FOUND) {
            return Ok(None);
        }
        exchange.be_heard();
        let acknowledged = exchange.acknowledged().await.map_err(|fault| ask.refusal(server, &fault.into()))?;
        let honoured = Filter::read(&acknowledged.params);
        Ok(opened(Line::Subscription(Box::new(exchange), Wrapping::of_server(server)), honoured))
    }

    /// Sends the request, with the server's own ids of tasks.
    async fn ask_for(&self, request: &Request, speech: &Speech) -> Result<Exchange, Fault> {
        let mut ids = TaskIds::new(&self.ask, &self.caller, speech, "");
        let notifications = tasks::listened_to(&self.caller, &mut ids, request);
        let write = |meta: &[(&str, MetaValue<'_>)]| {
            request.write(&Edit { notifications: notifications.as_ref(), meta, ..Edit::default() })
        };
        let method = Method::SubscriptionsListen.as_str();
        let headers = speech.headers(method, None, HeaderMap::new());
        let outgoing = Outgoing { headers, method, tool: "", write: &write };
        Ok(Exchange::open(&self.ask, speech, request.id.clone(), outgoing).await?.with_task_ids(ids))
    }
}

impl Line {
    /// What is heard next; `None` when the line is lost.
    async fn next(&mut self) -> Option<Said> {
        loop {
            let said = match self {
                Self::Leg(line) => return line.next().await,
                Self::Listening(listening) => {
                    listening.next().await.data.as_ref().and_then(notification).and_then(change)
                }
                Self::Bridge(heard) => notification(&heard.recv().await?).and_then(change),
                Self::Subscription(exchange, wrapping) => match exchange.next().await {
                    Ok(Some(FromServer::Answer(..)) | None) | Err(_) => return None,
                    Ok(Some(said)) => of_subscription(said, wrapping),
                },
            };
            if said.is_some() {
                return said;
            }
        }
    }

    fn resumption(self) -> Option<Resumption> {
        let Self::Leg(line) = self else { return None };
        let last_event_id = line.exchange.last_event_id().and_then(|id| HeaderValue::from_str(id).ok())?;
        Some(Resumption { leg: line.leg, last_event_id })
    }
}

impl LegLine {
    async fn next(&mut self) -> Option<Said> {
        loop {
            let Self { exchange, announcements, .. } = self;
            tokio::select! {
                said = exchange.next() => {
                    if let Some(said) = self.heard(said.ok()??) {
                        return Some(said);
                    }
                }
                announcement = announcements.next() => {
                    if self.may_be_replaced(&announcement) && self.is_replaced().await {
                        return None;
                    }
                }
            }
        }
    }

    /// Pings, and what cannot be asked, are answered here.
    fn heard(&mut self, said: FromServer) -> Option<Said> {
        match said {
            FromServer::Notification(notification, event) => {
                let other = event.data.and_then(|data| self.mapping.notification(&notification, &data));
                change(notification).or_else(|| other.map(Said::Message))
            }
            FromServer::Asked(asked, _) => {
                let is_ping = asked.method.as_ref() == Method::Ping.as_str();
                let now = self.ask.gateway().now();
                let question = if is_ping { None } else { self.mapping.question(&asked, now) };
                if question.is_none() {
                    self.exchange.reply(&asked.id, declined(&asked));
                }
                question.map(Said::Message)
            }
            FromServer::Answer(..) | FromServer::Priming(_) => None,
        }
    }

    fn may_be_replaced(&self, announcement: &Announcement) -> bool {
        match announcement {
            Announcement::Missed => true,
            Announcement::SessionChanged { session, change: SessionChange::LegOpened { .. }, .. } => {
                *session == self.session
            }
            _ => false,
        }
    }

    /// Whether the session is with another upstream session by now. A store that is away has replaced nothing.
    async fn is_replaced(&self) -> bool {
        let Some(server) = self.exchange.speech().map(|speech| speech.server.id) else { return false };
        let session = session_of(&self.ask, &self.session).await.ok().flatten();
        session.is_some_and(|session| session.legs.get(&server) != Some(&self.leg))
    }
}

async fn session_of(ask: &Ask, id: &SessionId) -> Result<Option<Session>, Refusal> {
    Ok(ask.gateway().store.own_session(ask.owner(), id).await?)
}

fn notification(data: &Bytes) -> Option<Notification> {
    match answer::read(data) {
        Ok(Message::Notification(notification)) => Some(notification),
        _ => None,
    }
}

fn change(notification: Notification) -> Option<Said> {
    if let Some(list) = changed_list(&notification) {
        return Some(Said::Changed(list));
    }
    let is_update = ServerNotice::parse(&notification.method) == Some(ServerNotice::ResourceUpdated);
    is_update.then_some(Said::Updated(notification))
}

/// A modern server tells of nothing else but tasks.
fn of_subscription(said: FromServer, wrapping: &Wrapping) -> Option<Said> {
    match said {
        FromServer::Notification(notification, event)
            if ServerNotice::parse(&notification.method) == Some(ServerNotice::Tasks) =>
        {
            wrapping.of_task(event.data.as_ref()?).map(Said::Message)
        }
        FromServer::Notification(notification, _) => change(notification),
        _ => None,
    }
}
