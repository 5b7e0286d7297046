//! Links that another data plane holds: errands by mail.
//!
//! Invariant: an errand is run once, by the data plane that holds the link, or by nobody. Whoever waits for news of it
//! notices when that data plane is gone.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::{sync::mpsc, time::Instant};

use super::{Errand, Fault};
use crate::{
    gateway::Gateway,
    mcp::sse,
    store::{Mail, MailboxId, Owner},
    upstream::{
        UpstreamError,
        answer::{AnswerFault, Body, Events},
        credential::CredentialFault,
        link::{Link, LinkFault},
    },
};

/// How long the holder may take to take an errand.
const TAKEN_WITHIN: Duration = Duration::from_secs(40);
/// How often the holder says that it is there, while there is no news.
const ALIVE_EVERY: Duration = Duration::from_secs(2);
/// After how long without a word the holder is taken for gone.
const SILENCE_MAX: Duration = Duration::from_secs(8);
const MAIL_TTL_S: u64 = 60;
const EVENTS_QUEUED: usize = 64;

/// An errand as it is mailed to the holder.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    /// Where news of it go.
    reply: String,
    what: What,
}

#[derive(Debug, Serialize, Deserialize)]
enum What {
    Send { headers: Vec<(String, String)>, body: String },
    Listen,
    End,
}

/// What the holder mails back.
#[derive(Debug, Serialize, Deserialize)]
enum News {
    /// It is there and works on it.
    Alive,
    /// The errand is run; events follow if `events`.
    Taken {
        events: bool,
    },
    Event {
        event: Option<Box<str>>,
        id: Option<Box<str>>,
        retry: Option<u64>,
        data: Option<String>,
    },
    Ended,
    Lost,
    Unavailable {
        status: u16,
    },
    Unreachable {
        why: String,
    },
    Timeout {
        seconds: u64,
    },
    Denied {
        status: u16,
    },
    Credential(Missing),
    Invalid {
        why: String,
    },
}

/// Why the holder had nothing to present to the server. What exactly went wrong is in the holder's log.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Missing {
    Undiscovered,
    Unreachable,
    Refused,
    Invalid,
}

/// Has the holder run an errand.
///
/// # Errors
/// How the server failed; [`AnswerFault::SessionLost`] when no data plane holds the link.
pub async fn request(gateway: &Arc<Gateway>, owner: Owner, link: MailboxId, errand: &Errand) -> Result<Body, Fault> {
    let gone = |_| Fault::from(AnswerFault::SessionLost);
    let reply = MailboxId::generate().map_err(gone)?;
    let order = Order { reply: reply.to_string(), what: What::of(errand) };
    gateway.store.send_mail(owner, link, written(&order), MAIL_TTL_S).await.map_err(gone)?;
    let mut news = Post { gateway: Arc::clone(gateway), owner, mailbox: reply, after: 0, waiting: Vec::new() };
    let deadline = Instant::now() + TAKEN_WITHIN;
    while Instant::now() < deadline {
        match news.next().await {
            Some(News::Taken { events: true }) => return Ok(Body::Events(news.follow())),
            Some(News::Taken { events: false }) => return Ok(Body::Empty),
            Some(News::Alive) => {}
            Some(other) => return Err(other.fault()),
            None => return Err(AnswerFault::SessionLost.into()),
        }
    }
    Err(AnswerFault::Timeout(TAKEN_WITHIN).into())
}

/// Runs the errands that other data planes mail, for as long as the link is there.
pub async fn serve(gateway: Arc<Gateway>, owner: Owner, link: Arc<Link>) {
    let mut after = 0;
    loop {
        let orders = tokio::select! {
            () = link.ended().cancelled() => break,
            orders = gateway.store.receive_mail(owner, link.id(), after, Duration::from_secs(30)) => orders,
        };
        let orders = match orders {
            Ok(orders) => orders,
            Err(error) => {
                tracing::debug!(%error, "the errands of a link cannot be read at the moment");
                tokio::time::sleep(ALIVE_EVERY).await;
                continue;
            }
        };
        for order in orders {
            after = order.position;
            match serde_json::from_slice::<Order>(&order.message) {
                Ok(order) => drop(tokio::spawn(run(Arc::clone(&gateway), owner, Arc::clone(&link), order))),
                Err(error) => tracing::warn!(%error, "an errand cannot be read: is it of another version?"),
            }
        }
    }
    // What is left there expires by itself if the store is away.
    let _ = gateway.store.discard_mail(owner, link.id()).await;
}

