//! One request at one server, and everything that the server says until it is answered: the server's side of a
//! conversation, whatever carries it.
//!
//! Invariant: what comes out was read strictly; an exchange for a request ends with the answer to that request, and
//! nothing is heard after it.

mod back;
mod source;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use tokio::sync::mpsc;

use super::{
    ask::{Ask, Fault, Outgoing},
    bridged::parcel::Parcel,
    held::without_held,
    news::changed_list,
    sessionless::{Listening, Rounds},
    speech::Speech,
    tasks::TaskIds,
};
use crate::{
    mcp::{
        header,
        message::{Message, Notification, Request, RequestId, Response},
        method::{Carries, ListKind, Method, ServerNotice},
        sse,
    },
    telemetry::span::UpstreamSpan,
    upstream::answer::{self, AnswerFault, Body, Events, Received},
};

use source::Source;

pub use back::{cancel, cannot_be_asked, declined};

/// What several servers are called together.
const EVERYBODY: &str = "every server";
/// A server that goes on and says nothing is asked to go on so many times.
const RESUMED_MAX: u32 = 10;
/// The longest that a server is left alone before its stream is resumed.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// One request at one server, or one stream that answers no request.
#[derive(Debug)]
pub struct Exchange {
    ask: Ask,
    /// `None`: what is heard comes from several servers.
    speech: Option<Speech>,
    /// The request as the server knows it; `None`: a stream.
    id: Option<RequestId>,
    status: StatusCode,
    source: Source,
    sent_at: Instant,
    /// Where it is one request to the server and no more.
    span: Option<UpstreamSpan>,
    last_event_id: Option<Box<str>>,
    /// Milliseconds that the server wants to be left alone before its stream is resumed.
    retry_ms: u64,
    /// How often the stream was resumed since the server last said something.
    resumed: u32,
    /// Where what the server says may name tasks.
    task_ids: Option<Box<TaskIds>>,
    /// Whether the agent hears what the server says beside the answer.
    is_heard: bool,
    /// What the answer lists.
    list: Option<ListKind>,
}

/// What a server says, with the event that carried it.
#[derive(Debug)]
pub enum FromServer {
    /// No message: an id to resume from, or a time to wait.
    Priming(sse::Event),
    /// Something that asks for no answer.
    Notification(Notification, sse::Event),
    /// A question to the agent.
    Asked(Request, sse::Event),
    /// The answer to the request; on a stream, to one that was sent elsewhere.
    Answer(Response, sse::Event),
}

impl Exchange {
    /// Sends a request and waits for the head of what it is answered with. `id`: the request's, as it is written.
    ///
    /// # Errors
    /// How the server failed.
    pub async fn open(ask: &Ask, speech: &Speech, id: RequestId, outgoing: Outgoing<'_>) -> Result<Self, Fault> {
        let list = match Method::parse(outgoing.method).map(Method::carries) {
            Some(Carries::List(kind)) => Some(kind),
            _ => None,
        };
        let received = ask.send(&speech.instance, outgoing).await?;
        Ok(Self { list, ..Self::over(ask, speech, Some(id), received) })
    }

    /// The exchange of a request whose answer's head has arrived.
    pub fn over(ask: &Ask, speech: &Speech, id: Option<RequestId>, received: Received) -> Self {
        let Received { status, body, sent_at, span, .. } = received;
        let source = match body {
            Body::Empty => Source::Ended,
            Body::Whole(response, bytes) => Source::Whole(response, bytes),
            Body::Events(events) => Source::Events(Box::new(events)),
        };
        Self { status, sent_at, ..Self::of(ask, Some(speech), id, source, Some(span)) }
    }

    /// The exchange of a request that was sent before, and that a data plane holds since.
    pub fn of_parcel(
        ask: &Ask,
        speech: &Speech,
        id: RequestId,
        parcel: Parcel,
        last_event_id: Option<Box<str>>,
    ) -> Self {
        let span = ask.upstream_span(&speech.instance, "response", "");
        Self { last_event_id, ..Self::of(ask, Some(speech), Some(id), Source::Parcel(Box::new(parcel)), Some(span)) }
    }

    /// The exchange of a request that is answered by what arrives here, message by message.
    pub fn of_listener(ask: &Ask, speech: &Speech, id: RequestId, heard: mpsc::Receiver<Bytes>) -> Self {
        let span = ask.upstream_span(&speech.instance, "listen", "");
        Self::of(ask, Some(speech), Some(id), Source::Heard(heard), Some(span))
    }

    /// The stream of an endpoint with several servers, or its answer to this request: it arrives here, message by
    /// message.
    pub fn of_many(ask: &Ask, id: Option<RequestId>, heard: mpsc::Receiver<Bytes>) -> Self {
        Self::of(ask, None, id, Source::Heard(heard), None)
    }

