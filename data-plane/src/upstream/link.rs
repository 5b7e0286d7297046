//! Links: upstream sessions over HTTP with a separate event stream (MCP 2024-11-05, basic/transports, "HTTP with SSE").
//! The stream is opened by GET and is the session; messages are POSTed to the address that it announces first, and
//! whatever the server says comes on the stream.
//!
//! Invariant: messages are POSTed to the origin of the stream only, so that no server sends what an agent says
//! somewhere else. A link is one upstream session's, is held by one data plane, and ends with its stream.

mod address;
mod routes;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method as Verb, StatusCode, header::CONTENT_TYPE};
use tokio_util::sync::CancellationToken;
use tollgate_proto::InstanceId;

use crate::{
    mcp::{
        message::{Message, write_error, write_result},
        method::ServerRequest,
        sse,
    },
    policy::{Egress, Instance},
    store::{MailboxId, SESSION_IDLE_S},
    upstream::{
        UpstreamError, Upstreams,
        answer::{self, AnswerFault, Body, Events, Received},
    },
};

use routes::{Heard, Routes};

/// How long a stream may take to announce where messages go.
const ANNOUNCED_WITHIN: Duration = Duration::from_secs(10);
/// How often a link that nobody uses is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(60);
const METHOD_NOT_FOUND: i64 = -32601;

/// The links that this data plane holds.
#[derive(Debug, Default)]
pub struct Links {
    held: Mutex<HashMap<MailboxId, Arc<Link>>>,
}

/// One link.
#[derive(Debug)]
pub struct Link {
    id: MailboxId,
    instance: InstanceId,
    approach: Mutex<Approach>,
    routes: Mutex<Routes>,
    ended: CancellationToken,
    opened_at: Instant,
    /// When it was last used, in seconds after it was opened.
    used_at_s: AtomicU64,
}

/// How messages are sent.
#[derive(Debug, Clone)]
struct Approach {
    /// Where they are POSTed, as an instance of the same server.
    target: Instance,
    egress: Egress,
}

/// Why a message was not taken, or a link not opened.
#[derive(Debug, thiserror::Error)]
pub enum LinkFault {
    /// The instance gave no answer.
    #[error(transparent)]
    Unanswered(#[from] UpstreamError),
    /// Its answer cannot be used.
    #[error(transparent)]
    Answered(#[from] AnswerFault),
}

impl Links {
    /// The link of this id, if this data plane holds it.
    #[must_use]
    pub fn get(&self, id: MailboxId) -> Option<Arc<Link>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// Takes over the stream that an instance has answered a GET with. The link is forgotten when it ends.
    ///
    /// # Errors
    /// When it is no event stream, or does not announce an address of its own origin first.
    pub async fn open(
        self: &Arc<Self>,
        upstreams: &Arc<Upstreams>,
        (egress, instance): (&Egress, &Instance),
        id: MailboxId,
        received: Received,
    ) -> Result<Arc<Link>, AnswerFault> {
        let Body::Events(events) = received.body else {
            return Err(AnswerFault::Invalid("no event stream".to_owned()));
        };
        let mut events = events.endless();
        let announced = tokio::time::timeout(ANNOUNCED_WITHIN, announced(&mut events)).await;
        let announced = announced.map_err(|_elapsed| AnswerFault::Timeout(ANNOUNCED_WITHIN))??;
        let target = address::resolve(&instance.url, &announced)
            .ok_or_else(|| AnswerFault::Invalid("an address for messages of another origin".to_owned()))?;
        let link = Arc::new(Link {
            id,
            instance: instance.id,
            approach: Mutex::new(Approach {
                target: Instance { url: target, ..instance.clone() },
                egress: egress.clone(),
            }),
            routes: Mutex::default(),
            ended: CancellationToken::new(),
            opened_at: Instant::now(),
            used_at_s: AtomicU64::new(0),
        });
        self.held.lock().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::clone(&link));
        let (links, held, upstreams) = (Arc::clone(self), Arc::clone(&link), Arc::clone(upstreams));
        tokio::spawn(async move {
            held.read(events, &upstreams).await;
            held.end();
            links.held.lock().unwrap_or_else(PoisonError::into_inner).remove(&held.id);
        });
        Ok(link)
    }
}

impl Link {
    /// Its id.
    #[must_use]
    pub const fn id(&self) -> MailboxId {
        self.id
    }

    /// Which instance it is one to.
    #[must_use]
    pub const fn instance(&self) -> InstanceId {
        self.instance
    }

    /// From now on messages are sent as the policy in force has it: with the credential that its server is given now, and
    /// to where the tenant's servers may live now.
    pub fn approach(&self, egress: &Egress, instance: &Instance) {
        let mut approach = self.lock_approach();
        let url = approach.target.url.clone();
        *approach = Approach { target: Instance { url, ..instance.clone() }, egress: egress.clone() };
    }

    /// Ends with the link.
    #[must_use]
    pub const fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    /// Ends it: the stream is closed, and whoever waits for something on it hears no more.
    pub fn end(&self) {
        self.ended.cancel();
        self.routes().close();
    }