async fn run(gateway: Arc<Gateway>, owner: Owner, link: Arc<Link>, order: Order) {
    let Ok(reply) = order.reply.parse() else { return };
    let tell = async |news: &News| {
        let sent = gateway.store.send_mail(owner, reply, written(news), MAIL_TTL_S).await;
        sent.inspect_err(|error| tracing::debug!(%error, "what came of an errand could not be told")).is_ok()
    };
    let running = execute(&gateway, owner, &link, order.what);
    tokio::pin!(running);
    let mut alive = tokio::time::interval(ALIVE_EVERY);
    let executed = loop {
        tokio::select! {
            executed = &mut running => break executed,
            _ = alive.tick() => { tell(&News::Alive).await; }
        }
    };
    let mut events = match executed {
        Ok(events) => {
            tell(&News::Taken { events: events.is_some() }).await;
            match events {
                Some(events) => events,
                None => return,
            }
        }
        Err(fault) => {
            tracing::warn!(%fault, "a server failed an errand of another data plane");
            tell(&News::of(&fault)).await;
            return;
        }
    };
    loop {
        let news = tokio::select! {
            next = events.next() => match next {
                Ok(Some(event)) => News::Event {
                    event: event.event,
                    id: event.id,
                    retry: event.retry,
                    data: event.data.map(|data| String::from_utf8_lossy(&data).into_owned()),
                },
                Ok(None) => News::Ended,
                Err(fault) => News::of(&fault.into()),
            },
            _ = alive.tick() => News::Alive,
        };
        let goes_on = matches!(news, News::Event { .. } | News::Alive);
        // Nobody reads a mailbox that is full: whoever waited went away.
        if !tell(&news).await || !goes_on {
            return;
        }
    }
}

async fn execute(gateway: &Gateway, owner: Owner, link: &Link, what: What) -> Result<Option<Events>, LinkFault> {
    match what {
        What::Send { headers, body } => {
            let headers = headers.into_iter().filter_map(|(name, value)| {
                Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
            });
            let snapshot = gateway.policies.load();
            let tenant = snapshot.tenants().find(|tenant| tenant.id == owner.tenant);
            let instances =
                tenant.into_iter().flat_map(|tenant| tenant.servers.values()).flat_map(|server| &server.instances);
            if let (Some(tenant), Some(now)) = (tenant, instances.clone().find(|known| known.id == link.instance())) {
                link.approach(&tenant.egress, now);
            }
            link.send(&gateway.upstreams, headers.collect(), Bytes::from(body)).await
        }
        What::Listen => Ok(Some(link.listen()?)),
        What::End => {
            link.end();
            Ok(None)
        }
    }
}

/// The mailbox of one errand, as who sent it reads it.
struct Post {
    gateway: Arc<Gateway>,
    owner: Owner,
    mailbox: MailboxId,
    after: u64,
    /// What was received and not read yet, the newest first.
    waiting: Vec<News>,
}

impl Post {
    /// The next news; `None` when the holder has not said a word for too long.
    async fn next(&mut self) -> Option<News> {
        if self.waiting.is_empty() {
            let mail = self.gateway.store.receive_mail(self.owner, self.mailbox, self.after, SILENCE_MAX).await.ok()?;
            self.after = mail.last().map_or(self.after, |mail| mail.position);
            let read = |mail: &Mail| serde_json::from_slice(&mail.message).unwrap_or(News::Lost);
            self.waiting = mail.iter().rev().map(read).collect();
        }
        self.waiting.pop()
    }

