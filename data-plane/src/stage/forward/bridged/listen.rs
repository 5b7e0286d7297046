//! `subscriptions/listen` at a legacy server: the GET stream of the agent's upstream session, and subscriptions to
//! single resources.
//!
//! A session has one GET stream, and the agent may listen more than once, at any data plane: whichever listener has the
//! session's lease reads the stream and announces what it hears to all of them. When that one ends, another takes over,
//! and all are told that something may have changed meanwhile.
//!
//! Invariant: nothing that the server said is kept from a listener without telling it that lists may have changed.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use tokio::{
    sync::mpsc,
    time::{Instant, interval, sleep_until, timeout},
};
use uuid::Uuid;

use super::{
    super::{
        Forwarded, Passing, Reply,
        ask::{Ask, Fault, Outgoing},
        exchange::{Exchange, FromServer, declined},
        single::Asked,
        speech::Speech,
        streams,
        translation::Translation,
    },
    INVALID_PARAMS,
    legs::{self, Bridge},
};
use crate::{
    bridge::to_legacy::listen::Filter,
    mcp::{
        json::Object,
        message::{Message, MetaValue, Notification, Request, RequestId, write_request},
        method::Method,
    },
    policy::Server,
    refusal::Refusal,
    store::{Announcement, Announcements, MailboxId, Owner},
    upstream::answer::{self, AnswerFault},
};

const QUEUED: usize = 64;
/// For how long a lease counts without another word of its holder, in seconds.
const LEASED_FOR_S: u64 = 6;
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// For how long a subscription counts without another word of its listener, in seconds.
const SUBSCRIBED_FOR_S: u64 = 60;
const RENEW_EVERY: Duration = Duration::from_secs(20);
/// How long a server may take to hear that nobody listens any more; the end of the data plane waits for it.
const UNSUBSCRIBED_WITHIN: Duration = Duration::from_secs(2);
/// Between two attempts to open a stream that the server broke off; up to half as long again, so that listeners that
/// lost their server at once do not come back at once.
const REOPEN_PAUSE: Duration = Duration::from_secs(1);
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// Listens to the server on behalf of the agent.
///
/// # Errors
/// When the request says nothing to listen to, and how the server or the store failed.
pub(super) async fn open(ask: &Ask, server: &Arc<Server>, asked: Asked) -> Result<Forwarded, Refusal> {
    let filter = filter_of(&asked.request)?;
    let id = asked.request.id.clone();
    let (speech, heard) = listen(ask, server, asked.request, filter).await?;
    let exchange = Exchange::of_listener(ask, &speech, id.clone(), heard);
    Ok(Forwarded::plain(Reply::Passing(Box::new(Passing::new(exchange, Some(id), Translation::Done)))))
}

/// What a request asks to listen to.
///
/// # Errors
/// [`Refusal::Malformed`] when it does not say so.
pub fn filter_of(request: &Request) -> Result<Filter, Refusal> {
    Filter::read(&request.params).ok_or_else(|| Refusal::Malformed {
        code: INVALID_PARAMS,
        detail: "`notifications` must say what to listen to".to_owned(),
    })
}

/// Listens to what `filter` names, for as long as anybody reads what is heard: messages as the agent is to get them, an
/// acknowledgement first.
///
/// # Errors
/// How the server or the store failed.
pub async fn listen(
    ask: &Ask,
    server: &Arc<Server>,
    request: Request,
    filter: Filter,
) -> Result<(Speech, mpsc::Receiver<Bytes>), Refusal> {
    let bridge = legs::find(ask, server, &request).await?;
    let filter = filter.honoured(&bridge.capabilities());
    let (say, heard) = mpsc::channel(QUEUED);
    let speech = bridge.speech.clone();
    let mut listener = Listener {
        announcements: ask.gateway().store.announcements(),
        ask: ask.clone(),
        owner: ask.owner(),
        request,
        session: session_of(&bridge),
        bridge,
        filter,
        me: Uuid::new_v4(),
        say,
        stream: None,
    };
    listener.begin().await?;
    ask.gateway().calls.spawn(listener.run());
    Ok((speech, heard))
}

struct Listener {
    ask: Ask,
    owner: Owner,
    request: Request,
    bridge: Bridge,
    /// What the upstream session is known by among data planes.
    session: MailboxId,
    filter: Filter,
    me: Uuid,
    say: mpsc::Sender<Bytes>,
    announcements: Announcements,
    /// The session's GET stream, where this listener has its lease.
    stream: Option<Exchange>,
}

/// What there is to do next.
enum Turn {
    Announced(Announcement),
    Heard(Result<Option<FromServer>, AnswerFault>),
    Look,
    Renew,
    Reopen,
    Gone,
}