    /// POSTs one message. For a request: the stream on which its answer comes, with what the server says meanwhile.
    ///
    /// # Errors
    /// When the server does not take it. [`AnswerFault::SessionLost`] says that the link is no more.
    pub async fn send(
        &self,
        upstreams: &Upstreams,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Option<Events>, LinkFault> {
        self.use_now();
        let expected = match answer::read(&body)? {
            Message::Request(request) => Some(self.routes().expect(&request).ok_or(AnswerFault::SessionLost)?),
            Message::Notification(_) | Message::Response(_) if self.ended.is_cancelled() => {
                return Err(AnswerFault::SessionLost.into());
            }
            Message::Notification(_) | Message::Response(_) => None,
        };
        let posted = self.post(upstreams, headers, body).await;
        // Dropping the queue takes back what was expected.
        posted.map(|()| expected.map(Events::queued))
    }

    /// The stream of what the server says without being asked, from now on; an earlier one ends.
    ///
    /// # Errors
    /// [`AnswerFault::SessionLost`] when the link is no more.
    pub fn listen(&self) -> Result<Events, AnswerFault> {
        self.use_now();
        self.routes().listen().map(|queue| Events::queued(queue).endless()).ok_or(AnswerFault::SessionLost)
    }

    async fn post(&self, upstreams: &Upstreams, mut headers: HeaderMap, body: Bytes) -> Result<(), LinkFault> {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let Approach { target, egress } = self.lock_approach().clone();
        let (response, _in_flight) = upstreams.send(&egress, &target, Verb::POST, headers, body).await?;
        match response.status() {
            status if status.is_success() => Ok(()),
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                self.end();
                Err(AnswerFault::SessionLost.into())
            }
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => Err(AnswerFault::Denied(status).into()),
            status if status.is_server_error() => Err(AnswerFault::Unavailable(status).into()),
            status => Err(AnswerFault::Unexplained(status).into()),
        }
    }

    /// Reads until the stream ends, the link is ended, or nobody has used it for as long as a session may idle.
    async fn read(self: &Arc<Self>, mut events: Events, upstreams: &Arc<Upstreams>) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            let next = tokio::select! {
                () = self.ended.cancelled() => return,
                _ = look.tick() => {
                    if self.idle_s() > SESSION_IDLE_S && !self.routes().is_busy() {
                        return;
                    }
                    continue;
                }
                next = events.next() => next,
            };
            let heard = match next {
                Ok(Some(event)) => self.hear(event, upstreams),
                Ok(None) => return,
                Err(fault) => Err(fault),
            };
            if let Err(fault) = heard {
                // A message that cannot be read may be the answer that somebody waits for.
                tracing::warn!(%fault, "an event stream is read no further");
                return;
            }
        }
    }

    fn hear(self: &Arc<Self>, event: sse::Event, upstreams: &Arc<Upstreams>) -> Result<(), AnswerFault> {
        let Some(data) = event.data.as_ref().filter(|data| !data.is_empty()) else { return Ok(()) };
        let message = answer::read(data)?;
        if let Message::Request(asked) = &message
            && ServerRequest::parse(&asked.method) == Some(ServerRequest::Ping)
        {
            self.reply(upstreams, write_result(&asked.id, &crate::mcp::json::Raw::empty_object()));
            return Ok(());
        }
        let heard = self.routes().route(&message, event);
        if let (Heard::ByNobody, Message::Request(asked)) = (heard, &message) {
            let body = write_error(Some(&asked.id), METHOD_NOT_FOUND, "nobody can be asked at the moment", None);
            self.reply(upstreams, body);
        }
        Ok(())
    }

    fn reply(self: &Arc<Self>, upstreams: &Arc<Upstreams>, body: Bytes) {
        let (link, upstreams) = (Arc::clone(self), Arc::clone(upstreams));
        tokio::spawn(async move {
            if let Err(fault) = link.post(&upstreams, HeaderMap::new(), body).await {
                tracing::debug!(%fault, "a server did not take an answer to what it asked");
            }
        });
    }

    fn routes(&self) -> MutexGuard<'_, Routes> {
        // Every change is one insertion or removal: whole after a panic elsewhere.
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_approach(&self) -> MutexGuard<'_, Approach> {
        // It is replaced whole.
        self.approach.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn use_now(&self) {
        self.used_at_s.store(self.opened_at.elapsed().as_secs(), Ordering::Relaxed);
    }

    fn idle_s(&self) -> u64 {
        self.opened_at.elapsed().as_secs().saturating_sub(self.used_at_s.load(Ordering::Relaxed))
    }
}

/// What the first event of a stream says: where messages go.
async fn announced(events: &mut Events) -> Result<String, AnswerFault> {
    let unannounced = || AnswerFault::Invalid("an event stream that does not begin with `endpoint`".to_owned());
    let event = events.next().await?.ok_or_else(unannounced)?;
    let data = event.data.filter(|_| event.event.as_deref() == Some("endpoint")).ok_or_else(unannounced)?;
    String::from_utf8(data.to_vec()).map_err(|_| unannounced())
}
