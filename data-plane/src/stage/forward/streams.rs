//! Event streams by GET: what servers say in a session without being asked (MCP 2025-11-25, basic/transports,
//! "Listening for Messages from the Server").
//!
//! Invariant: the stream of a single server passes unchanged, with its ids, so that it can be resumed at that server;
//! a server that has none is not stood in for.

use std::sync::Arc;

use http::HeaderValue;

use super::{
    Forwarded, Passing, Reply,
    ask::{Ask, Fault},
    exchange::Exchange,
    sessionless, speech,
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
    let mut headers = speech.plain_headers("GET");
    headers.extend(last_event_id.map(|id| (header::LAST_EVENT_ID, id)));
    // Only once: of a session's streams the newest goes on, also the one that is about to fail here.
    let watch = Watch::take(Arc::clone(ask.shared()), admitted.owner(), *session).await;
    let received = match ask.stream(&speech.instance, headers).await {
        Ok(received) => received,
        Err(Fault::Answered(AnswerFault::NotOffered)) => return Err(Refusal::StreamNotOffered),
        Err(fault) if speech.is_lost(&fault) => return Err(speech::forget(ask, admitted).await),
        Err(fault) => return Err(ask.refusal(server, &fault)),
    };
    if !matches!(received.body, Body::Events(_)) {
        let fault = AnswerFault::Invalid("no event stream, where one was asked for".to_owned());
        return Err(ask.refusal(server, &fault.into()));
    }
    let exchange = Exchange::over(ask, &speech, None, received);
    let translation = Translation::Same(Same { era: Era::Legacy, subject: Subject::Stream, mapping: None });
    let passing = Passing { exchange, request: None, translation, watch: Some(Box::new(watch)), wrapping: None };
    Ok(Forwarded::plain(Reply::Passing(Box::new(passing))))
}
