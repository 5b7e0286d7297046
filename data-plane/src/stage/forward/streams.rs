//! Event streams by GET: what servers say in a session without being asked (MCP 2025-11-25, basic/transports,
//! "Listening for Messages from the Server").
//!
//! Invariant: the stream of a single server passes unchanged, with its ids, so that it can be resumed at that server;
//! a server that has none is not stood in for.

use std::{sync::Arc, time::Duration};

use http::HeaderValue;

use super::{
    Forwarded, Passing, Reply,
    ask::{Ask, Fault},
    exchange::Exchange,
    sessionless,
    speech::{self, Speech},
    translation::{Same, Subject, Translation},
    watch::Watch,
};
use crate::{
    mcp::{header, version::Era},
    policy::Server,
    refusal::Refusal,
    stage::{admit::Admitted, identify::Caller},
    upstream::answer::{AnswerFault, Body},
};

/// How long a server is given each time to notice that a stream has ended.
const TAKEN_PAUSES: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_millis(200), Duration::from_millis(500), Duration::from_secs(1)];

/// Opens the stream of the session's upstream session, or resumes one.
///
/// # Errors
/// [`Refusal::StreamNotOffered`] where the server has none, and how the server or the store failed.
pub async fn open(
    ask: &Ask,
    caller: &Caller,
    admitted: &Admitted,
    server: &Arc<Server>,
    last_event_id: Option<HeaderValue>,
) -> Result<Forwarded, Refusal> {
    let (session, _) = admitted.session().ok_or(Refusal::SessionRequired)?;
    let speech = speech::of_session(ask, caller, admitted, server).await?;
    if speech.era() == Era::Modern {
        return sessionless::listen(ask, admitted, speech).await;
    }
    let subject = if last_event_id.is_some() { Subject::Resumed } else { Subject::Stream };
    // Only once: of a session's streams the newest goes on, also the one that is about to fail here.
    let watch = Watch::take(Arc::clone(ask.shared()), admitted.owner(), *session).await;
    let exchange = match take(ask, &speech, last_event_id).await {
        Ok(exchange) => exchange,
        Err(Fault::Answered(AnswerFault::NotOffered)) => return Err(Refusal::StreamNotOffered),
        Err(fault) if speech.is_lost(&fault) => return Err(speech::forget(ask, admitted).await),
        Err(fault) => return Err(ask.refusal(server, &fault)),
    };
    let translation = Translation::Same(Same { era: Era::Legacy, subject, mapping: None });
    let passing = Passing { watch: Some(Box::new(watch)), ..Passing::new(exchange, None, translation) };
    Ok(Forwarded::plain(Reply::Passing(Box::new(passing))))
}

/// Takes the one stream that a server has for an upstream session. Where the one before is still there, because the
/// server has not noticed its end, it is asked again for a moment.
///
/// # Errors
/// How the server failed, [`AnswerFault::NotOffered`] and [`AnswerFault::Taken`] among it.
pub async fn take(ask: &Ask, speech: &Speech, last_event_id: Option<HeaderValue>) -> Result<Exchange, Fault> {
    let mut headers = speech.plain_headers("GET");
    headers.extend(last_event_id.map(|id| (header::LAST_EVENT_ID, id)));
    let mut pauses = TAKEN_PAUSES.into_iter();
    loop {
        match (ask.stream(&speech.instance, headers.clone()).await, pauses.next()) {
            (Ok(received), _) if matches!(received.body, Body::Events(_)) => {
                return Ok(Exchange::over(ask, speech, None, received));
            }
            (Ok(_), _) => {
                return Err(AnswerFault::Invalid("no event stream, where one was asked for".to_owned()).into());
            }
            (Err(Fault::Answered(AnswerFault::Taken)), Some(pause)) => tokio::time::sleep(pause).await,
            (Err(fault), _) => return Err(fault),
        }
    }
}