impl Listener {
    /// Opens what is needed before anything is promised.
    async fn begin(&mut self) -> Result<(), Refusal> {
        if self.filter.is_empty() {
            return Ok(());
        }
        let server = Arc::clone(&self.bridge.speech.server);
        match self.take_stream().await {
            Ok(()) => {}
            // Whoever listened before has just left, and the server does not know it yet: it is asked again.
            Err(Fault::Answered(AnswerFault::Taken)) => {}
            // It has no such stream: then nothing can be promised.
            Err(Fault::Answered(AnswerFault::NotOffered | AnswerFault::Invalid(_))) => self.filter = Filter::default(),
            Err(fault) => return Err(self.ask.refusal(&server, &fault)),
        }
        self.subscribe().await.map_err(|fault| self.ask.refusal(&server, &fault))
    }

    async fn run(mut self) {
        let id = self.request.id.clone();
        let acknowledged = self.filter.acknowledged(&id, &Object::default());
        let mut is_there = self.say.send(acknowledged).await.is_ok();
        let (mut look, mut renew) = (interval(LOOK_EVERY), interval(RENEW_EVERY));
        let mut reopen_at = None;
        while is_there {
            is_there = match self.next(&mut look, &mut renew, reopen_at).await {
                Turn::Gone => false,
                Turn::Announced(announced) => self.announced(announced).await,
                Turn::Heard(Ok(Some(said))) => {
                    self.heard(said).await;
                    true
                }
                Turn::Heard(Ok(None) | Err(_)) => {
                    self.stream = None;
                    reopen_at = Some(Instant::now() + jittered(REOPEN_PAUSE));
                    true
                }
                Turn::Reopen | Turn::Look if self.stream.is_none() && !self.filter.is_empty() => {
                    reopen_at = self.reopen(reopen_at).await;
                    true
                }
                Turn::Reopen | Turn::Look => {
                    self.keep_lease().await;
                    true
                }
                Turn::Renew => {
                    self.renew().await;
                    true
                }
            };
        }
        self.end().await;
    }

