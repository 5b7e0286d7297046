//! Upstream sessions that are links (`upstream/link.rs`), spoken to like any other: by the headers of a message.
//!
//! A leg to such a server names its link where other legs name the server's session. The data plane that opened the
//! link holds it; the others leave their messages in the link's mailbox, and hear what comes of them in one of their own.
//!
//! Invariant: no server's session id is ever taken for a link's, since a link's name has a space in it, which those
//! cannot have. With the data plane that holds it, a link is lost.

mod elsewhere;

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use http::{HeaderMap, Method as Verb, StatusCode, header::CONTENT_TYPE};

use super::ask::{Ask, Fault};
use crate::{
    gateway::Gateway,
    mcp::header,
    policy::Instance,
    store::{MailboxId, Owner},
    telemetry::span::UpstreamSpan,
    upstream::{
        answer::{AnswerFault, Body, Received},
        link::LinkFault,
    },
};

/// What the name of a link begins with.
const PREFIX: &str = "link ";

/// What is done with a link.
#[derive(Debug)]
enum Errand {
    /// A message is sent.
    Send(HeaderMap, Bytes),
    /// What the server says unasked is to be heard.
    Listen,
    /// It ends.
    End,
}

/// The link that these headers name.
pub fn named(headers: &HeaderMap) -> Option<MailboxId> {
    headers.get(header::SESSION_ID)?.to_str().ok()?.strip_prefix(PREFIX)?.parse().ok()
}

/// Sends a message over a link, asks for its stream, or ends it, as the verb says.
///
/// # Errors
/// How the server failed; [`AnswerFault::SessionLost`] when nobody holds the link any more.
pub async fn request(
    ask: &Ask,
    instance: &Instance,
    link: MailboxId,
    verb: Verb,
    mut headers: HeaderMap,
    body: Bytes,
    span: UpstreamSpan,
) -> Result<Received, Fault> {
    let sent_at = Instant::now();
    headers.remove(header::SESSION_ID);
    let errand = match verb {
        Verb::POST => Errand::Send(headers, body),
        Verb::DELETE => Errand::End,
        _ => Errand::Listen,
    };
    let upstreams = &ask.gateway().upstreams;
    let body = match upstreams.links().get(link).filter(|link| link.instance() == instance.id) {
        Some(link) => match errand {
            Errand::Send(headers, body) => {
                link.approach(ask.egress(), instance);
                link.send(upstreams, headers, body).await?.map_or(Body::Empty, Body::Events)
            }
            Errand::Listen => Body::Events(link.listen()?),
            Errand::End => {
                link.end();
                Body::Empty
            }
        },
        None => elsewhere::request(ask.shared(), ask.owner(), link, &errand).await?,
    };
    let status = if matches!(body, Body::Empty) { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok(Received { status, session: None, body, sent_at, span })
}

/// Ends a link, whichever data plane holds it.
///
/// # Errors
/// [`AnswerFault::SessionLost`] when nobody holds it any more.
pub async fn end(gateway: &Arc<Gateway>, owner: Owner, link: MailboxId) -> Result<(), Fault> {
    match gateway.upstreams.links().get(link) {
        Some(link) => link.end(),
        None => drop(elsewhere::request(gateway, owner, link, &Errand::End).await?),
    }
    Ok(())
}

/// Whether a server that answers `initialize` so may be one that is spoken to over a link (2025-11-25, basic/transports,
/// "Backwards Compatibility").
pub const fn may_be_older(fault: &Fault) -> bool {
    match fault {
        Fault::Answered(AnswerFault::SessionLost) => true,
        Fault::Answered(AnswerFault::Unexplained(status)) => matches!(status.as_u16(), 400 | 404 | 405),
        _ => false,
    }
}

/// The event stream that a link is made of.
///
/// # Errors
/// How the server failed, which may be that it has none.
pub async fn stream(ask: &Ask, instance: &Instance, mut headers: HeaderMap) -> Result<Received, Fault> {
    headers.remove(CONTENT_TYPE);
    let none = |why: &str| Fault::from(AnswerFault::Invalid(format!("{why} where an event stream was asked for")));
    match ask.stream(instance, headers).await {
        Ok(received) if matches!(received.body, Body::Events(_)) => Ok(received),
        Ok(_) => Err(none("another answer")),
        Err(Fault::Answered(AnswerFault::NotOffered)) => Err(none("405")),
        Err(Fault::Answered(AnswerFault::SessionLost)) => Err(none("404")),
        Err(fault) => Err(fault),
    }
}

/// Makes a link of an event stream and sends `initialize` over it; the session that the answer names is the link.
///
/// # Errors
/// How the server failed.
pub async fn open(
    ask: &Ask,
    instance: &Instance,
    mut headers: HeaderMap,
    body: Bytes,
    stream: Received,
) -> Result<Received, Fault> {
    headers.remove(CONTENT_TYPE);
    let gateway = ask.shared();
    let id =
        MailboxId::generate().map_err(|_| AnswerFault::Invalid("no id could be made for its stream".to_owned()))?;
    let (upstreams, links) = (&gateway.upstreams, gateway.upstreams.links());
    let link = links.open(upstreams, (ask.egress(), instance), id, stream).await?;
    tokio::spawn(elsewhere::serve(gateway.clone(), ask.owner(), link));
    let session = format!("{PREFIX}{id}");
    let span = ask.upstream_span(instance, "initialize", "");
    let received = request(ask, instance, id, Verb::POST, headers, body, span).await?;
    Ok(Received { session: Some(session), ..received })
}

impl From<LinkFault> for Fault {
    fn from(fault: LinkFault) -> Self {
        match fault {
            LinkFault::Unanswered(error) => error.into(),
            LinkFault::Answered(fault) => fault.into(),
        }
    }
}
