//! A legacy session's event stream at a modern server: `subscriptions/listen` (MCP 2026-07-28,
//! basic/patterns/subscriptions), asked for anew whenever the session subscribes to something else.
//!
//! Invariant: a subscription is replaced only when the server has acknowledged the next one, so that no change falls
//! between two; after a subscription that was lost the agent is told that every list may have changed. Nothing is lost
//! when [`Listening::next`] is dropped half way.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::HeaderMap;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::{
    bridge::to_modern::{
        Introduction,
        listen::{self, Filter, Heard},
    },
    mcp::{
        json::Raw,
        message::{MetaValue, RequestId},
        method::Method,
        sse,
    },
    stage::forward::{
        ask::{Ask, Fault, Outgoing},
        backoff::Backoff,
        exchange::{Exchange, FromServer},
        speech::Speech,
    },
    store::{Announcement, Announcements, MailboxId, Owner, SessionChange, SessionId},
    upstream::answer::AnswerFault,
};

/// How long whoever subscribed waits to be told that it holds, in seconds.
const TOLD_WITHIN_S: u64 = 30;

/// Who listens, and to what.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) ask: Ask,
    pub(super) owner: Owner,
    pub(super) session: SessionId,
    pub(super) introduction: Introduction,
    pub(super) speech: Speech,
    /// What the server says of itself.
    pub(super) discovered: Raw,
}

/// The subscription of one session at one server.
pub struct Listening {
    listener: Arc<Listener>,
    announcements: Announcements,
    /// Acknowledged, and heard.
    current: Option<Box<Exchange>>,
    /// The next one, until it is acknowledged.
    opening: Option<AbortOnDropHandle<Result<Opened, Fault>>>,
    /// Whether the session subscribed to something else meanwhile.
    is_stale: bool,
    /// Whom to tell when the next one holds.
    waiting: Vec<MailboxId>,
    was_lost: bool,
    backoff: Backoff,
    said: VecDeque<Bytes>,
}

/// A subscription that holds; `None`: there is nothing to hear of at the moment.
struct Opened(Option<Exchange>);

impl Listening {
    /// Subscribes for the first time. `announcements` were listened to before the session was loaded.
    ///
    /// # Errors
    /// How the server failed.
    pub(super) async fn open(
        listener: Listener,
        resources: BTreeSet<String>,
        announcements: Announcements,
    ) -> Result<Self, Fault> {
        let listener = Arc::new(listener);
        let Opened(current) = Arc::clone(&listener).subscribe(resources).await?;
        Ok(Self {
            listener,
            announcements,
            current: current.map(Box::new),
            opening: None,
            is_stale: false,
            waiting: Vec::new(),
            was_lost: false,
            backoff: Backoff::default(),
            said: VecDeque::new(),
        })
    }

    /// How the server is spoken to.
    pub fn speech(&self) -> &Speech {
        &self.listener.speech
    }

    /// What the agent hears next. Cancel safe; it ends when whoever asks does.
    pub async fn next(&mut self) -> sse::Event {
        loop {
            if let Some(data) = self.said.pop_front() {
                return sse::Event { event: Some("message".into()), data: Some(data), ..sse::Event::default() };
            }
            if self.opening.is_none() && self.is_stale {
                self.open_next(Duration::ZERO);
            }
            tokio::select! {
                biased;
                announcement = self.announcements.next() => self.announced(&announcement),
                opened = next_opened(&mut self.opening) => self.opened(opened),
                said = next_said(&mut self.current) => self.heard(said),
            }
        }
    }

    fn announced(&mut self, announcement: &Announcement) {
        match announcement {
            Announcement::Missed => self.is_stale = true,
            Announcement::SessionChanged { session, change: SessionChange::Subscriptions { server, told }, .. }
                if *session == self.listener.session && *server == self.listener.speech.server.id =>
            {
                self.is_stale = true;
                self.waiting.push(*told);
            }
            _ => {}
        }
    }