    /// The events that follow, for as long as somebody reads them.
    fn follow(mut self) -> Events {
        let (out, queue) = mpsc::channel(EVENTS_QUEUED);
        tokio::spawn(async move {
            loop {
                let next = tokio::select! {
                    next = self.next() => next,
                    () = out.closed() => None,
                };
                let event = match next {
                    Some(News::Event { event, id, retry, data }) => {
                        sse::Event { event, id, retry, data: data.map(Bytes::from) }
                    }
                    Some(News::Alive | News::Taken { .. }) => continue,
                    _ => break,
                };
                if out.send(event).await.is_err() {
                    break;
                }
            }
            // It expires by itself if the store is away.
            let _ = self.gateway.store.discard_mail(self.owner, self.mailbox).await;
        });
        Events::queued(queue)
    }
}

impl What {
    fn of(errand: &Errand) -> Self {
        match errand {
            Errand::Send(headers, body) => {
                let header = |(name, value): (&HeaderName, &HeaderValue)| {
                    Some((name.to_string(), value.to_str().ok()?.to_owned()))
                };
                let headers = headers.iter().filter_map(header).collect();
                Self::Send { headers, body: String::from_utf8_lossy(body).into_owned() }
            }
            Errand::Listen => Self::Listen,
            Errand::End => Self::End,
        }
    }
}

impl News {
    fn of(fault: &LinkFault) -> Self {
        match fault {
            LinkFault::Unanswered(UpstreamError::Timeout(time)) | LinkFault::Answered(AnswerFault::Timeout(time)) => {
                Self::Timeout { seconds: time.as_secs() }
            }
            LinkFault::Unanswered(UpstreamError::Credential(fault)) => Self::Credential(Missing::of(fault)),
            LinkFault::Unanswered(error) => Self::Unreachable { why: error.to_string() },
            LinkFault::Answered(AnswerFault::SessionLost) => Self::Lost,
            LinkFault::Answered(AnswerFault::Unavailable(status)) => Self::Unavailable { status: status.as_u16() },
            LinkFault::Answered(AnswerFault::Denied(status)) => Self::Denied { status: status.as_u16() },
            LinkFault::Answered(fault) => Self::Invalid { why: fault.to_string() },
        }
    }

    fn fault(self) -> Fault {
        match self {
            Self::Timeout { seconds } => AnswerFault::Timeout(Duration::from_secs(seconds)).into(),
            Self::Unreachable { why } => UpstreamError::Unreachable(why).into(),
            Self::Unavailable { status } => {
                AnswerFault::Unavailable(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY)).into()
            }
            Self::Denied { status } => {
                AnswerFault::Denied(StatusCode::from_u16(status).unwrap_or(StatusCode::UNAUTHORIZED)).into()
            }
            Self::Credential(missing) => UpstreamError::from(missing.fault()).into(),
            Self::Invalid { why } => AnswerFault::Invalid(why).into(),
            Self::Alive | Self::Taken { .. } | Self::Event { .. } | Self::Ended | Self::Lost => {
                AnswerFault::SessionLost.into()
            }
        }
    }
}

impl Missing {
    const fn of(fault: &CredentialFault) -> Self {
        match fault {
            CredentialFault::Undiscovered(_) => Self::Undiscovered,
            CredentialFault::Unreachable(_) => Self::Unreachable,
            CredentialFault::Refused(_) => Self::Refused,
            CredentialFault::Invalid(_) => Self::Invalid,
        }
    }

    fn fault(self) -> CredentialFault {
        const WHY: &str = "as the data plane that holds the link has logged";
        match self {
            Self::Undiscovered => CredentialFault::Undiscovered(WHY),
            Self::Unreachable => CredentialFault::Unreachable(WHY.to_owned()),
            Self::Refused => CredentialFault::Refused(WHY.to_owned()),
            Self::Invalid => CredentialFault::Invalid(WHY),
        }
    }
}

fn written(mail: &impl Serialize) -> Bytes {
    Bytes::from(serde_json::to_vec(mail).expect("texts and numbers are JSON"))
}