    /// The exchange of a legacy agent's request that a modern server answers; `id` is the agent's.
    pub fn of_rounds(ask: &Ask, rounds: Rounds, id: RequestId) -> Self {
        let speech = rounds.speech().clone();
        Self::of(ask, Some(&speech), Some(id), Source::Rounds(Box::new(rounds)), None)
    }

    /// The exchange of a legacy session's own stream at a modern server.
    pub fn of_listening(ask: &Ask, listening: Listening) -> Self {
        let speech = listening.speech().clone();
        Self::of(ask, Some(&speech), None, Source::Listening(Box::new(listening)), None)
    }

    fn of(
        ask: &Ask,
        speech: Option<&Speech>,
        id: Option<RequestId>,
        source: Source,
        span: Option<UpstreamSpan>,
    ) -> Self {
        Self {
            ask: ask.clone(),
            speech: speech.cloned(),
            id,
            status: StatusCode::OK,
            source,
            sent_at: Instant::now(),
            span,
            last_event_id: None,
            retry_ms: 0,
            resumed: 0,
            task_ids: None,
            is_heard: false,
            list: None,
        }
    }

    /// What is handed on of a stream that a data plane holds.
    pub const fn parcel(&self) -> Option<&Parcel> {
        match &self.source {
            Source::Parcel(parcel) => Some(parcel),
            _ => None,
        }
    }

    /// Goes on with a stream that ended before the answer, where the server numbered its events (MCP 2025-11-25,
    /// basic/transports, "Resumability and Redelivery"). [`Exchange::next`] waits until the server goes on.
    ///
    /// # Errors
    /// When there is nothing to go on from.
    pub fn resume(&mut self) -> Result<(), AnswerFault> {
        let was_held = matches!(self.source, Source::Parcel(_));
        let ended = move || if was_held { AnswerFault::Lost } else { AnswerFault::ended_early() };
        let last = self.last_event_id.as_deref().and_then(|id| HeaderValue::from_str(id).ok());
        let last = last.filter(|_| self.resumed < RESUMED_MAX);
        let (Some(last), Some(speech)) = (last, &self.speech) else { return Err(ended()) };
        self.resumed += 1;
        let pause = Duration::from_millis(self.retry_ms).min(RETRY_MAX);
        let mut headers = speech.plain_headers("GET");
        headers.insert(header::LAST_EVENT_ID, last);
        let (ask, instance) = (self.ask.clone(), Arc::clone(&speech.instance));
        self.source = Source::begin_after(pause, async move {
            match ask.stream(&instance, headers).await {
                Ok(Received { body: Body::Events(events), .. }) => Ok(events),
                Ok(_) => Err(ended()),
                Err(fault) => {
                    tracing::debug!(call_id = %ask.call_id(), %fault, "a server's stream could not be resumed");
                    Err(ended())
                }
            }
        });
        Ok(())
    }

    /// The same exchange, with the agent's ids of tasks in what the server says.
    #[must_use]
    pub fn with_task_ids(self, ids: TaskIds) -> Self {
        Self { task_ids: Some(Box::new(ids)), ..self }
    }

    /// HTTP status of the answer.
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The code of the error that the request was answered with, where nothing else can come.
    pub fn error_code(&self) -> Option<i64> {
        match &self.source {
            Source::Whole(response, _) => response.error_code(),
            _ => None,
        }
    }

    /// How the server is spoken to, where it is one.
    pub const fn speech(&self) -> Option<&Speech> {
        self.speech.as_ref()
    }

    /// Whom the agent is told of when it fails.
    pub fn server_name(&self) -> &str {
        self.speech.as_ref().map_or(EVERYBODY, |speech| speech.server.name.as_str())
    }

    /// On behalf of which call.
    pub const fn ask(&self) -> &Ask {
        &self.ask
    }

    /// Whether more than one message may come.
    pub const fn is_stream(&self) -> bool {
        matches!(self.source, Source::Events(_))
    }

    /// Whether nothing goes on before the agent answers a question.
    pub const fn awaits_agent(&self) -> bool {
        match &self.source {
            Source::Rounds(rounds) => rounds.awaits_agent(),
            _ => false,
        }
    }

    /// The id of the last event that had one: where a broken stream can be resumed.
    pub fn last_event_id(&self) -> Option<&str> {
        self.last_event_id.as_deref()
    }

    /// From now on the agent hears what the server says beside the answer.
    pub const fn be_heard(&mut self) {
        self.is_heard = true;
    }

    /// Waits as long as a tool may think, or as long as a stream may be silent.
    pub fn be_patient(&mut self) {
        let is_stream = self.id.is_none();
        self.source.waits(if is_stream { Events::endless } else { Events::patient });
    }

    /// Waits for as long as somebody else says.
    pub fn be_endless(&mut self) {
        self.source.waits(Events::endless);
    }