    fn open_next(&mut self, pause: Duration) {
        self.is_stale = false;
        let listener = Arc::clone(&self.listener);
        self.opening = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            let resources = listener.resources().await?;
            listener.subscribe(resources).await
        })));
    }

    fn opened(&mut self, opened: Result<Opened, Fault>) {
        self.opening = None;
        match opened {
            Ok(Opened(next)) => {
                // What the old one has brought already is not lost.
                while let Some(Ok(Some(said))) = next_said(&mut self.current).now_or_never() {
                    self.heard(Ok(Some(said)));
                }
                self.current = next.map(Box::new);
                self.backoff.holds();
                if std::mem::take(&mut self.was_lost) {
                    self.said.extend(self.listener.filter(BTreeSet::new()).iter().flat_map(listen::synthetic));
                }
                if !self.is_stale {
                    self.tell_waiting();
                }
            }
            Err(fault) => {
                let server = &self.listener.speech.server.name;
                tracing::warn!(%server, %fault, "a subscription could not be opened; trying on");
                self.try_on();
            }
        }
    }

    fn try_on(&mut self) {
        let pause = self.backoff.pause();
        self.open_next(pause);
    }

    fn heard(&mut self, said: Result<Option<FromServer>, AnswerFault>) {
        match said {
            Ok(Some(FromServer::Notification(notification, _))) => {
                if let Heard::Pass(data) = listen::read(&notification) {
                    self.said.push_back(data);
                }
            }
            Ok(Some(FromServer::Priming(_) | FromServer::Asked(..))) => {}
            // It ended, in an orderly way or not: there may be changes that nobody told.
            Ok(Some(FromServer::Answer(..)) | None) | Err(_) => {
                self.current = None;
                self.was_lost = true;
                if self.opening.is_none() {
                    self.try_on();
                }
            }
        }
    }

    fn tell_waiting(&mut self) {
        for mailbox in std::mem::take(&mut self.waiting) {
            let listener = Arc::clone(&self.listener);
            tokio::spawn(async move {
                let store = &listener.ask.gateway().store;
                if let Err(error) = store.send_mail(listener.owner, mailbox, Bytes::new(), TOLD_WITHIN_S).await {
                    tracing::debug!(%error, "a subscriber was not told that its subscription holds");
                }
            });
        }
    }
}

impl Listener {
    /// What the session has subscribed to by now.
    async fn resources(&self) -> Result<BTreeSet<String>, Fault> {
        match self.ask.gateway().store.own_session(self.owner, &self.session).await {
            Ok(Some(session)) => Ok(super::resources_at(&session, self.speech.server.id)),
            // A session that is gone ends its stream by itself.
            Ok(None) => Ok(BTreeSet::new()),
            Err(error) => Err(AnswerFault::Invalid(format!("the session cannot be looked at: {error}")).into()),
        }
    }

    fn filter(&self, resources: BTreeSet<String>) -> Option<Filter> {
        Filter::new(&self.discovered, resources)
    }

    /// Subscribes, and waits for the server to acknowledge that.
    async fn subscribe(self: Arc<Self>, resources: BTreeSet<String>) -> Result<Opened, Fault> {
        let filter = self.filter(resources).filter(|filter| !filter.is_empty());
        let Some(filter) = filter else { return Ok(Opened(None)) };
        let id = RequestId::Text(Uuid::new_v4().to_string().into());
        let method = Method::SubscriptionsListen.as_str();
        let write = |meta: &[(&str, MetaValue<'_>)]| {
            filter.write(&id, |entries| {
                for (key, value) in self.introduction.meta(meta) {
                    match value {
                        MetaValue::Text(text) => entries.text(key, text),
                        MetaValue::Integer(number) => entries.integer(key, number),
                        MetaValue::Raw(raw) => entries.raw(key, raw),
                        MetaValue::Absent => {}
                    }
                }
            })
        };
        let headers = self.speech.headers(method, None, HeaderMap::new());
        let outgoing = Outgoing { headers, method, tool: "", write: &write };
        let mut exchange = Exchange::open(&self.ask, &self.speech, id.clone(), outgoing).await?;
        exchange.be_heard();
        exchange.acknowledged().await?;
        Ok(Opened(Some(exchange)))
    }
}

async fn next_opened(opening: &mut Option<AbortOnDropHandle<Result<Opened, Fault>>>) -> Result<Opened, Fault> {
    match opening {
        Some(opening) => opening.await.unwrap_or_else(|_ended| Err(AnswerFault::ended_early().into())),
        None => std::future::pending().await,
    }
}

async fn next_said(current: &mut Option<Box<Exchange>>) -> Result<Option<FromServer>, AnswerFault> {
    match current {
        Some(exchange) => Box::pin(exchange.next()).await,
        None => std::future::pending().await,
    }
}

impl std::fmt::Debug for Listening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listening").field("backoff", &self.backoff).finish_non_exhaustive()
    }
}