    async fn next(
        &mut self,
        look: &mut tokio::time::Interval,
        renew: &mut tokio::time::Interval,
        reopen_at: Option<Instant>,
    ) -> Turn {
        let stream = self.stream.as_mut();
        let has_stream = stream.is_some();
        let heard = async {
            match stream {
                Some(stream) => stream.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.say.closed() => Turn::Gone,
            said = heard => Turn::Heard(said),
            announced = self.announcements.next() => Turn::Announced(announced),
            () = sleep_until(reopen_at.unwrap_or_else(Instant::now)), if reopen_at.is_some() => Turn::Reopen,
            // A server that has just broken off is not asked before its time.
            _ = look.tick(), if has_stream || reopen_at.is_none() => Turn::Look,
            _ = renew.tick() => Turn::Renew,
        }
    }

    /// Something was announced to all listeners; false when the agent has gone.
    async fn announced(&mut self, announced: Announcement) -> bool {
        let message = match announced {
            Announcement::Heard { session, message, .. } if session == self.session.to_string() => message,
            Announcement::Missed => None,
            _ => return true,
        };
        let said = message.and_then(|message| answer::read(&Bytes::from(message)).ok());
        let messages = match said {
            Some(Message::Notification(notice)) => self.filter.passed(&notice, &self.request.id).into_iter().collect(),
            _ => self.filter.may_have_changed(&self.request.id),
        };
        for message in messages {
            if self.say.send(message).await.is_err() {
                return false;
            }
        }
        true
    }

    /// The server said something in the session.
    async fn heard(&self, said: FromServer) {
        match said {
            FromServer::Notification(notice, event) if is_shared(&notice) => {
                let text = event.data.filter(|data| data.len() <= MESSAGE_BYTES_MAX);
                self.announce(text.map(|data| String::from_utf8_lossy(&data).into_owned())).await;
            }
            FromServer::Asked(asked, _) => {
                if let Some(stream) = &self.stream {
                    // What it asks belongs to no request of the agent, who could only be asked in the middle of one.
                    stream.reply(&asked.id, declined(&asked));
                }
            }
            FromServer::Notification(..) | FromServer::Answer(..) | FromServer::Priming(_) => {}
        }
    }

    async fn announce(&self, message: Option<String>) {
        let (tenant, session) = (self.owner.tenant, self.session.to_string());
        let announced = self.ask.gateway().store.announce(Announcement::Heard { tenant, session, message }).await;
        if let Err(error) = announced {
            tracing::warn!(%error, "what a server said was not passed on to other data planes");
        }
    }

    /// Takes the lease, if it is free, and opens the stream.
    async fn take_stream(&mut self) -> Result<(), Fault> {
        if !self.lease().await {
            return Ok(());
        }
        let mut stream = streams::take(&self.ask, &self.bridge.speech, None).await?;
        stream.be_heard();
        stream.be_patient();
        self.stream = Some(stream);
        Ok(())
    }

    /// Goes on with a stream that broke, or that another listener has left; answers when to try again.
    async fn reopen(&mut self, reopen_at: Option<Instant>) -> Option<Instant> {
        match self.take_stream().await {
            Ok(()) if self.stream.is_none() => return None,
            Ok(()) => {}
            Err(fault) if self.bridge.speech.is_lost(&fault) && self.move_on().await => {}
            Err(fault) => {
                tracing::debug!(%fault, "a server's stream could not be opened again");
                return Some(Instant::now() + jittered(REOPEN_PAUSE * 5));
            }
        }
        if let Err(fault) = self.subscribe().await {
            tracing::warn!(%fault, "subscriptions could not be made again");
            return reopen_at.map(|_| Instant::now() + jittered(REOPEN_PAUSE * 5));
        }
        // Whatever happened between the streams, nobody has heard.
        self.announce(None).await;
        None
    }

    /// The server has forgotten the session: another one takes its place.
    async fn move_on(&mut self) -> bool {
        let (server, owner) = (Arc::clone(&self.bridge.speech.server), self.owner);
        let _ended = self.ask.gateway().store.end_lease(owner, self.session, self.me).await;
        match legs::renew(&self.ask, owner, &server, &self.request, self.bridge.leg()).await {
            Ok(bridge) => {
                self.session = session_of(&bridge);
                self.bridge = bridge;
                self.take_stream().await.is_ok()
            }
            Err(refusal) => {
                tracing::debug!(%refusal, "a listener's session could not be opened again");
                false
            }
        }
    }

    async fn lease(&self) -> bool {
        let leased = self.ask.gateway().store.lease(self.owner, self.session, self.me, LEASED_FOR_S).await;
        leased.unwrap_or_else(|error| {
            tracing::warn!(%error, "who reads a server's stream is not known for the moment");
            false
        })
    }

    async fn keep_lease(&mut self) {
        if self.stream.is_some() && !self.lease().await {
            // Another one reads it by now: two would hear everything twice.
            self.stream = None;
        }
    }

    async fn subscribe(&self) -> Result<(), Fault> {
        self.renew().await;
        for uri in &self.filter.uris {
            self.resource(Method::ResourcesSubscribe, uri).await?;
        }
        Ok(())
    }

    /// Says that this listener still wants what it subscribed to, and that the session is in use.
    async fn renew(&self) {
        let store = &self.ask.gateway().store;
        for uri in &self.filter.uris {
            if let Err(error) = store.join(self.owner, self.subscription(uri), self.me, SUBSCRIBED_FOR_S).await {
                tracing::warn!(%error, "a subscription was not renewed");
            }
        }
        if let Err(refusal) = legs::touch(&self.ask, self.owner, &self.bridge).await {
            tracing::debug!(%refusal, "a listener's session was not touched");
        }
    }

    async fn end(mut self) {
        // First, so that the server has heard of it when another listener takes over.
        self.stream = None;
        let store = &self.ask.gateway().store;
        let _ended = store.end_lease(self.owner, self.session, self.me).await;
        let mut unheard = Vec::new();
        for uri in &self.filter.uris {
            if store.leave(self.owner, self.subscription(uri), self.me).await == Ok(0) {
                unheard.push(uri);
            }
        }
        // The server's subscriptions run out with its session: nobody waits for a server that hangs.
        let tell = async {
            for uri in unheard {
                if let Err(fault) = self.resource(Method::ResourcesUnsubscribe, uri).await {
                    tracing::debug!(%fault, "a server was not told that nobody listens");
                }
            }
        };
        if timeout(UNSUBSCRIBED_WITHIN, tell).await.is_err() {
            tracing::debug!("a server was not told in time that nobody listens");
        }
    }

    async fn resource(&self, method: Method, uri: &str) -> Result<(), Fault> {
        let id = RequestId::Text(Uuid::new_v4().to_string().into());
        let speech: &Speech = &self.bridge.speech;
        let write = |_: &[(&str, MetaValue<'_>)]| write_request(&id, method.as_str(), |params| params.text("uri", uri));
        let headers = speech.plain_headers(method.as_str());
        let outgoing = Outgoing { headers, method: method.as_str(), tool: "", write: &write };
        let answered = Exchange::open(&self.ask, speech, id.clone(), outgoing).await?.answer().await?;
        if answered.outcome.is_err() {
            tracing::debug!(server = %speech.server.name, "a server refused a subscription");
        }
        Ok(())
    }

    fn subscription(&self, uri: &str) -> MailboxId {
        known_by(&[&self.session.to_bytes(), uri.as_bytes()])
    }
}

/// Whether a notification of the session's own stream concerns whoever listens.
fn is_shared(notice: &Notification) -> bool {
    matches!(
        &*notice.method,
        "notifications/tools/list_changed"
            | "notifications/prompts/list_changed"
            | "notifications/resources/list_changed"
            | "notifications/resources/updated"
    )
}

/// What all data planes know an upstream session by.
fn session_of(bridge: &Bridge) -> MailboxId {
    let leg = bridge.leg();
    known_by(&[leg.instance.uuid().as_bytes(), leg.upstream_session.as_deref().unwrap_or_default().as_bytes()])
}

fn known_by(parts: &[&[u8]]) -> MailboxId {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest(&SHA256, &parts.concat()).as_ref()[..16]);
    MailboxId::from_bytes(bytes)
}

fn jittered(pause: Duration) -> Duration {
    let [random, ..] = *Uuid::new_v4().as_bytes();
    pause + pause.mul_f64(f64::from(random) / 512.0)
}