    /// What the server says next; `None` when the stream ended. Nothing is lost when this is dropped half way.
    ///
    /// # Errors
    /// When the stream breaks or goes silent, or what arrives is no MCP or answers another request.
    pub async fn next(&mut self) -> Result<Option<FromServer>, AnswerFault> {
        if let Some((response, data)) = self.source.take_whole() {
            let event = sse::Event { data: Some(data), ..sse::Event::default() };
            return Ok(Some(FromServer::Answer(self.checked(response)?, event)));
        }
        if let Source::Ended = self.source {
            return Ok(None);
        }
        let event = self.source.next().await?;
        self.ask.was_busy(self.sent_at);
        let Some(event) = event else { return Ok(None) };
        self.retry_ms = event.retry.unwrap_or(self.retry_ms);
        if event.data.as_ref().is_some_and(|data| !data.is_empty()) {
            self.resumed = 0;
        }
        if let Some(id) = &event.id {
            self.last_event_id = Some(id.clone()).filter(|id| !id.is_empty());
        }
        self.read(event).map(Some)
    }

    /// Reads on to the answer and hands it out; the server's questions on the way are declined.
    ///
    /// # Errors
    /// As [`Exchange::next`], and when the stream ends before the answer.
    pub async fn answer(mut self) -> Result<Response, AnswerFault> {
        while let Some(said) = self.next().await? {
            match said {
                FromServer::Answer(response, _) => {
                    tokio::spawn(self.finish());
                    return Ok(response);
                }
                FromServer::Asked(asked, _) => self.reply(&asked.id, declined(&asked)),
                FromServer::Notification(..) | FromServer::Priming(_) => {}
            }
        }
        Err(AnswerFault::ended_early())
    }

    /// Waits until the server acknowledges that it is listened to, then for as long as it likes; answers with the
    /// acknowledgement as the agent is to hear it.
    ///
    /// # Errors
    /// When the server answers something else, or takes too long.
    pub async fn acknowledged(&mut self) -> Result<Notification, AnswerFault> {
        let deadline = self.ask.gateway().upstreams.timeout();
        let acknowledgement = async {
            loop {
                match self.next().await? {
                    Some(FromServer::Notification(said, event))
                        if ServerNotice::parse(&said.method) == Some(ServerNotice::SubscriptionsAcknowledged) =>
                    {
                        let as_heard = event.data.map(|data| answer::read(&data)).transpose()?;
                        return Ok(if let Some(Message::Notification(as_heard)) = as_heard { as_heard } else { said });
                    }
                    Some(FromServer::Answer(..)) | None => {
                        return Err(AnswerFault::Invalid("no acknowledgement of a subscription".to_owned()));
                    }
                    Some(_) => {}
                }
            }
        };
        let acknowledged = tokio::time::timeout(deadline, acknowledgement).await;
        let acknowledged = acknowledged.map_err(|_elapsed| AnswerFault::Timeout(deadline))??;
        self.be_endless();
        Ok(acknowledged)
    }

    /// Reads to the end of a stream whose answer has arrived: a connection that is left in the middle of an answer has
    /// to be closed.
    pub async fn finish(self) {
        match self.source {
            Source::Events(events) => events.finish().await,
            Source::Parcel(parcel) => parcel.discard().await,
            _ => {}
        }
    }

    /// The answer could not be used, as the span is to say.
    pub fn failed(&self, reason: &str) {
        match (&self.span, &self.source) {
            (Some(span), _) => span.fail(reason),
            (None, Source::Rounds(rounds)) => rounds.failed(reason),
            (None, _) => {}
        }
    }

    fn read(&self, event: sse::Event) -> Result<FromServer, AnswerFault> {
        let message = match &event.data {
            Some(data) if !data.is_empty() => answer::read(data)?,
            _ => return Ok(FromServer::Priming(event)),
        };
        Ok(match message {
            Message::Notification(notification) => {
                self.noticed(&notification);
                let event = match &self.task_ids {
                    Some(ids) => ids.in_event(&notification, event),
                    None => event,
                };
                FromServer::Notification(notification, event)
            }
            Message::Request(asked) => FromServer::Asked(asked, event),
            Message::Response(response) => FromServer::Answer(self.checked(response)?, event),
        })
    }

    /// What changed at the server is stale wherever it is kept. What was heard by way of another exchange was announced
    /// by that one.
    fn noticed(&self, notification: &Notification) {
        if let (Source::Events(_), Some(speech), Some(list)) = (&self.source, &self.speech, changed_list(notification))
        {
            self.ask.announce_change(speech.server.id, list, self.is_heard);
        }
    }

    fn checked(&self, response: Response) -> Result<Response, AnswerFault> {
        let response = match &self.id {
            Some(id) => answer::answers(response, id)?,
            None => response,
        };
        let response = match (self.list, &self.speech) {
            (Some(list), Some(speech)) => without_held(&self.ask, &speech.server, list, response),
            _ => response,
        };
        Ok(match &self.task_ids {
            Some(ids) => ids.in_response(response),
            None => response,
        })
    }
}
